"""The pause that a 429 asks for: all that it is for keep it, and one request finds out whether it is over."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bot.core.cards import Card, Text
from bot.errors import DeliveryFailed
from bot.platforms.discord.outgoing.pauses import EVERYTHING, Pauses, StillLimited
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.request_limit import RequestLimit
from bot.platforms.discord.starting import explain_failure
from tests.platforms.discord.channels import Place, open_place
from tests.servers.discord import pointed_at, serve_discord
from tests.servers.discord.faults import Fault

WORDS = render(Card(blocks=(Text("Hello there", is_model_text=True),)))
SEND = "POST /channels/1/messages"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_after_a_pause_one_request_goes_ahead_and_the_others_follow_its_answer(clock: Clock):
    pauses = Pauses(clock=clock)
    pauses.begin(EVERYTHING, 5.0)
    clock.now_s += 4.9
    assert pauses.holds_until(SEND) == pauses.next_change() == 105.0
    clock.now_s += 0.2
    assert not pauses.holds_until(SEND)
    pauses.go_ahead(SEND, "first")
    assert pauses.holds_until(SEND)
    pauses.failed("first")
    pauses.go_ahead(SEND, "second")
    pauses.answered("another that was on its way")
    assert pauses.holds_until(SEND)
    pauses.answered("second")
    assert not pauses.holds_until(SEND)
    assert not pauses.has_begun(SEND)


def test_a_pause_begins_again_with_the_answer_of_the_request_that_went_ahead(clock: Clock):
    pauses = Pauses(clock=clock)
    pauses.begin(EVERYTHING, 1.0)
    clock.now_s += 2.0
    pauses.go_ahead(SEND, "first")
    pauses.begin(EVERYTHING, 30.0)
    pauses.answered("first")
    assert pauses.holds_until(SEND) == 132.0


def test_a_shorter_pause_does_not_end_a_longer_one(clock: Clock):
    pauses = Pauses(clock=clock)
    pauses.begin(EVERYTHING, 60.0)
    pauses.begin(EVERYTHING, 1.0)
    assert pauses.holds_until(SEND) == 160.0


def test_a_request_that_went_ahead_and_is_never_answered_holds_the_others_for_a_while_only(clock: Clock):
    pauses = Pauses(clock=clock)
    pauses.begin(SEND, 1.0)
    clock.now_s += 2.0
    pauses.go_ahead(SEND, "first")
    clock.now_s = pauses.next_change() or 0.0
    assert not pauses.holds_until(SEND)


@pytest.mark.parametrize("wait_s", [-1.0, 0.0, float("nan"), float("inf"), 1e300])
def test_a_pause_that_makes_no_sense_ends(clock: Clock, wait_s: float):
    pauses = Pauses(clock=clock)
    pauses.begin(SEND, wait_s)
    clock.now_s += 86_401.0
    assert not pauses.holds_until(SEND)


@asynccontextmanager
async def paused(place: Place, fault: Fault) -> AsyncIterator[float]:
    """Let Discord refuse one message, and yield when the pause that it asks for ends."""
    place.stand_in.faults.once("send", fault)
    sending = asyncio.create_task(place.sender.send(place.channel, WORDS, request_id="refused"))
    invalid = place.sender.requests.invalid
    await place.stand_in.world.wait_until(lambda: invalid.num_recent, 5, "a 429")
    yield place.stand_in.requests[-1].at + fault.retry_after_s
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def test_a_pause_of_everything_is_kept_by_all_and_one_request_goes_ahead():
    async with open_place() as place:
        await place.client.fetch_channel(place.general.id)
        async with paused(place, Fault("banned", retry_after_s=0.3)) as ends_at:
            num = len(place.stand_in.requests)
            # Discord refuses the next two as well.
            place.stand_in.faults.once("any", Fault("banned", retry_after_s=0.1), times=2)
            reads = [asyncio.create_task(place.client.fetch_channel(place.general.id)) for _ in range(10)]
            results = await asyncio.gather(*reads, return_exceptions=True)
            seen = place.stand_in.requests[num:]
        assert seen[0].at >= ends_at
        assert [one.status for one in seen[:3]] == [429, 429, 200]
        # discord.py gives up what is refused without Via; no other request met the pause.
        assert sum(isinstance(one, Exception) for one in results) == 2
        assert place.sender.requests.invalid.num_recent == 3


async def test_while_one_request_goes_ahead_the_others_wait_for_its_answer():
    async with open_place() as place:
        await place.client.fetch_channel(place.general.id)
        async with paused(place, Fault("banned", retry_after_s=0.1)):
            num = len(place.stand_in.requests)
            place.stand_in.faults.once("read", Fault("slow", delay_s=0.3))
            reads = [asyncio.create_task(place.client.fetch_channel(place.general.id)) for _ in range(5)]
            await asyncio.gather(*reads)
            first, *others = place.stand_in.requests[num:]
        assert min(one.at for one in others) >= first.at


async def test_a_request_that_went_ahead_and_was_cancelled_lets_the_next_go():
    async with open_place() as place, paused(place, Fault("banned", retry_after_s=0.05)):
        place.stand_in.faults.once("read", Fault("slow", delay_s=2.0))
        limit = place.sender.requests
        first = asyncio.create_task(place.client.fetch_channel(place.general.id))
        num = limit.num_sent
        await place.stand_in.world.wait_until(lambda: limit.num_sent > num, 5, "the first request")
        second = asyncio.create_task(place.client.fetch_guild(place.guild.id))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait_for(second, 1.0)


async def test_a_long_pause_is_told_at_once_and_asks_discord_nothing():
    async with open_place() as place:
        place.stand_in.faults.once("send", Fault("banned", retry_after_s=3600))
        place.stand_in.faults.once("read", Fault("banned", retry_after_s=3600))
        with pytest.raises(DeliveryFailed):
            await place.sender.send(place.channel, WORDS, request_id="1", deadline_s=0.5)
        num = len(place.stand_in.requests)
        started = time.monotonic()
        for at in range(5):
            with pytest.raises(DeliveryFailed):
                await place.sender.send(place.channel, WORDS, request_id=f"later {at}")
        with pytest.raises(OSError, match="3600"):
            await place.client.fetch_channel(place.general.id)
        await place.sender.show_typing(place.channel)
        assert time.monotonic() - started < 1.0
        assert len(place.stand_in.requests) == num


def test_a_start_during_a_pause_says_that_discord_refuses_this_machine():
    assert "after too many requests" in str(explain_failure(StillLimited(60)))


async def test_the_pause_of_one_channel_holds_no_other():
    async with open_place() as place:
        other = place.client.get_partial_messageable(place.stand_in.world.add_channel(place.guild, "other").id)
        async with paused(place, Fault("rate_limited", retry_after_s=0.5)) as ends_at:
            num = len(place.stand_in.requests)
            here = asyncio.create_task(place.sender.send(place.channel, WORDS, request_id="here"))
            await place.sender.send(other, WORDS, request_id="there")
            assert time.monotonic() < ends_at
            await place.client.fetch_channel(place.general.id)
            await here
            seen = [one for one in place.stand_in.requests[num:] if str(place.general.id) in one.path]
        assert all(one.at >= ends_at for one in seen if one.method == "POST")


async def test_an_answer_to_an_interaction_does_not_wait_for_the_end_of_a_pause():
    async with serve_discord() as stand_in:
        limit = RequestLimit()
        with pointed_at(stand_in):
            async with aiohttp.ClientSession(trace_configs=[limit.trace()]) as session:
                stand_in.faults.once("any", Fault("banned", retry_after_s=3600))
                async with session.get(f"{stand_in.api_base}/users/@me") as response:
                    assert response.status == 429
                async with session.post(f"{stand_in.api_base}/interactions/1/secret/callback", json={}) as response:
                    assert response.status
