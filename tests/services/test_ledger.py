import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.messages import Scope
from bot.errors import Unavailable
from bot.platforms.discord.traits import DISCORD
from bot.platforms.terminal.traits import TERMINAL
from bot.services.ledger import Accepted, Delivery, SeenUntil, Watermark
from bot.store.backend import Transaction
from bot.store.store import Store
from tests.databases import lay_new_database
from tests.store.samples import HERE, ME, bytes_on_disk, chain, provenance, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fewshot.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store.open(lay_new_database(path)) as opened:
        yield opened


@pytest.fixture
def delivery(store: Store) -> Delivery:
    return Delivery(store, TERMINAL)


async def test_a_request_goes_from_accepted_to_answered(store: Store, delivery: Delivery) -> None:
    message = said(1)
    assert await delivery.accept(message, token="t")
    assert await delivery.unfinished() == (Accepted(message, "t"),)
    await store.add_message(message, kind="chat")
    await delivery.note_sent("1", "s1", 1)
    await delivery.note_sent("1", "s0", 0)
    await store.add_reply(said(2, "an answer", author=ME, reply_to="1"), provenance(), kind="chat")
    assert await delivery.unfinished() == (Accepted(message, "t", ("s0", "s1"), "an answer"),)
    assert await delivery.finish("1", "answered")
    assert not await delivery.finish("1", "answered")
    assert await delivery.unfinished() == ()
    assert not await delivery.accept(message)
    assert await delivery.sent_of("1") == ("s0", "s1")
    assert await delivery.request_of("s1") == "1"
    assert await delivery.reply_of("s1") == "2"


async def test_requests_of_another_platform_are_not_touched(store: Store, delivery: Delivery) -> None:
    other = Delivery(store, DISCORD)
    await delivery.accept(said(1))
    assert await other.unfinished() == ()
    assert not await other.finish("1", "answered")
    assert not await other.withdraw("1")
    assert len(await delivery.unfinished()) == 1


async def test_a_message_of_another_platform_is_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="a message of terminal"):
        await Delivery(store, DISCORD).accept(said(1))


async def test_notes_are_known_after_a_restart(delivery: Delivery, path: Path) -> None:
    assert await delivery.recall("hash") is None
    await delivery.remember("hash", "a")
    await delivery.remember("hash", "b")
    async with Store.open(path) as again:
        assert await Delivery(again, TERMINAL).recall("hash") == "b"
        assert await Delivery(again, DISCORD).recall("hash") is None


async def test_the_latest_direct_messages_are_known(store: Store, delivery: Delivery) -> None:
    for number, channel in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "d")]:
        server = "home" if channel == "d" else "@me"
        await store.add_message(said(number, scope=Scope("terminal", server, channel)), kind="chat")
    assert await delivery.direct_channels() == ("c", "a", "b")
    assert await store.direct_channels("terminal", limit=2) == ("c", "a")
    assert await store.direct_channels("discord") == ()


async def test_a_request_expires(store: Store) -> None:
    await Delivery(store, TERMINAL).accept(said(1))
    for answerable_s, is_expired in [(900.0, False), (-1.0, True), (None, False)]:
        (request,) = await Delivery(store, replace(TERMINAL, answerable_s=answerable_s)).unfinished()
        assert request.is_expired is is_expired


async def test_a_reply_to_any_visible_part_of_an_answer_is_a_reply_to_the_stored_answer(
    store: Store, delivery: Delivery
) -> None:
    first = said(1)
    await delivery.accept(first)
    await store.add_message(first, kind="chat")
    await delivery.note_sent("1", "s0", 0)
    await delivery.note_sent("1", "s1", 1)
    reply = said(3, reply_to="s1")
    assert await delivery.resolve(reply) == reply, "nothing is stored yet"
    await store.add_reply(said(2, author=ME, reply_to="1"), provenance(), kind="chat")
    resolved = await delivery.resolve(reply)
    assert resolved.reply_to == "2"
    assert await delivery.resolve(resolved) == resolved
    for untouched in (first, said(4, reply_to="a member's")):
        assert await delivery.resolve(untouched) == untouched
    await store.add_message(resolved, kind="chat")
    assert [m.id for m in await chain(store, HERE, "3", limit=9)] == ["1", "2", "3"]


async def test_a_deleted_visible_message_takes_the_words_of_the_answer(
    store: Store, delivery: Delivery, path: Path
) -> None:
    await delivery.accept(said(1))
    await delivery.note_sent("1", "s0", 0)
    await store.add_reply(said(2, "abracadabra", author=ME, reply_to="1"), provenance(), kind="chat")
    assert await store.erase_sent(HERE.platform, ["unknown"]) == 0
    assert await store.erase_sent(HERE.platform, ["s0"]) == 1
    assert b"abracadabra" not in bytes_on_disk(path)


