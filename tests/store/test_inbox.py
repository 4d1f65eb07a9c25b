import asyncio
import json
import logging
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.core.messages import Author, Scope, ShownCard
from bot.core.picture import Picture
from bot.store.inbox import Accepted
from bot.store.schema import migrate, read_migrations
from bot.store.store import Store
from tests.store.places import Place, SqlitePlace
from tests.store.samples import HERE, ME, at, provenance, said

BOB = Author("u2", "Bobolink", is_moderator=True, roles=("r1", "r2"))
THREAD = Scope("terminal", "home", "general", "thread")


async def unfinished(store: Store, platform: str = "terminal") -> tuple[Accepted, ...]:
    return await store.unfinished_requests(platform, answerable_s=900)


def inbox_row(place: Place, message_id: str) -> dict[str, Any]:
    return place.records("SELECT * FROM inbox WHERE message_id = ?", message_id)[0]


async def test_a_request_comes_back_as_it_was_accepted(store: Store, place: Place) -> None:
    message = said(
        1,
        "what\ud83d\ude00 now?",
        scope=replace(THREAD, kind="foreign"),
        author=BOB,
        attachment="a file",
        reply_to="0",
        replied_card=ShownCard("c1", 3),
        picture_ids=("p2", "p1", "p3"),
        pictures=(Picture("p2", "image/png", b"\x00one"), Picture("p1", "image/jpeg", b"\xfftwo")),
        is_addressed=False,
        reach="form",
    )
    assert await store.accept_request(message, token="a-token")
    assert not await store.accept_request(replace(message, text="another"), token="b-token")
    assert await unfinished(store, "discord") == ()
    async with Store.open(place.address) as again:
        assert await unfinished(again) == (Accepted(replace(message, text="what😀 now?"), "a-token"),)
        # Not a part of the place's name, so not compared.
        assert [one.message.scope.kind for one in await unfinished(again)] == ["foreign"]


async def test_one_id_on_two_platforms_is_two_requests(store: Store) -> None:
    assert await store.accept_request(said(1))
    assert await store.accept_request(said(1, scope=replace(HERE, platform="discord")))
    assert await store.finish_request("discord", "1", "answered")
    assert len(await unfinished(store)) == 1


async def test_of_two_that_accept_at_once_one_is_told_no(store: Store, place: Place) -> None:
    async with Store.open(place.address) as other:
        for number in range(20):
            both = await asyncio.gather(*(one.accept_request(said(number)) for one in (store, other, store)))
            assert sorted(both) == [False, False, True]
    assert len(await unfinished(store)) == 20


async def test_requests_come_back_in_the_order_in_which_they_were_said(store: Store, place: Place) -> None:
    for number, second in [(1, 5), (2, 1), (3, 3), (4, 3), (5, 9)]:
        await store.accept_request(said(number, created_at_utc=at(second)))
    await store.finish_request("terminal", "5", "refused")
    async with Store.open(place.address) as again:
        assert [one.message.id for one in await unfinished(again)] == ["2", "3", "4", "1"]


@pytest.mark.parametrize("outcome", ["answered", "refused", "expired", "cancelled"])
async def test_a_finished_request_is_known_but_has_no_words(store: Store, place: Place, outcome: Any) -> None:
    await store.accept_request(said(1, "hocus", author=BOB, attachment="pocus"), token="a-token")
    assert await store.finish_request("terminal", "1", outcome)
    assert not await store.finish_request("terminal", "1", "answered")
    assert not await store.finish_request("terminal", "unknown", "answered")
    row = inbox_row(place, "1")
    assert (row["state"], row["text"], row["attachment"]) == (outcome, None, None)
    assert (row["author_name"], row["author_roles"], row["token"]) == ("", "[]", "")
    assert await unfinished(store) == ()
    assert not await store.accept_request(said(1, "hocus"))


async def test_of_two_that_finish_at_once_one_is_told_no(store: Store, place: Place) -> None:
    await store.accept_request(said(1))
    async with Store.open(place.address) as other:
        both = await asyncio.gather(
            store.finish_request("terminal", "1", "answered"),
            other.finish_request("terminal", "1", "cancelled"),
            store.finish_request("terminal", "1", "expired"),
        )
    assert sorted(both) == [False, False, True]


