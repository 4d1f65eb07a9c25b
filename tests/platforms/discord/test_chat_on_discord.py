"""Chatting with the real bot through the real discord.py client, on the stand-in."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from bot.platforms.discord.client import FewshotClient
from tests.bots import Talk
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import Discord, serve_discord, visible_text
from tests.servers.discord.members import Member
from tests.servers.discord.world import Channel, Guild

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


@dataclass(frozen=True, slots=True)
class Evening:
    """A guild with the bot in it, and a member who talks."""

    talk: Talk
    discord: Discord
    client: FewshotClient
    guild: Guild
    ada: Member

    @property
    def general(self) -> Channel:
        return self.guild.channel("general")


@pytest.fixture
async def evening(open_tiny: OpenTiny) -> AsyncIterator[Evening]:
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general", "other"])
        ada = discord.add_member(guild, "Ada")
        async with open_tiny("gpt2") as talk, on_discord(talk, discord) as client:
            yield Evening(talk, discord, client, guild, ada)
            discord.assert_clean()


async def test_a_mention_is_answered_and_nothing_else_is(evening: Evening):
    evening.ada.says(evening.general, "Is anybody there?")
    asked = evening.ada.says(evening.general, "Hello bot", mention_bot=True)
    answer = await evening.discord.reply(asked)
    assert visible_text(answer)
    assert len([m for m in evening.general.messages if m.author is evening.discord.world.bot]) == 1
