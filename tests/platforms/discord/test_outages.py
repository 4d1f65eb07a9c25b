"""Discord is unreachable for longer than one answer is retried: the answer is shown once when it is back."""

import asyncio
from pathlib import Path

import pytest

from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import serve_discord, visible_text
from tests.servers.discord.faults import Fault, Kind


@pytest.mark.parametrize("kind", ["error", "reset", "accepted_then_error", "accepted_then_reset", "banned"])
async def test_an_answer_that_could_not_be_shown_is_shown_when_discord_is_back(tmp_path: Path, kind: Kind):
    engine = ScriptedEngine(["Hello there."])
    async with (
        serve_discord(token=TOKEN) as discord,
        open_scripted_bot(engine, tmp_path) as talk,
        on_discord(talk, discord, deadline_s=1.0, retry_pause_s=0.5) as client,
    ):
        guild = discord.world.add_guild("Home")
        ada = discord.add_member(guild, "Ada")
        discord.faults.sometimes("any", Fault(kind, retry_after_s=0.2), 1.0)
        asked = ada.says(guild.channel("general"), "Hello", mention_bot=True)
        await discord.world.wait_until(lambda: client.sender.figures.num_failed, 10, "the answer to fail")
        await asyncio.sleep(1)
        discord.faults.clear()
        assert visible_text(await discord.reply(asked)) == "Hello there."
        await asyncio.sleep(1)
        assert not discord.answered_twice()
        assert len(discord.answers_to(asked)) == 1
        discord.assert_clean()


async def test_a_shard_that_can_not_connect_tries_again_soon(tmp_path: Path):
    async with (
        serve_discord(token=TOKEN) as discord,
        open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path) as talk,
        on_discord(talk, discord) as client,
    ):
        shard = client.shards[0]
        backoff = shard._parent._backoff
        await discord.world.wait_until(lambda: backoff._max == 5, 5, "the limit")
        assert max(backoff.delay() for _ in range(200)) <= 32
