"""Moving a store into another database, there and back, interrupted, and refused."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.core.database_url import DatabaseUrl
from bot.core.messages import Author, Scope, now_utc
from bot.core.picture import Picture
from bot.errors import StoreError
from bot.store.backends import hold_platform, open_backend
from bot.store.cards import OpenCard
from bot.store.drafts import Draft
from bot.store.hosted import HostedMessage
from bot.store.hosted_places import HostedPerson
from bot.store.moving import COUNTED, RUNNING, TABLES, move_store
from bot.store.store import Store
from tests.postgres_server import PostgresServer
from tests.store.places import Place, PostgresPlace, SqlitePlace
from tests.store.samples import HERE, ME, at, provenance, said

ANN = Author("u1", "Annabelle")
DIRECT = Scope("terminal", "@me", "dm-1")


def quiet(_: str, __: int, ___: int) -> None:
    """Show no progress."""


@pytest.fixture(params=["to a server", "to a file"])
def both(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_server: PostgresServer
) -> Iterator[tuple[Place, Place]]:
    """Return a database that has what every table can have, and a new one of the other kind."""
    with postgres_server.new_database() as address:
        file, server = SqlitePlace(tmp_path / "one" / "fewshot.db"), PostgresPlace(address)
        yield (file, server) if request.param == "to a server" else (server, file)


@asynccontextmanager
async def filled(place: Place, num: int = 30) -> AsyncIterator[Store]:
    """Open a store with something in each table."""
    picture = Picture("p1", "image/png", bytes(range(256)))
    async with Store.open(place.address) as store:
        for number in range(num):
            message = said(number, f"text {number} äß😀\u2028\0", author=ANN, attachment="a,b" if number % 3 else None)
            message = replace(message, picture_ids=("p1",), pictures=(picture,)) if number == 5 else message
            await store.accept_request(message, token="opensesame")
            await store.add_message(message, kind="chat")
            await store.note_sent("terminal", str(number), f"s{number}", 0)
            answer = said(1000 + number, "an answer", author=ME, reply_to=str(number))
            await store.add_reply(answer, provenance((str(number), 1)), kind="chat")
            if number % 2:
                await store.finish_request("terminal", str(number), "answered")
        await store.add_message(said(9000, scope=DIRECT, author=ANN), kind="chat")
        await store.mark_fresh(DIRECT)
        await store.set_setting(HERE, "server", "preset", "wild")
        await store.set_setting(DIRECT, "channel", "preset", "careful")
        later = now_utc() + timedelta(hours=1)
        await store.save_open_card(OpenCard("c1", HERE, "u1", "kind", 1, {"text": "nul \0"}, at(0), later))
        proposal = OpenCard("c2", HERE, "u1", "example_proposal", 1, {"template": "soup"}, at(0), later)
        await store.add_proposal(proposal)
        await store.advance_watermark("terminal", "home", "5")
        await store.opt_out("terminal", "u9", True)
        await store.set_note("terminal", "hash", "x")
        for version in ("1", "2"):
            await store.add_template_version(
                HERE, "soup", action="edit", author=ANN, source_text=version, version=version
            )
        await store.save_draft(HERE, Draft("soup", "u1", source_text="draft", updated_at_utc=at(0)))
        await store.add_template_origin(HERE, "soup", "words", message_id="1", author_id="u1")
        await store.put_row_outcomes("p", "m", {"r": {"nats": [0.1, 1e-300, 2.5]}})
        await store.save_hosted_server("web", "1", "Home")
        await store.save_hosted_channel("1", "2", "general")
        await store.save_hosted_person("web", HostedPerson("u1", "Ann", is_moderator=True))
        await store.add_hosted(HostedMessage(2**50, Scope("web", "1", "2"), "u1", "Hello"), nonce="n")
        begun = said(9001, author=ANN)
        assert provenance().sampling is not None
        await store.add_message(begun, kind="command")
        await store.begin_story(begun, provenance().sampling, has_words=True)  # type: ignore[arg-type]
        # Its id is not given again.
        await store.discard_reply("terminal", "0")
        yield store


async def exported(store: Store) -> str:
    """Return what is exported of people, and what is asked of places, as text."""
    asked: list[Any] = [await store.export_person(platform, "u1") for platform in ("terminal", "web")]
    asked += [repr(await store.load_history(HERE, limit=999)), repr(await store.load_story(HERE))]
    waiting = await store.unfinished_requests("terminal", answerable_s=None)
    asked += [[(one.message.text, len(one.message.pictures), one.sent_ids, one.reply_text) for one in waiting]]
    stats = await store.count_stored()
    asked += [stats.num_messages, stats.num_replies, [one.token for one in waiting]]
    reply = await store.get_reply(HERE, "1003")
    assert reply is not None
    asked += [
        repr((reply.provenance, reply.read, reply.message.text)),
        repr(await store.template_history(HERE, "soup")),
    ]
    asked += [repr(await store.hosted_servers("web")), repr(await store.load_history(DIRECT, limit=9))]
    # Which PostgreSQL does not store.
    return json.dumps(asked, default=str, ensure_ascii=False).replace("\\u0000", "\ufffd").replace("\\\\x00", "\ufffd")


def test_every_table_is_moved(address: DatabaseUrl) -> None:
    tables = PostgresPlace(address).rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {name for (name,) in tables} == TABLES.keys() | COUNTED | RUNNING | {"fewshot_schema"}


async def test_there_and_back_everything_is_the_same(
    both: tuple[Place, Place], tmp_path: Path, postgres_server: PostgresServer
) -> None:
    first, second = both
    async with filled(first) as store:
        before = await exported(store)
        assert all(first.rows(f"SELECT count(*) FROM {table}") != [(0,)] for table in TABLES)
    told: list[str] = []
    moved = await move_store(
        first.address, second.address, tell=lambda *how_far: told.append("{} {}/{}".format(*how_far))
    )
    assert "messages 61/61" in told
    assert {one.name: one.num_rows for one in moved}["replies"] == 29
    async with Store.open(second.address) as store:
        assert await exported(store) == before
    with postgres_server.new_database() as address:
        third = SqlitePlace(tmp_path / "two" / "x.db") if isinstance(first, SqlitePlace) else PostgresPlace(address)
        again = await move_store(second.address, third.address, tell=quiet)
        assert again == moved
        async with Store.open(third.address) as store:
            assert await exported(store) == before


async def test_ids_go_on_where_they_were(both: tuple[Place, Place]) -> None:
    first, second = both
    async with filled(first) as store:
        await store.add_message(said(9990), kind="chat")
        ((last,),) = first.rows("SELECT max(id) FROM messages")
        assert await store.forget_channel(HERE)
    await move_store(first.address, second.address, tell=quiet)
    async with Store.open(second.address) as store:
        for number in range(3):
            await store.add_message(said(9991 + number, scope=replace(HERE, channel=f"c{number}")), kind="chat")
            await store.accept_request(said(9991 + number))
            await store.add_template_version(HERE, f"t{number}", action="new", author=ANN, source_text="x", version="1")
    assert second.rows("SELECT id FROM messages ORDER BY id DESC LIMIT 3") == [(last + n,) for n in (3, 2, 1)]


async def test_a_move_that_was_interrupted_goes_on_and_nobody_uses_its_half(both: tuple[Place, Place]) -> None:
    first, second = both
    async with filled(first):
        pass

    class Interrupted(Exception):
        pass

    def interrupt(table: str, num_done: int, num: int) -> None:
        if table == "inbox":
            raise Interrupted

    with pytest.raises(Interrupted):
        await move_store(first.address, second.address, tell=interrupt)
    with pytest.raises(StoreError, match=r"is only partly filled: a move from .* was interrupted\. Finish it: python"):
        async with Store.open(second.address):
            pass
    with pytest.raises(StoreError, match="is only partly filled by another move"):
        await move_store(second.address, first.address, tell=quiet)
    told: list[str] = []
    await move_store(first.address, second.address, tell=lambda table, *_: told.append(table))
    assert "messages" not in told, "it was moved before"
    async with Store.open(first.address) as one, Store.open(second.address) as other:
        assert await exported(other) == await exported(one)


async def test_a_target_with_data_and_a_source_that_changes_are_refused(both: tuple[Place, Place]) -> None:
    first, second = both
    async with filled(first, num=3):
        pass

    def change(table: str, num_done: int, num: int) -> None:
        if table == "story_parts":
            first.rows("UPDATE settings SET value = 'other'")

    with pytest.raises(StoreError, match=r"The table settings has .* or they differ: something was changed meanwhile"):
        await move_store(first.address, second.address, tell=change)
    async with open_backend(second.address) as database:
        await database.write(lambda transaction: transaction.execute("DELETE FROM notes"))
    with pytest.raises(StoreError, match="has data of its own; name an empty or a new one"):
        await move_store(first.address, second.address, tell=quiet)
    with pytest.raises(StoreError, match="is both; name two databases"):
        await move_store(first.address, first.address, tell=quiet)


def test_the_command_moves_prints_each_table_and_says_what_to_do(
    both: tuple[Place, Place], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = both
    source, target = (one.url if isinstance(one, DatabaseUrl) else str(one) for one in (first.address, second.address))

    async def fill() -> None:
        async with filled(first, num=2):
            pass

    asyncio.run(fill())
    assert main(["store", "move", source, target]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == len(TABLES)
    assert re.search(r"^messages +5 rows  SHA-256 [0-9a-f]{16}$", printed.out, re.MULTILINE)
    assert "Set DATABASE to the new address." in printed.err
    assert main(["store", "move", source, target]) == 2
    assert capsys.readouterr().err == (
        f"The database {second.address} has data of its own; name an empty or a new one.\n"
    )
    with hold_platform(first.address, "Discord"):
        assert main(["store", "move", source, target]) == 2
    assert "Another program already runs the bot on Discord" in capsys.readouterr().err


async def test_a_file_that_a_bot_uses_is_not_moved(tmp_path: Path, address: DatabaseUrl) -> None:
    place = SqlitePlace(tmp_path / "x.db")
    async with Store.open(place.address):
        with pytest.raises(StoreError, match=r"A program is using the database .*; stop the bot first"):
            await move_store(place.address, address, tell=quiet)
    await asyncio.to_thread((tmp_path / "x.db").unlink)
    with pytest.raises(StoreError, match=r"There is no database .*, so there is nothing to move"):
        await move_store(place.address, address, tell=quiet)
