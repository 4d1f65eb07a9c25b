"""Several programs on one database: who holds a request, what is told to whom, and what one has to itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from bot.core.database_url import DatabaseUrl
from bot.core.messages import Author
from bot.errors import Unavailable
from bot.store.processes import LEASE_S
from bot.store.store import Store
from tests.store.samples import HERE, ME, provenance, said

PLATFORM = HERE.platform
ANN = Author("ann", "Ann")


@asynccontextmanager
async def programs(address: DatabaseUrl, num: int = 2) -> AsyncIterator[list[Store]]:
    """Open the database as several programs do."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(Store.open(address)) for _ in range(num)]
        for number, store in enumerate(stores):
            await store.join([f"seat {number}"])
        yield stores


async def held_by(store: Store) -> list[str]:
    return [one.message.id for one in await store.unfinished_requests(PLATFORM, answerable_s=None)]


async def dies(survivor: Store, dead: Store) -> None:
    """Let `dead` be seen last so long ago that it counts as dead."""
    assert dead._database.process_id is not None
    await survivor._database.write(
        lambda transaction: transaction.execute(
            "UPDATE processes SET seen_at_utc = seen_at_utc - ? WHERE id = ?",
            int(LEASE_S * 1e6) + 1,
            dead._database.process_id,
        )
    )
    await survivor.beat()


async def test_each_program_answers_what_it_has_accepted(address: DatabaseUrl) -> None:
    async with programs(address) as (one, other):
        assert await one.accept_request(said(1))
        assert await other.accept_request(said(2))
        assert not await other.accept_request(said(1))
        assert await held_by(one) == ["1"]
        assert await held_by(other) == ["2"]
        assert not await one.has_orphans(PLATFORM)
        assert await one.take_over(PLATFORM, limit=9) == ()


async def test_what_a_dead_program_held_is_taken_over_once(address: DatabaseUrl) -> None:
    async with programs(address, 3) as (one, other, dead):
        for number in range(20):
            await dead.accept_request(said(number))
        await dies(one, dead)
        assert await one.has_orphans(PLATFORM)
        taken = await asyncio.gather(*(store.take_over(PLATFORM, limit=4) for store in (one, other) for _ in range(4)))
        assert sorted(sum(taken, ())) == sorted(str(number) for number in range(20))
        assert len(await held_by(one)) + len(await held_by(other)) == 20
        assert not await one.has_orphans(PLATFORM)


async def test_a_program_that_was_taken_for_dead_accepts_ends_and_stores_nothing(address: DatabaseUrl) -> None:
    async with programs(address) as (one, dead):
        await dead.accept_request(said(1))
        await dies(one, dead)
        assert await one.take_over(PLATFORM, limit=9) == ("1",)
        assert not await dead.beat()
        with pytest.raises(Unavailable, match="could not be reached for a while"):
            await dead.accept_request(said(2))
        assert not await dead.finish_request(PLATFORM, "1", "answered")
        answer = said(101, "late", author=ME, reply_to="1")
        assert not await dead.add_reply(answer, provenance(("1", 1)), kind="chat")
        assert await one.add_reply(replace(answer, text="right"), provenance(("1", 1)), kind="chat")
        await dead.join(["seat 1"])
        assert await dead.accept_request(said(2))
        assert await held_by(dead) == ["2"]
        assert await one.finish_request(PLATFORM, "1", "answered")


async def test_who_gets_the_seats_of_a_program_has_its_requests_at_once(address: DatabaseUrl) -> None:
    async with programs(address) as (one, killed):
        await killed.accept_request(said(1))
        async with Store.open(address) as again:
            await again.join(["seat 1"])
            assert await again.take_over(PLATFORM, limit=9) == ("1",)
        assert not await one.has_orphans(PLATFORM)
        assert not await killed.beat()


async def test_a_program_that_leaves_gives_up_what_it_held(address: DatabaseUrl) -> None:
    async with programs(address) as (one, leaving):
        await leaving.accept_request(said(1))
        woken = asyncio.Event()
        listening = asyncio.create_task(one.listen(woken.set))
        await asyncio.wait_for(woken.wait(), 5)
        woken.clear()
        await leaving.leave()
        await asyncio.wait_for(woken.wait(), 5)
        assert await one.take_over(PLATFORM, limit=9) == ("1",)
        listening.cancel()


@pytest.mark.parametrize("how", ["deleted", "forgotten", "channel", "server"])
async def test_the_program_that_answers_is_told_that_a_message_is_gone(address: DatabaseUrl, how: str) -> None:
    async with programs(address) as (one, other):
        message = said(1, author=ANN)
        await other.accept_request(message)
        if how == "deleted":
            assert await one.withdraw_request(PLATFORM, "1")
        elif how == "forgotten":
            await one.forget_person(PLATFORM, ANN.id)
        elif how == "channel":
            await one.forget_channel(HERE)
        else:
            await one.forget_server(PLATFORM, HERE.server)
        (told,) = await other.signals()
        assert (told.platform, told.kind, told.subject) == (PLATFORM, "withdrawn", "1")
        assert await one.signals() == ()
        await other.drop_signals([told])
        assert await other.signals() == ()


@pytest.mark.parametrize("how", ["deleted", "forgotten", "channel", "server"])
async def test_words_on_their_way_in_another_program_are_refused(address: DatabaseUrl, how: str) -> None:
    async with programs(address) as (one, other):
        on_its_way = said(1, author=ANN)
        if how == "deleted":
            await one.withdraw_request(PLATFORM, "1")
        elif how == "forgotten":
            await one.forget_person(PLATFORM, ANN.id)
        elif how == "channel":
            await one.forget_channel(HERE)
        else:
            await one.forget_server(PLATFORM, HERE.server)
        assert not await other.accept_request(on_its_way)
        assert not await other.add_message(on_its_way, kind="chat")
        later = replace(on_its_way, id="2", arrived_at_utc=on_its_way.arrived_at_utc + timedelta(seconds=9))
        assert await other.accept_request(later)


