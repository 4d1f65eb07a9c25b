"""A database on a server: conflicts, a server that ends, goes away or never answers, and what the operator is told."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from bot.__main__ import main
from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError, Unavailable
from bot.monitoring.health import DatabaseServer
from bot.services.backups import BackupPlan, Backups
from bot.store.backend import Transaction, Unprepared
from bot.store.backends import hold_platform
from bot.store.postgres.database import PostgresDatabase
from bot.store.store import Store
from tests.postgres_server import NOT_INSTALLED, PostgresServer, find_programs, serve_postgres
from tests.store.samples import HERE, said


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """Return a server that a test may stop and start."""
    if find_programs() is None:
        pytest.skip(NOT_INSTALLED)
    with serve_postgres() as server:
        yield server


async def insert(transaction: Transaction, name: str) -> None:
    await transaction.execute("INSERT INTO settings VALUES ('p', 's', 'c', ?, '')", name)


async def names(database: PostgresDatabase) -> list[str]:
    return [row["name"] for row in await database.read("SELECT name FROM settings ORDER BY name")]


async def test_a_transaction_that_others_disturb_is_run_again(address: DatabaseUrl) -> None:
    """Each of two reads what the other writes: one after the other, the second would have read it."""
    async with PostgresDatabase.open(address) as one, PostgresDatabase.open(address) as other:
        num_runs = 0

        async def add(transaction: Transaction) -> int:
            nonlocal num_runs
            num_runs += 1
            (row,) = await transaction.execute("SELECT count(*) AS num FROM settings")
            await asyncio.sleep(0.02)
            await insert(transaction, f"name {row['num']}")
            return int(row["num"])

        counted = await asyncio.gather(*((one, other)[n % 2].write(add) for n in range(6)))
        assert sorted(counted) == [0, 1, 2, 3, 4, 5]
        assert num_runs > 6


async def test_what_is_always_disturbed_is_given_up(address: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store.postgres.database.WAIT_S", 0.3)
    async with PostgresDatabase.open(address) as database:

        async def disturbed(transaction: Transaction) -> None:
            await insert(transaction, "never")
            raise psycopg.errors.SerializationFailure("as the server says it")

        with pytest.raises(Unavailable, match="Too many others are using the bot's database"):
            await database.write(disturbed)
        assert await names(database) == []


@pytest.mark.parametrize("pauses", [*range(6), 12, 30])
async def test_a_cancelled_write_happens_wholly_or_not_at_all_and_blocks_nobody(
    address: DatabaseUrl, pauses: int
) -> None:
    async with PostgresDatabase.open(address) as database:

        async def both(transaction: Transaction) -> None:
            await insert(transaction, "a")
            await insert(transaction, "b")

        task = asyncio.ensure_future(database.write(both))
        for _ in range(pauses):
            await asyncio.sleep(0.0003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(database.write(lambda transaction: insert(transaction, "c")), 5)
        assert await names(database) in (["c"], ["a", "b", "c"])


async def test_writes_take_effect_in_the_order_in_which_they_were_asked_for(address: DatabaseUrl) -> None:
    async with PostgresDatabase.open(address) as database:
        done: list[int] = []

        async def write(number: int) -> None:
            async def one(transaction: Transaction) -> None:
                await asyncio.sleep(0.01 * (5 - number))
                await insert(transaction, str(number))

            await database.write(one)
            done.append(number)

        await asyncio.gather(*(write(number) for number in range(5)))
        assert done == [0, 1, 2, 3, 4]


async def test_what_a_transaction_needs_is_computed_while_others_write(address: DatabaseUrl) -> None:
    async with PostgresDatabase.open(address) as database:

        async def write(transaction: Transaction) -> str:
            if "name" not in transaction.prepared:
                await insert(transaction, "half")
                raise Unprepared(lambda: {"name": "whole"})
            await insert(transaction, transaction.prepared["name"])
            return "done"

        assert await database.write(write) == "done"
        assert await names(database) == ["whole"]


async def test_closing_refuses_what_comes_later(address: DatabaseUrl) -> None:
    async with PostgresDatabase.open(address) as database:
        pass
    for late in (database.read("SELECT 1"), database.write(lambda transaction: insert(transaction, "c"))):
        with pytest.raises(Unavailable, match="shutting down"):
            await late


async def test_a_server_that_starts_again_is_waited_for(own_server: PostgresServer) -> None:
    with own_server.new_database() as address:
        async with Store.open(address) as store:
            await store.add_message(said(1), kind="chat")
            for number, how in ((2, "INT"), (3, "QUIT")):
                await asyncio.to_thread(own_server.stop, how)
                starting = asyncio.ensure_future(asyncio.to_thread(own_server.start))
                assert await store.add_message(said(number), kind="chat")
                await starting
            assert [one.id for one in await store.load_history(HERE, limit=9)] == ["1", "2", "3"]


async def test_a_server_that_is_gone_is_one_sentence_for_people_and_one_for_the_operator(
    own_server: PostgresServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.postgres.database.WAIT_S", 0.3)
    with own_server.new_database() as address:
        async with Store.open(address) as store:
            await asyncio.to_thread(own_server.stop)
            with caplog.at_level(logging.WARNING):
                for number in range(3):
                    with pytest.raises(Unavailable, match="The bot's database can't be reached now; try") as refused:
                        await store.add_message(said(number), kind="chat")
            assert await DatabaseServer(store).find_problem(5) == str(refused.value)
            told = [one for one in caplog.messages if "can't be written" in one]
            assert len(told) == 1
            assert told[0].startswith(f"The database {address} can't be written: ")
            assert (await asyncio.to_thread(own_server.start)) is None
            async with asyncio.timeout(20):
                is_stored = False
                while not is_stored:
                    with suppress(Unavailable):
                        is_stored = await store.add_message(said(1), kind="chat")
            assert await DatabaseServer(store).find_problem(5) == ""


async def test_a_server_that_never_answers_holds_nobody_for_long(
    address: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.postgres.database._LONGEST_S", 0.3)
    async with PostgresDatabase.open(address) as database:
        with pytest.raises(Unavailable, match="Too many others"):
            await database.read("SELECT pg_sleep(60)")
        assert await names(database) == []


async def test_a_lost_connection_in_the_middle_of_a_transaction_loses_and_doubles_nothing(address: DatabaseUrl) -> None:
    async with PostgresDatabase.open(address) as database:
        num_runs = 0

        async def write(transaction: Transaction) -> None:
            nonlocal num_runs
            num_runs += 1
            await insert(transaction, "once")
            if num_runs == 1:
                (row,) = await transaction.execute("SELECT pg_backend_pid() AS pid")
                with psycopg.connect(address.url, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", [row["pid"]])
            await insert(transaction, "twice")

        await database.write(write)
        assert num_runs == 2
        assert await names(database) == ["once", "twice"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://ann:secret@localhost:1/x", "The database postgresql://ann@localhost:1/x can't be opened: "),
        (
            "postgresql://ann:se%cret@localhost/x",
            "DATABASE is no address of PostgreSQL: postgresql://ann@localhost/x. ",
        ),
        ("postgresql://ann:se:cret@localhost/x?colour=red", "DATABASE is no address of PostgreSQL: "),
    ],
)
async def test_an_address_that_leads_nowhere_is_one_sentence_without_the_password(url: str, problem: str) -> None:
    with pytest.raises(StoreError) as told:
        async with Store.open(DatabaseUrl(url)):
            pass
    assert str(told.value).startswith(problem)
    assert "secret" not in str(told.value)
    assert "secret" not in repr(DatabaseUrl(url))


async def test_a_user_without_rights_is_told_to_the_operator(
    postgres_server: PostgresServer, address: DatabaseUrl
) -> None:
    with psycopg.connect(address.url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(StoreError, match="can't be opened: this user may not write it"):
        async with Store.open(DatabaseUrl(address.url.replace("fewshot@", "guest@"))):
            pass


async def test_forgetting_lets_the_server_reuse_the_room(address: DatabaseUrl) -> None:
    async with Store.open(address) as store:
        for number in range(20):
            await store.add_message(said(number), kind="chat")
        assert await store.forget_person(HERE.platform, "u1") == 20
        with psycopg.connect(address.url, autocommit=True) as connection:
            connection.execute("SELECT pg_stat_clear_snapshot()")
            for _ in range(100):
                cursor = connection.execute("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'messages'")
                if (row := cursor.fetchone()) and row[0]:
                    return
                await asyncio.sleep(0.05)
    pytest.fail("messages was not vacuumed")


async def test_a_database_on_a_server_has_no_backups_of_the_bot(address: DatabaseUrl) -> None:
    async with Store.open(address) as store:
        assert (store.path, store.backups, store.notices) == (None, None, ())
        with pytest.raises(Unavailable, match="back it up there, for example with pg_dump"):
            await store.back_up()
        backups = Backups(store, BackupPlan())
        await backups.look()
        assert (backups.is_planned, backups.problem, backups.newest_at) == (False, "", None)


@pytest.mark.parametrize("command", [["backup"], ["check"], ["restore", "x.dump"]])
def test_the_commands_for_files_name_those_for_servers(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE", "postgresql://ann:secret@db.example/fewshot")
    assert main(command) == 2
    assert capsys.readouterr().err == (
        "The database postgresql://ann@db.example/fewshot is on a server, which is backed up and checked by programs of"
        " its own, such as pg_dump and pg_amcheck; docs/postgresql.md shows how.\n"
    )


def test_programs_share_a_platform_by_its_parts(address: DatabaseUrl) -> None:
    with hold_platform(address, "Discord", parts=["0/4", "1/4"]) as seats:
        assert seats() == ("discord 0/4", "discord 1/4")
        with hold_platform(address, "Discord", parts=["2/4", "3/4"]) as others:
            assert others() == ("discord 2/4", "discord 3/4")
        told = "Another program already runs the bot on Discord, shard 1/4, with the database"
        with pytest.raises(StoreError, match=told), hold_platform(address, "Discord", parts=["1/4", "2/4"]):
            pass
        with pytest.raises(StoreError, match="already runs the bot on Discord with"), hold_platform(address, "Discord"):
            pass
    with (
        hold_platform(address, "Discord"),
        pytest.raises(StoreError, match="already runs the bot on Discord with"),
        hold_platform(address, "Discord", parts=["0/4"]),
    ):
        pass


def test_each_program_has_a_place_of_its_own_until_all_are_taken(address: DatabaseUrl) -> None:
    with hold_platform(address, "Slack", num_places=2) as one:
        with hold_platform(address, "Slack", num_places=2) as two:
            assert (one(), two()) == (("slack 0",), ("slack 1",))
            told = "2 other programs run the bot on Slack with the database .*, which is the most that can; stop one"
            with pytest.raises(StoreError, match=told), hold_platform(address, "Slack", num_places=2):
                pass
        with hold_platform(address, "Slack", num_places=2) as again:
            assert again() == ("slack 1",)


def test_of_two_programs_one_answers_on_a_platform(address: DatabaseUrl) -> None:
    with hold_platform(address, "Discord"):
        told = "Another program already runs the bot on Discord with the database"
        with pytest.raises(StoreError, match=told), hold_platform(address, "Discord"):
            pass
        with hold_platform(address, "Slack") as seats:
            assert seats() == ("slack",)
    with hold_platform(address, "Discord"):
        pass


def test_a_platform_is_held_again_after_the_server_has_started_again(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.postgres.holding._LOOK_EVERY_S", 0.05)
    with own_server.new_database() as address, hold_platform(address, "Discord"):
        own_server.stop()
        own_server.start()
        with psycopg.connect(address.url, autocommit=True) as connection:
            for _ in range(200):
                if connection.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchall():
                    break
                connection.execute("SELECT pg_sleep(0.05)")
        with pytest.raises(StoreError, match="Another program already runs"), hold_platform(address, "Discord"):
            pass


async def test_the_extra_is_named_where_psycopg_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bot.store.postgres.database", None)
    with pytest.raises(StoreError, match=r"not installed. Install them with: .*\.\[postgres\]"):
        async with Store.open(DatabaseUrl("postgresql://localhost/x")):
            pass