async def test_a_request_that_an_older_program_noted_as_waiting_comes_back_too(store: Store, place: Place) -> None:
    await store.accept_request(said(1))
    assert inbox_row(place, "1")["state"] == "responding", "from then on something may be visible"
    place.rows("UPDATE inbox SET state = 'waiting'")
    assert await unfinished(store) == (Accepted(said(1), ""),)
    await store.note_sent("terminal", "1", "s1", 0)
    assert await store.finish_request("terminal", "1", "answered")
    assert inbox_row(place, "1")["state"] == "answered"


async def test_visible_messages_lead_to_the_request_and_its_stored_answer(store: Store) -> None:
    await store.accept_request(said(1))
    for sent_id, position in [("s2", 1), ("s1", 0), ("s2", 7)]:
        await store.note_sent("terminal", "1", sent_id, position)
    assert await store.sent_of("terminal", "1") == ("s1", "s2")
    assert await store.request_of("terminal", "s2") == "1"
    assert await store.reply_of("terminal", "s2") is None
    await store.add_reply(said(2, "the answer", author=ME, reply_to="1"), provenance(), kind="chat")
    assert await store.reply_of("terminal", "s1") == await store.reply_of("terminal", "s2") == "2"
    assert [(one.sent_ids, one.reply_text) for one in await unfinished(store)] == [(("s1", "s2"), "the answer")]
    for other in [("terminal", "1"), ("discord", "s1")]:
        assert await store.request_of(*other) is None
        assert await store.reply_of(*other) is None


async def test_what_a_member_says_in_reply_to_a_request_is_not_its_answer(store: Store) -> None:
    await store.accept_request(said(1))
    await store.note_sent("terminal", "1", "s1", 0)
    await store.add_message(said(2, "a member's", reply_to="1"), kind="chat")
    assert await store.reply_of("terminal", "s1") is None
    await store.discard_reply("terminal", "1")
    assert len(await store.load_history(HERE, limit=9)) == 1


async def test_visible_messages_of_a_stored_message_are_kept_and_of_nothing_known_not(store: Store) -> None:
    await store.add_message(said(1), kind="command")
    await store.note_sent("terminal", "1", "s1", 0)
    await store.note_sent("terminal", "unknown", "s2", 0)
    assert await store.recent_replies(HERE, 9) == ["s1"]


async def test_the_last_answers_of_a_channel_come_newest_first_with_all_their_parts(store: Store) -> None:
    for number in range(1, 5):
        await store.accept_request(said(number, scope=THREAD if number == 3 else HERE))
    for number, sent_id, position in [(2, "b0", 0), (1, "a0", 0), (2, "b1", 1), (3, "c0", 0), (4, "d0", 0)]:
        await store.note_sent("terminal", str(number), sent_id, position)
    assert await store.recent_replies(HERE, 9) == ["d0", "b1", "b0", "a0"]
    assert await store.recent_replies(HERE, 2) == ["d0", "b1", "b0"]
    assert await store.recent_replies(THREAD, 2) == ["c0"]
    assert await store.recent_replies(replace(HERE, server="other"), 2) == []
    assert await store.recent_replies(HERE, 0) == await store.recent_replies(HERE, -1) == []


async def test_an_answer_goes_from_every_file_with_any_of_its_visible_messages(store: Store, place: Place) -> None:
    for number in (1, 2):
        await store.accept_request(said(number))
        await store.note_sent("terminal", str(number), f"{number}-0", 0)
        await store.note_sent("terminal", str(number), f"{number}-1", 1)
        text = "abracadabra" if number == 1 else "hocuspocus"
        await store.add_reply(said(number + 2, text, author=ME, reply_to=str(number)), provenance(), kind="chat")
    assert await store.erase_sent("terminal", ["1-1", "unknown"]) == 1
    assert await store.erase_sent("terminal", ["1-1"]) == 0
    assert b"abracadabra" not in place.content()
    assert [m.text for m in await store.load_history(HERE, limit=9)] == ["hocuspocus"]
    assert await store.recent_replies(HERE, 9) == ["2-1", "2-0", "1-0"], "the other part can still be seen"
    assert await store.reply_of("terminal", "1-0") is None