async def test_who_was_forgotten_is_written_nowhere(address: DatabaseUrl) -> None:
    async with programs(address) as (one, _):
        await one.forget_person(PLATFORM, "abracadabra")
        await one.forget_server(PLATFORM, "hocuspocus")
        (row,) = await one._database.read("SELECT json_group_array(key) AS keys FROM gone_marks")
        assert "abracadabra" not in row["keys"]
        assert "hocuspocus" not in row["keys"]
        assert row["keys"] != "[]"


async def test_marks_of_what_is_gone_are_kept_for_an_hour(address: DatabaseUrl) -> None:
    async with programs(address) as (one, _):
        await one.withdraw_request(PLATFORM, "1")
        await one.delete_expired(default_days=30)
        assert len(await one._database.read("SELECT 1 FROM gone_marks")) == 1
        await one._database.write(
            lambda transaction: transaction.execute("UPDATE gone_marks SET gone_at_utc = gone_at_utc - 3600000000")
        )
        await one.delete_expired(default_days=30)
        assert await one._database.read("SELECT 1 FROM gone_marks") == []


async def test_the_program_that_answers_is_told_of_an_edit(address: DatabaseUrl) -> None:
    async with programs(address) as (one, other):
        await other.accept_request(said(1, "before"))
        await one.edit_message(PLATFORM, "1", "after")
        (told,) = await other.signals()
        assert (told.kind, told.subject) == ("edited", "1")
        await other.drop_signals([told])
        await other.edit_message(PLATFORM, "1", "mine")
        await other.finish_request(PLATFORM, "1", "answered")
        await one.edit_message(PLATFORM, "1", "too late")
        assert await other.signals() == ()
        assert await one.signals() == ()


async def test_only_who_asked_or_a_moderator_stops_an_answer_of_another_program(address: DatabaseUrl) -> None:
    async with programs(address) as (one, other):
        await other.accept_request(said(1, author=ANN))
        assert await one.stop_elsewhere(PLATFORM, "1", Author("bob", "Bob")) == "no"
        assert await other.signals() == ()
        assert await one.stop_elsewhere(PLATFORM, "1", ANN) == "told"
        assert await one.stop_elsewhere(PLATFORM, "1", Author("bob", "Bob", is_moderator=True)) == "told"
        assert [signal.kind for signal in await other.signals()] == ["stopped", "stopped"]
        await other.finish_request(PLATFORM, "1", "answered")
        assert await one.stop_elsewhere(PLATFORM, "1", ANN) == "not open"


async def test_signals_go_with_the_program_that_they_are_for(address: DatabaseUrl) -> None:
    async with programs(address) as (one, other):
        await other.accept_request(said(1, author=ANN))
        await one.stop_elsewhere(PLATFORM, "1", ANN)
        await dies(one, other)
        assert await one._database.read("SELECT 1 FROM signals") == []


async def test_of_several_programs_one_has_a_claim(address: DatabaseUrl) -> None:
    async with programs(address, 3) as stores:
        waits = await asyncio.gather(*(store.claim(PLATFORM, "sweep", 60.0) for store in stores for _ in range(3)))
        assert sorted(waits)[0] == 0.0
        assert all(0 < wait <= 60 for wait in sorted(waits)[1:])
        assert await stores[0].claim(PLATFORM, "another", 60.0) == 0.0
        await stores[1].release(PLATFORM, "sweep")
        assert await stores[0].claim(PLATFORM, "sweep", 60.0) == 0.0


async def test_a_claim_ends_by_itself(store: Store) -> None:
    assert await store.claim(PLATFORM, "sweep", 0.2) == 0.0
    assert 0 < await store.claim(PLATFORM, "sweep", 0.2) <= 0.2
    await asyncio.sleep(0.25)
    assert await store.claim(PLATFORM, "sweep", 0.2) == 0.0


async def test_a_claim_is_prolonged_from_now(store: Store) -> None:
    assert await store.claim(PLATFORM, "sweep", 60.0) == 0.0
    await store.prolong(PLATFORM, "sweep", 5.0)
    assert 4 < await store.claim(PLATFORM, "sweep", 60.0) <= 5.0
    await store.prolong(PLATFORM, "no claim", 5.0)
    assert await store.claim(PLATFORM, "no claim", 60.0) == 0.0


async def test_a_claim_of_a_clock_that_was_set_back_does_not_last(store: Store) -> None:
    assert await store.claim(PLATFORM, "sweep", 5000.0) == 0.0
    assert await store.claim(PLATFORM, "sweep", 5.0) == 0.0


async def test_numbers_of_programs_are_never_given_twice(address: DatabaseUrl) -> None:
    async with Store.open(address) as store:
        numbers = [await store.join([f"seat {number}"]) for number in range(5)]
    assert sorted(set(numbers)) == numbers


async def test_many_programs_beat_and_accept_at_once(address: DatabaseUrl) -> None:
    numbers = count(1)

    async def work(store: Store) -> None:
        for _ in range(10):
            assert await store.beat()
            assert await store.accept_request(said(next(numbers)))

    async with programs(address, 4) as stores:
        await asyncio.gather(*map(work, stores))
        assert sum([len(await held_by(store)) for store in stores]) == 40