async def test_a_withdrawn_request_ends_cancelled(delivery: Delivery, path: Path) -> None:
    await delivery.accept(said(1, "abracadabra"))
    assert await delivery.withdraw("1")
    assert not await delivery.finish("1", "answered")
    assert await delivery.unfinished() == ()
    assert b"abracadabra" not in bytes_on_disk(path)


async def test_a_request_is_answered_anew_after_its_answer_was_discarded(store: Store, delivery: Delivery) -> None:
    await delivery.accept(said(1))
    await store.add_reply(said(2, author=ME, reply_to="1"), provenance(), kind="chat")
    await delivery.discard_reply("1")
    await store.add_reply(said(3, "anew", author=ME, reply_to="1"), provenance(), kind="chat")
    assert [m.text for m in await store.load_history(HERE, limit=9)] == ["anew"]


FILL_THE_DISK = """
import asyncio, json, resource, sys
from pathlib import Path
from bot.services.ledger import Delivery
from bot.errors import Unavailable
from bot.platforms.terminal.traits import TERMINAL
from bot.store.store import Store
from tests.store.samples import said

async def main(path):
    async with Store.open(Path(path)) as store:
        delivery = Delivery(store, TERMINAL)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
        accepted, refused = [], []
        for number in range(60):
            try:
                await delivery.accept(said(number, "x" * 20_000))
                accepted.append(str(number))
            except Unavailable:
                refused.append(str(number))
        told = [one.message.id for one in await delivery.unfinished()]
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        again = [number for number in refused if await delivery.accept(said(int(number)))]
    print(json.dumps([accepted, refused, told, again]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
async def test_on_a_full_disk_nothing_is_accepted_that_is_not_stored(path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FILL_THE_DISK, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accepted, refused, told, again = json.loads(done.stdout)
    assert len(accepted) > 3
    assert len(refused) > 30
    assert told == accepted
    assert again == refused
    async with Store.open(path) as store:
        assert len(await Delivery(store, TERMINAL).unfinished()) == 60


async def test_what_can_not_be_stored_is_not_accepted(path: Path) -> None:
    async with Store.open(path) as closed:
        delivery = Delivery(closed, TERMINAL)
    with pytest.raises(Unavailable):
        await delivery.accept(said(1))
    async with Store.open(path) as store:
        assert await Delivery(store, TERMINAL).accept(said(1))


async def test_accepting_that_is_cancelled_accepts_wholly_or_not_at_all(store: Store, delivery: Delivery) -> None:
    for number in range(30):
        task = asyncio.ensure_future(delivery.accept(said(number)))
        await asyncio.sleep(number * 0.0001)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        is_new = await delivery.accept(said(number))
        if task.done() and not task.cancelled():
            assert is_new is not task.result()
        assert len(await delivery.unfinished()) == number + 1


def test_a_value_follows_what_is_done_without_gaps() -> None:
    seen = SeenUntil("5")
    for message_id in ("98", "99", "100"):
        seen.saw(message_id)
    seen.done("99")
    assert seen.value == "5"
    seen.done("98")
    assert seen.value == "99"
    seen.done("100")
    assert seen.value == "100"
    seen.done("7")
    assert seen.value == "100", "what comes late takes nothing back"


def test_a_value_stands_still_from_a_break_until_all_of_it_was_read_back() -> None:
    seen = SeenUntil()
    seen.done("1")
    gap = seen.freeze()
    seen.done("3")
    assert (seen.value, seen.is_frozen) == ("1", True)
    later = seen.freeze()
    assert not seen.thaw(gap), "the connection broke again while the first gap was read back"
    seen.saw("2")
    assert seen.gap == later
    assert seen.thaw(later)
    assert (seen.value, seen.is_frozen) == ("1", False)
    seen.done("2")
    assert seen.value == "3"


def test_an_event_that_comes_twice_must_be_done_again_only_while_it_counts() -> None:
    seen = SeenUntil()
    seen.saw("1")
    seen.saw("2")
    seen.done("2")
    seen.saw("2")
    seen.done("1")
    assert seen.value == "2", "it was done before it came again"
    seen.saw("1")
    seen.done("3")
    assert seen.value == "2"
    seen.done("1")
    assert seen.value == "3"


STEPS = st.lists(
    st.tuples(st.sampled_from(["saw", "done", "done", "freeze", "thaw"]), st.integers(min_value=1, max_value=12)),
    min_size=3,
    max_size=40,
)


@settings(max_examples=1000)
@given(steps=STEPS, start=st.none() | st.integers(min_value=1, max_value=12))
def test_a_value_never_moves_past_what_is_not_done_or_came_during_a_gap(
    steps: list[tuple[str, int]], start: int | None
) -> None:
    seen = SeenUntil(None if start is None else str(start))
    waiting: set[int] = set()
    counting: set[int] = set()  # done and not yet passed
    during_gap: set[int] = set()
    is_frozen = False
    value = start or 0
    for step, number in steps:
        if step == "freeze":
            seen.freeze()
            is_frozen = True
        elif step == "thaw":
            assert seen.thaw(seen.gap)
            is_frozen = False
            during_gap.clear()
        elif step == "saw":
            seen.saw(str(number))
            if number not in counting:
                waiting.add(number)
        else:
            seen.done(str(number))
            waiting.discard(number)
            counting.add(number)
        if is_frozen and step in ("saw", "done"):
            during_gap.add(number)
        now = int(seen.value or 0)
        if now != value:
            assert not is_frozen
            assert now > value
            assert now in counting
            assert not [one for one in waiting | during_gap if one <= now]
            value = now
        if not is_frozen:
            passed = {one for one in counting if one < min(waiting, default=13)}
            counting -= passed
            assert now == max(passed | {value}), "nothing is in the way"


@given(numbers=st.permutations(range(1, 15)))
def test_in_the_order_of_ids_a_value_is_never_above_what_is_not_done(numbers: list[int]) -> None:
    seen = SeenUntil()
    for number in sorted(numbers):
        seen.saw(str(number))
    left = set(numbers)
    for number in numbers:
        seen.done(str(number))
        left.discard(number)
        assert int(seen.value or 0) == min(left, default=15) - 1


async def num_writes(store: Store, watermark: Watermark, pauses: int) -> int:
    """Return how often the stored watermark changed while events came in `pauses` short pauses."""
    values = []
    for number in range(pauses):
        watermark.seen.done(str(1000 + number))
        await asyncio.sleep(0.005)
        values.append(await store.get_watermark("discord", ""))
    return len(set(values))


async def test_a_watermark_is_stored_now_and_then_and_at_the_end(store: Store) -> None:
    async with Watermark.open(store, "discord", pause_s=0.05) as watermark:
        assert watermark.seen.value is None
        assert await num_writes(store, watermark, 40) < 12
        assert await store.get_watermark("discord", "") is not None
    assert await store.get_watermark("discord", "") == "1039"
    async with Delivery(store, DISCORD).watermark() as again:
        assert again.seen.value == "1039"
        again.seen.done("1040")
        assert await store.get_watermark("discord", "") == "1039"
    assert await store.get_watermark("discord", "") == "1040"


async def test_a_watermark_is_stored_when_its_block_is_cancelled(store: Store) -> None:
    async def follow() -> None:
        async with Watermark.open(store, "discord", "server") as watermark:
            watermark.seen.done("7")
            await asyncio.Event().wait()

    task = asyncio.ensure_future(follow())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.get_watermark("discord", "server") == "7"


async def test_a_watermark_that_can_not_be_stored_is_stored_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Store.open(path) as closed, Watermark.open(closed, "discord") as watermark:
        watermark.seen.done("7")
        await closed._database.close()
        with caplog.at_level(logging.INFO):
            await watermark.save()
    assert "the watermark of discord could not be stored" in caplog.text
    async with Store.open(path) as store:
        assert await store.get_watermark("discord", "") is None


async def test_an_error_that_nobody_listed_does_not_end_the_saving(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bot.background.RESTART_S", 0.0)
    advance = store.advance_watermark
    is_broken = True

    async def break_once(platform: str, key: str, value: str) -> None:
        nonlocal is_broken
        if is_broken:
            is_broken = False
            raise KeyError("not listed")
        await advance(platform, key, value)

    monkeypatch.setattr(store, "advance_watermark", break_once)
    async with Watermark.open(store, "discord", pause_s=0.01) as watermark:
        watermark.seen.saw("5")
        watermark.seen.done("5")
        async with asyncio.timeout(20):
            while await store.get_watermark("discord", "") != "5":
                await asyncio.sleep(0.01)
    assert "saving the watermark discord failed; it starts again" in caplog.text


async def test_accepting_does_not_wait_for_reading(store: Store, delivery: Delivery) -> None:
    async def slow(transaction: Transaction) -> None:
        await asyncio.sleep(0.05)

    writing = asyncio.ensure_future(store._database.write(slow))
    await asyncio.sleep(0.01)
    assert await delivery.sent_of("1") == ()
    assert not writing.done()
    await writing