async def test_a_request_that_is_answered_anew_has_one_answer(store: Store, place: Place) -> None:
    await store.accept_request(said(1, "question"))
    await store.add_message(said(1, "question"), kind="chat")
    await store.add_reply(said(2, "abracadabra", author=ME, reply_to="1"), provenance(("1", 1)), kind="chat")
    await store.add_reply(said(3, author=ME), provenance(("2", 1)), kind="chat")
    await store.discard_reply("terminal", "1")
    assert b"abracadabra" not in place.content()
    (request,) = await unfinished(store)
    assert request.reply_text is None
    other = await store.get_reply(HERE, "3")
    assert other is not None
    assert other.provenance.prompt_sha256 is None
    await store.add_reply(said(4, "anew", author=ME, reply_to="1"), provenance(("1", 1)), kind="chat")
    assert [m.text for m in await store.load_history(HERE, limit=9)] == ["question", "text 3", "anew"]


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_withdrawn_request_is_cancelled_and_gone_from_every_file(
    store: Store, place: Place, is_stored: bool
) -> None:
    message = said(1, "abracadabra", author=BOB, attachment="hocuspocus")
    await store.accept_request(message, token="opensesame")
    if is_stored:
        await store.add_message(message, kind="chat")
    assert await store.withdraw_request("terminal", "1")
    assert not await store.withdraw_request("terminal", "1")
    assert not await store.withdraw_request("terminal", "unknown")
    for word in (b"abracadabra", b"hocuspocus", b"Bobolink", b"opensesame"):
        assert word not in place.content()
    assert inbox_row(place, "1")["state"] == "cancelled"
    assert not await store.accept_request(message)
    assert not await store.add_message(message, kind="chat"), "who worked on it meanwhile stores nothing any more"


async def test_words_of_a_finished_request_go_when_it_is_withdrawn(store: Store, place: Place) -> None:
    message = said(1, "abracadabra " * 50)
    await store.accept_request(message)
    await store.add_message(message, kind="chat")
    await store.finish_request("terminal", "1", "answered")
    assert not await store.withdraw_request("terminal", "1")
    assert b"abracadabra" not in place.content()
    assert inbox_row(place, "1")["state"] == "answered"


async def test_words_of_a_refused_request_that_was_never_stored_go_with_its_message(store: Store, place: Place) -> None:
    await store.accept_request(said(1, "abracadabra " * 50))
    await store.finish_request("terminal", "1", "refused")
    assert not await store.delete_message("terminal", "1")
    assert b"abracadabra" not in place.content()


async def test_a_deleted_message_takes_its_words_from_the_inbox(store: Store, place: Place) -> None:
    await store.accept_request(said(1, "abracadabra", author=BOB), token="opensesame")
    assert await store.delete_message("terminal", "1")
    assert not await store.delete_message("terminal", "1")
    for word in (b"abracadabra", b"Bobolink", b"opensesame"):
        assert word not in place.content()
    (request,) = await unfinished(store)
    assert (request.is_erased, request.message.text, request.token) == (True, "", "")


async def test_an_edit_reaches_a_request_that_waits(store: Store, place: Place) -> None:
    await store.accept_request(said(1, "the forrmer wording"))
    assert await store.edit_message("terminal", "1", "the new wording")
    assert not await store.edit_message("terminal", "1", "the new wording")
    assert [one.message.text for one in await unfinished(store)] == ["the new wording"]
    assert b"forrmer" not in place.content()
    await store.finish_request("terminal", "1", "answered")
    assert not await store.edit_message("terminal", "1", "too late")


async def test_a_request_expires_by_the_time_since_it_was_accepted(store: Store, place: Place) -> None:
    await store.accept_request(said(1, created_at_utc=at(-9e6)))
    await store.accept_request(said(2))
    place.rows("UPDATE inbox SET accepted_at_utc = accepted_at_utc - 901000000 WHERE message_id = '2'")
    assert [(one.message.id, one.is_expired) for one in await unfinished(store)] == [("1", False), ("2", True)]


async def test_the_inbox_forgets_what_is_old_but_not_what_leads_to_a_kept_answer(store: Store, place: Place) -> None:
    for number in (1, 2, 3):
        await store.accept_request(said(number, "abracadabra"), token="opensesame")
        await store.note_sent("terminal", str(number), f"s{number}", 0)
    await store.add_reply(said(9, author=ME, reply_to="2", created_at_utc=at(1e9)), provenance(), kind="chat")
    await store.finish_request("terminal", "3", "answered")

    async def forget_after(days: float) -> list[str | None]:
        ((accepted_us,),) = place.rows("SELECT max(accepted_at_utc) FROM inbox")
        await store.delete_expired(now=at(days * 86_400 + accepted_us / 1e6 - at(0).timestamp()), default_days=10**5)
        return [await store.request_of("terminal", f"s{number}") for number in (1, 2, 3)]

    assert await forget_after(0.9) == ["1", "2", "3"]
    assert [one.is_erased for one in await unfinished(store)] == [False, False]
    assert await forget_after(1.1) == ["1", "2", "3"]
    assert [one.is_erased for one in await unfinished(store)] == [True, True]
    for word in (b"abracadabra", b"opensesame"):
        assert word not in place.content()
    assert not await store.accept_request(said(3))
    assert await forget_after(14.1) == [None, "2", None]
    assert await unfinished(store) == ()
    assert await store.reply_of("terminal", "s2") == "9"


