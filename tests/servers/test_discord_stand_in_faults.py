"""Planned faults: lost connections, refused resumes, rate limits, errors before and after acceptance."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest

from tests.servers.discord import serve_discord
from tests.servers.discord.faults import Fault
from tests.servers.plain_bot import Home, PlainBot, at_home, running


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        yield opened


def text_channel(home: Home) -> discord.TextChannel:
    channel = home.bot.get_channel(home.general.id)
    assert isinstance(channel, discord.TextChannel)
    return channel


@pytest.mark.parametrize(
    ("how", "code"), [("drop", None), ("drop", 4000), ("drop", 4008), ("reconnect", None), ("invalid", None)]
)
async def test_what_happened_in_a_gap_comes_after_a_resume(home: Home, how: str, code: int | None):
    async with home.stand_in.gateway.gap(how=how, code=code):
        said = [home.ada.says(home.general, f"{number} quiet").content for number in range(5)]
        await asyncio.sleep(0.02)
        assert home.bot.heard == []
    await home.stand_in.gateway.is_connected()
    await home.stand_in.world.wait_until(lambda: len(home.bot.heard) == 5, 5, "five messages")
    assert home.bot.heard == said
    assert (home.stand_in.gateway.num_resumes, home.stand_in.gateway.num_identifies) == (1, 1)


@pytest.mark.parametrize("how", ["drop", "reconnect", "invalid"])
async def test_what_happened_before_a_refused_resume_is_lost(home: Home, how: str):
    async with home.stand_in.gateway.gap(resumes=False, how=how):
        lost = home.ada.says(home.general, "lost quiet")
    await home.stand_in.gateway.is_connected()
    home.ada.says(home.general, "heard quiet")
    await home.stand_in.world.wait_until(lambda: home.bot.heard, 5, "a message")
    assert home.bot.heard == ["heard quiet"]
    assert home.stand_in.gateway.num_identifies == 2
    channel = text_channel(home)
    missed = [message.id async for message in channel.history(after=discord.Object(lost.id - 1))]
    assert missed[0] == lost.id


async def test_resumes_are_refused_when_asked_to(home: Home):
    home.stand_in.gateway.refuse_resumes = True
    await home.stand_in.gateway.drop_socket()
    await home.stand_in.world.wait_until(lambda: home.stand_in.gateway.num_identifies == 2, 5, "an IDENTIFY")
    assert home.stand_in.gateway.num_refused_resumes == 1


async def test_paused_events_are_kept(home: Home):
    home.stand_in.gateway.pause()
    home.ada.says(home.general, "late quiet")
    await asyncio.sleep(0.05)
    assert home.bot.heard == []
    home.stand_in.gateway.go_on()
    await home.stand_in.world.wait_until(lambda: home.bot.heard, 5, "the message")


async def test_a_rate_limit_is_waited_for(home: Home):
    home.stand_in.faults.once("send", Fault("rate_limited", retry_after_s=0.1))
    await home.stand_in.wait_for_reply(home.ada.says(home.general, "hello"))
    statuses = [request.status for request in home.stand_in.requests if request.template.endswith("/messages")]
    assert statuses == [429, 200]
    assert home.stand_in.num_invalid_requests == 1


async def test_a_429_without_via_is_raised(home: Home):
    home.stand_in.faults.once("send", "banned")
    with pytest.raises(discord.HTTPException) as raised:
        await text_channel(home).send("hello", suppress_embeds=True)
    assert raised.value.status == 429
    assert home.general.messages == []


async def test_an_error_comes_before_acceptance(home: Home):
    home.stand_in.faults.once("send", Fault("error", status=503))
    with pytest.raises(discord.DiscordServerError):
        await text_channel(home).send("hello", suppress_embeds=True)
    assert home.general.messages == []


async def test_what_was_accepted_before_an_error_is_not_doubled_with_a_nonce(home: Home):
    home.stand_in.faults.once("send", Fault("accepted_then_error", status=502))
    sent = await text_channel(home).send("hello", nonce=5, suppress_embeds=True)
    assert [message.id for message in home.general.messages] == [sent.id]
    assert home.stand_in.num_deduplicated == 1


@pytest.mark.parametrize(("kind", "num_accepted"), [("reset", 0), ("accepted_then_reset", 1)])
async def test_a_connection_is_cut(home: Home, kind: str, num_accepted: int):
    home.stand_in.faults.once("send", Fault(kind))  # type: ignore[arg-type]
    with pytest.raises((aiohttp.ClientError, OSError)):
        await text_channel(home).send("hello", nonce=5, suppress_embeds=True)
    assert len(home.general.messages) == num_accepted
    await text_channel(home).send("hello", nonce=5, suppress_embeds=True)
    assert len(home.general.messages) == 1


async def test_a_lost_answer_to_an_interaction_is_nobodys_fault(home: Home):
    home.stand_in.faults.once("callback", Fault("accepted_then_error", status=502))
    result = await home.ada.slash(home.general, "say", text="hey")
    assert result.message
    await home.stand_in.world.wait_until(
        lambda: [r.status for r in home.stand_in.requests if r.template.endswith("/callback")] == [502, 400],
        5,
        "the client's second try",
    )
    home.stand_in.assert_clean()


async def test_answers_can_be_slow(home: Home):
    home.stand_in.faults.once("typing", Fault("slow", delay_s=0.2))
    started = asyncio.get_running_loop().time()
    await text_channel(home).typing()
    assert asyncio.get_running_loop().time() - started >= 0.2
    assert len(home.stand_in.world.typings) == 1


async def test_faults_come_by_probability_and_seed():
    def injected(seed: int) -> list[str | None]:
        from tests.servers.discord.faults import FaultPlan

        plan = FaultPlan(seed)
        plan.sometimes("send", "reset", 0.2)
        plan.sometimes("any", "banned", 0.1)
        faults = [plan.fault_of("POST", "/channels/{channel_id}/messages") for _ in range(1000)]
        assert 150 < plan.num_injected["reset"] < 250
        assert 60 < plan.num_injected["banned"] < 140
        return [fault.kind if fault else None for fault in faults]

    assert injected(1) == injected(1)
    assert injected(1) != injected(2)


async def test_too_many_requests_in_a_second_are_limited_for_all_routes():
    async with serve_discord(max_requests_per_s=8) as stand_in:
        guild = stand_in.world.add_guild("Home")
        async with running(stand_in, PlainBot()) as bot:
            channel = bot.get_channel(guild.channel("general").id)
            assert isinstance(channel, discord.TextChannel)
            for number in range(8):
                await channel.send(str(number), suppress_embeds=True)
        assert stand_in.limits.num_refused["global"]
        assert len(guild.channel("general").messages) == 8


async def test_the_limit_of_each_route_is_told_in_headers_and_kept_for_each_channel():
    async with serve_discord(limits_routes=True) as stand_in:
        stand_in.world.add_guild("Home", ["one", "two"])
        async with running(stand_in, PlainBot()) as bot, aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bot {stand_in.token}"}

            async def types(name: str) -> aiohttp.ClientResponse:
                channel = bot.guilds[0].text_channels[("one", "two").index(name)]
                async with session.post(f"{stand_in.api_base}/channels/{channel.id}/typing", headers=headers) as got:
                    return got

            got = [await types("one") for _ in range(6)]
            assert [one.status for one in got] == [204] * 5 + [429]
            assert [one.headers["X-RateLimit-Remaining"] for one in got] == ["4", "3", "2", "1", "0", "0"]
            assert got[-1].headers["X-RateLimit-Scope"] == "user"
            assert (await types("two")).status == 204
        assert stand_in.limits.num_refused == {"user": 1}


async def test_discord_py_waits_for_the_limit_of_a_route_by_itself():
    async with serve_discord(limits_routes=True) as stand_in:
        guild = stand_in.world.add_guild("Home")
        async with running(stand_in, PlainBot()) as bot:
            channel = bot.get_channel(guild.channel("general").id)
            assert isinstance(channel, discord.TextChannel)
            message = await channel.send("0", suppress_embeds=True)
            await asyncio.gather(*(message.add_reaction(emoji) for emoji in "🐢🐇🦊"))
        assert not stand_in.limits.num_refused
        assert len(guild.channel("general").messages[0].reactions) == 3
