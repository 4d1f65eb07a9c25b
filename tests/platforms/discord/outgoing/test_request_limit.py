"""The limit on all requests to Discord: never too many in a second, the important ones first, the others left out."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bot.core.cards import Card, Text
from bot.platforms.discord.outgoing.outlets import ChannelOutlet
from bot.platforms.discord.outgoing.pauses import EVERYTHING
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.request_limit import Priority, RequestLimit
from bot.platforms.shared.streaming import Timings, deliver
from tests.bots import ScriptedEngine, open_scripted_bot, open_tiny_bot
from tests.platforms.discord.channels import Place, open_place
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import pointed_at, serve_discord, visible_text
from tests.servers.discord.faults import Fault, route_kind

WORDS = render(Card(blocks=(Text("Hello there", is_model_text=True),)))
QUICK = Timings(typing_after_s=0.0, typing_every_s=0.05, visible_after_s=0.0)


def kinds(place: Place) -> list[str]:
    return [route_kind(request.method, request.template) for request in place.stand_in.requests]


@asynccontextmanager
async def full(place: Place, max_per_s: int) -> AsyncIterator[None]:
    """Let requests that Discord has not answered yet take all room but that of one answer when the block begins."""
    await place.client.fetch_channel(place.general.id)
    place.stand_in.faults.once("read", Fault("slow", delay_s=1.5), times=max_per_s)
    reading = [asyncio.create_task(place.client.fetch_channel(place.general.id)) for _ in range(max_per_s)]
    limit = place.sender.requests
    await place.stand_in.world.wait_until(lambda: limit.num_waiting, 5, "a request that waits")
    yield
    await asyncio.gather(*reading)


@pytest.mark.parametrize("delay_s", [0.0, 0.3])
async def test_no_second_at_discord_sees_too_many_requests_however_late_they_arrive(delay_s: float):
    async with open_place() as place:
        place.stand_in.faults.sometimes("any", Fault("slow", delay_s=delay_s), 0.5)
        asking = [asyncio.create_task(place.client.fetch_channel(place.general.id)) for _ in range(160)]
        while not all(task.done() for task in asking):
            await asyncio.sleep(0.02)
            # The machine is busy: what was to leave in this time leaves at its end.
            time.sleep(0.15)  # noqa: ASYNC251
        await asyncio.gather(*asking)
        assert not place.stand_in.limits.num_refused
        assert place.stand_in.limits.most_seen <= 45
        assert place.sender.requests.invalid.num_recent == 0


async def test_answers_come_before_edits_that_waited_longer():
    async with open_place(max_per_s=4) as place:
        (sent,) = await place.sender.send(place.channel, WORDS, request_id="first")
        waiting = place.sender.requests
        async with full(place, 4):
            edits = [asyncio.create_task(place.sender.edit(sent, WORDS)) for _ in range(3)]
            num = waiting.num_waiting
            await place.stand_in.world.wait_until(lambda: waiting.num_waiting > num, 5, "an edit that waits")
            answers = [
                asyncio.create_task(place.sender.send(place.channel, WORDS, request_id=f"answer {at}"))
                for at in range(3)
            ]
            num = waiting.num_waiting
            await place.stand_in.world.wait_until(lambda: waiting.num_waiting >= num + 2, 5, "answers that wait")
        await asyncio.gather(*edits, *answers)
        assert [kind for kind in kinds(place) if kind != "read"][1:] == ["send"] * 3 + ["edit"] * 3


async def test_typing_is_left_out_where_there_is_no_room_and_waits_for_nothing():
    async with open_place(max_per_s=4) as place, full(place, 4):
        await place.sender.show_typing(place.channel)
        assert "typing" not in kinds(place)
        assert place.sender.requests.num_left_out == 1
        assert place.sender.figures.num_failed == 0


@asynccontextmanager
async def many_answers(place: Place) -> AsyncIterator[None]:
    """Let answers elsewhere take all room while the block runs."""
    is_over = asyncio.Event()

    async def answer(number: int) -> None:
        at = 0
        while not is_over.is_set():
            await place.sender.send(place.channel, WORDS, request_id=f"{number}-{at}")
            at += 1

    answering = [asyncio.create_task(answer(number)) for number in range(20)]
    await place.stand_in.world.wait_until(lambda: place.sender.requests.num_waiting, 5, "answers that wait")
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*answering)


async def test_under_load_snapshots_thin_out_and_the_whole_answer_comes_at_once():
    async with open_place(max_per_s=10) as place:
        asked = place.ada.says(place.general, "Tell me")

        async def cards() -> AsyncIterator[Card]:
            for number in range(20):
                yield Card(blocks=(Text(f"part {number}"),), is_final=False)
                await asyncio.sleep(0.1)
            yield Card(blocks=(Text("all of it"),))

        outlet = ChannelOutlet(place.sender, place.channel, request_id=str(asked.id), reply_to=place.partial(asked))
        async with many_answers(place):
            delivered = await deliver(cards(), outlet, stop_id=None, timings=QUICK)
            num_waiting = place.sender.requests.num_waiting
        assert delivered.is_shown
        (answer,) = place.stand_in.answers_to(asked)
        assert [visible_text(answer)] == ["all of it"]
        # Neither a snapshot nor the typing indicator came before the answers; none was kept for later either.
        assert len(answer.versions) == 1
        assert not place.stand_in.world.typings
        assert num_waiting <= 20
        assert place.sender.requests.num_left_out


async def test_without_load_every_snapshot_has_its_turn():
    async with open_place() as place:
        asked = place.ada.says(place.general, "Tell me")
        may_end = asyncio.Event()

        async def cards() -> AsyncIterator[Card]:
            yield Card(blocks=(Text("a part"),), is_final=False)
            await may_end.wait()
            yield Card(blocks=(Text("all of it"),))

        outlet = ChannelOutlet(place.sender, place.channel, request_id=str(asked.id), reply_to=place.partial(asked))
        delivering = asyncio.create_task(deliver(cards(), outlet, timings=QUICK))
        answer = await place.stand_in.wait_for_reply(asked)
        may_end.set()
        await delivering
        assert len(answer.versions) == 2
        assert visible_text(answer) == "all of it"


async def test_a_snapshot_that_has_not_left_is_dropped_for_the_whole_answer():
    async with open_place() as place:
        asked = place.ada.says(place.general, "Tell me")
        # discord.py lets all messages of a channel wait while one of them has not been answered.
        place.stand_in.faults.once("send", Fault("slow", delay_s=0.6))
        other = asyncio.create_task(place.sender.send(place.channel, WORDS, request_id="other"))

        async def cards() -> AsyncIterator[Card]:
            yield Card(blocks=(Text("a part"),), is_final=False)
            await asyncio.sleep(0.3)
            yield Card(blocks=(Text("all of it"),))

        outlet = ChannelOutlet(place.sender, place.channel, request_id=str(asked.id), reply_to=place.partial(asked))
        await deliver(cards(), outlet, timings=QUICK)
        await other
        (answer,) = place.stand_in.answers_to(asked)
        assert [visible_text(answer)] == ["all of it"]
        assert len(answer.versions) == 1
        assert "edit" not in kinds(place)


async def test_a_waiting_request_that_is_given_up_leaves_its_room_to_the_next():
    async with open_place(max_per_s=4) as place:
        limit = place.sender.requests
        await place.sender.send(place.channel, WORDS, request_id="first")
        async with full(place, 4):
            num = limit.num_waiting
            waiting = [
                asyncio.create_task(place.sender.send(place.channel, WORDS, request_id=f"waits {at}"))
                for at in range(3)
            ]
            await place.stand_in.world.wait_until(lambda: limit.num_waiting == num + 2, 5, "two to wait")
            waiting[1].cancel()
            await asyncio.gather(waiting[1], return_exceptions=True)
        await asyncio.gather(waiting[0], waiting[2])
        assert limit.num_waiting == 0
        assert [message.nonce for message in place.said][1:] == ["waits 0.0", "waits 2.0"]


async def test_the_first_answer_to_an_interaction_never_waits():
    async with serve_discord() as stand_in:
        limit = RequestLimit(max_per_s=1)
        with pointed_at(stand_in):
            async with aiohttp.ClientSession(trace_configs=[limit.trace()]) as session:
                for _ in range(10):
                    async with session.post(f"{stand_in.api_base}/interactions/1/secret/callback", json={}) as response:
                        assert response.status
        assert (limit.num_sent, limit.num_waiting, stand_in.limits.most_seen) == (0, 0, 0)


async def test_every_request_of_the_running_bot_passes_the_limit(tmp_path: Path):
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home")
        ada = discord.add_member(guild, "Ada")
        limit = RequestLimit()
        async with (
            open_scripted_bot(ScriptedEngine(["Hello there."]), tmp_path) as talk,
            on_discord(talk, discord, requests=limit, identify_pause_s=0.1),
        ):
            await discord.reply(ada.says(guild.channel("general"), "Hello", mention_bot=True))
            await ada.slash(guild.channel("general"), "next", text="Once upon a")
            async with discord.gateway.gap(resumes=False):
                asked = ada.says(guild.channel("general"), "Hello again", mention_bot=True)
            await discord.reply(asked)
        counted = [request for request in discord.requests if not request.template.endswith("/callback")]
        assert {"/users/@me", "/gateway/bot", "/guilds/{guild_id}/members/{user_id}"} <= {
            request.template for request in counted
        }
        assert limit.num_sent == len(counted)


async def test_stats_show_the_refused_requests(tmp_path: Path, roomy_model):
    async with (
        serve_discord(token=TOKEN) as discord,
        open_tiny_bot(roomy_model("gpt2"), tmp_path) as talk,
        on_discord(talk, discord) as client,
    ):
        for _ in range(3):
            client.sender.requests.invalid.note(429)
        assert (await talk.ask("!stats"))["num_refused_requests"] == 3
        guild = discord.world.add_guild("Home")
        asked = discord.add_member(guild, "Ada").says(guild.channel("general"), "!stats", mention_bot=True)
        shown = visible_text(await discord.reply(asked))
        assert "refused by Discord in 10 minutes" in shown


async def test_a_429_that_still_comes_is_counted_and_logged_without_ids(caplog: pytest.LogCaptureFixture):
    async with open_place() as place:
        place.stand_in.faults.once("send", Fault("rate_limited", retry_after_s=0.05))
        await place.sender.send(place.channel, WORDS, request_id="1")
        assert place.sender.requests.invalid.num_recent == 1
        (logged,) = [one.getMessage() for one in caplog.records if one.name.startswith("bot.")]
        assert "POST /channels/…/messages" in logged
        assert str(place.general.id) not in logged


async def test_a_request_whose_turn_comes_as_a_pause_begins_waits_for_its_end() -> None:
    limit = RequestLimit(max_per_s=1)
    await limit._wait(Priority.ANSWER, EVERYTHING)
    waiting = asyncio.create_task(limit._wait(Priority.ANSWER, "POST /channels/1/messages"))
    await asyncio.sleep(0)
    limit._slots.clear()
    limit._let_in()
    limit._pauses.begin(EVERYTHING, 0.05)
    started = time.monotonic()
    await waiting
    assert time.monotonic() - started >= 0.05
    assert len(limit._slots) == 1


async def test_requests_that_are_cancelled_as_room_becomes_free_end_as_cancelled() -> None:
    limit = RequestLimit(max_per_s=1)
    waiting = [asyncio.create_task(limit._wait(Priority.ANSWER, EVERYTHING)) for _ in range(4)]
    await asyncio.sleep(0)
    limit._slots.clear()
    for task in waiting:
        task.cancel()
    limit._let_in()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in ended[1:]] == [asyncio.CancelledError] * 3