async def test_a_database_from_before_the_inbox_keeps_its_data_and_gets_one(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert migrate(connection, read_migrations()[:1], path=path) == 1
        connection.executescript(
            "INSERT INTO conversations (platform, server, channel, thread) VALUES ('terminal', 'home', 'general', '');"
            "INSERT INTO messages (conversation_id, platform, message_id, author_id, author_name, is_bot, is_me, text,"
            " reply_to, kind, created_at_utc) VALUES (1, 'terminal', 'q', 'u1', 'Ann', 0, 0, 'asked', NULL, 'chat', 1),"
            " (1, 'terminal', 'a', 'me', 'Fewshot', 1, 1, 'answered', 'q', 'chat', 2);"
        )
    async with Store.open(path) as store:
        assert [m.text for m in await store.load_history(HERE, limit=9)] == ["asked", "answered"]
        assert await store.accept_request(said(3))
        await store.note_sent("terminal", "q", "s1", 0)
        assert await store.reply_of("terminal", "s1") == "a"
        assert len(await unfinished(store)) == 1


async def test_no_token_or_word_is_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await store.accept_request(said(1, "abracadabra", author=BOB), token="opensesame")
        (request,) = await unfinished(store)
        await store.withdraw_request("terminal", "1")
    assert "opensesame" not in caplog.text + repr(request)
    assert "abracadabra" not in caplog.text
    assert "Bobolink" not in caplog.text


DIE_AFTER = """
import asyncio, os, signal, sys
from pathlib import Path
from bot.core.database_url import DatabaseUrl
from bot.store.store import Store
from tests.store.samples import ME, provenance, said

async def main(address, num_steps):
    async with Store.open(DatabaseUrl(address) if "://" in address else Path(address)) as store:
        steps = [
            lambda: store.accept_request(said(1, "question"), token="t"),
            lambda: store.add_message(said(1, "question"), kind="chat"),
            lambda: store.note_sent("terminal", "1", "s0", 0),
            lambda: store.add_reply(said(2, "answer", author=ME, reply_to="1"), provenance(("1", 1)), kind="chat"),
            lambda: store.note_sent("terminal", "1", "s1", 1),
            lambda: store.finish_request("terminal", "1", "answered"),
        ]
        for step in steps[:int(num_steps)]:
            await step()
        if int(num_steps) < len(steps):
            asyncio.ensure_future(steps[int(num_steps)]())  # may or may not come to its end
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("num_steps", range(7))
async def test_after_a_kill_between_two_steps_it_is_known_how_far_a_request_came(place: Place, num_steps: int) -> None:
    address = str(place.address) if isinstance(place.address, Path) else place.address.url
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", DIE_AFTER, address, str(num_steps)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = [
        [],
        [((), None)],
        [((), None)],
        [(("s0",), None)],
        [(("s0",), "answer")],
        [(("s0", "s1"), "answer")],
        [],
    ]
    async with Store.open(place.address) as store:
        found = [(one.sent_ids, one.reply_text) for one in await unfinished(store)]
        assert found in kept[num_steps : num_steps + 2]
        history = [m.text for m in await store.load_history(HERE, limit=9)]
        assert history in (["question", "answer"][: len(history)],)
        if num_steps:
            assert not await store.accept_request(said(1)), "delivered again, it is known"
    if isinstance(place, SqlitePlace):
        assert place.rows("PRAGMA integrity_check") == [("ok",)]
        assert place.rows("PRAGMA foreign_key_check") == []


async def test_roles_of_any_form_come_back(store: Store) -> None:
    roles = ('"', "[]", "ü")
    await store.accept_request(said(1, author=Author("u1", "Ann", roles=roles)))
    (request,) = await unfinished(store)
    assert request.message.author.roles == roles
    assert json.dumps(request.sent_ids) == "[]"
