"""Messages sent while the bot was away are read back: in any number, over a REST API that fails, however late."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.platforms.discord.client import FewshotClient
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import Discord, serve_discord, visible_text
from tests.servers.discord.faults import Kind
from tests.servers.discord.members import Member
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import Channel, Guild, Message


@dataclass(frozen=True, slots=True)
class Place:
    """A server with the bot in it, to which something was said already."""

    discord: Discord
    client: FewshotClient
    guild: Guild
    ada: Member

    @property
    def general(self) -> Channel:
        return self.guild.channel("general")

    async def says_in_gap(self, *texts: str) -> list[Message]:
        """Say something to the bot while its session is lost."""
        async with self.discord.gateway.gap(resumes=False):
            return [self.ada.says(self.general, text, mention_bot=True) for text in texts]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home")
        ada = discord.add_member(guild, "Ada")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello there."]), tmp_path) as talk,
            on_discord(talk, discord, identify_pause_s=0.1) as client,
        ):
            await discord.reply(ada.says(guild.channel("general"), "Hello", mention_bot=True))
            yield Place(discord, client, guild, ada)
            assert not discord.answered_twice()
            discord.assert_clean()


async def test_a_question_behind_more_messages_than_one_request_gives_is_found(place: Place):
    async with place.discord.gateway.gap(resumes=False):
        for number in range(1200):
            place.ada.says(place.general, f"talk {number}")
        asked = place.ada.says(place.general, "And now?", mention_bot=True)
    await place.discord.reply(asked)


def members_asked_for(place: Place) -> list[str]:
    asked = [
        request for request in place.discord.requests if request.template == "/guilds/{guild_id}/members/{user_id}"
    ]
    return [request.path.rsplit("/", 1)[1] for request in asked]


async def test_each_author_of_missed_messages_to_the_bot_is_asked_for_once(place: Place):
    bob = place.discord.add_member(place.guild, "Bob")
    place.discord.add_member(place.guild, "Eve")
    async with place.discord.gateway.gap(resumes=False):
        for number in range(20):
            bob.says(place.general, f"talk {number}")
        asked = [place.ada.says(place.general, f"question {number}", mention_bot=True) for number in range(5)]
    for message in asked:
        await place.discord.reply(message)
    assert members_asked_for(place) == [str(place.ada.id)]


async def test_an_author_who_can_t_be_looked_up_is_asked_for_once_and_answered(place: Place):
    async with place.discord.gateway.gap(resumes=False):
        asked = [place.ada.says(place.general, f"question {number}", mention_bot=True) for number in range(3)]
        del place.guild.members[place.ada.id]
    for message in asked:
        await place.discord.reply(message)
    assert members_asked_for(place) == [str(place.ada.id)]


async def test_roles_count_for_a_missed_command(place: Place):
    moe = place.discord.add_member(place.guild, "Moe", permissions=int(Permission.MANAGE_GUILD))
    async with place.discord.gateway.gap(resumes=False):
        asked = [who.says(place.general, "!settings history_length 5", mention_bot=True) for who in (place.ada, moe)]
    refused, done = [visible_text(await place.discord.reply(message)) for message in asked]
    assert "⚠️" in refused
    assert "⚠️" not in done


@pytest.mark.parametrize("kind", ["error", "reset", "banned"])
async def test_a_failed_reading_is_repeated(place: Place, kind: Kind):
    place.discord.faults.once("read", kind, times=2)
    (asked,) = await place.says_in_gap("Are you there?")
    await place.discord.reply(asked)


async def test_a_server_that_appears_late_is_read_back_too(place: Place):
    place.discord.gateway.late_guild_ids.add(place.guild.id)
    (asked,) = await place.says_in_gap("Are you there?")
    await asyncio.sleep(1)
    assert not place.discord.answers_to(asked)
    place.discord.gateway.let_appear(place.guild)
    await place.discord.reply(asked)


async def test_a_server_that_appears_late_is_read_back_once(place: Place):
    place.discord.gateway.late_guild_ids.add(place.guild.id)
    (asked,) = await place.says_in_gap("Are you there?")
    await asyncio.sleep(0.5)
    place.discord.gateway.let_appear(place.guild)
    await place.discord.reply(asked)
    async with place.discord.gateway.gap(resumes=False):
        pass
    await place.discord.gateway.is_connected()
    await asyncio.sleep(0.5)
    assert len(place.discord.answers_to(asked)) == 1


async def test_a_message_after_an_interrupted_first_start_is_answered(tmp_path: Path):
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home")
        ada = discord.add_member(guild, "Ada")
        async with open_scripted_bot(ScriptedEngine(["Hello there."]), tmp_path) as talk, on_discord(talk, discord):
            # As after kill -9: the files as they are at this moment.
            for name in ("fewshot.db", "fewshot.db-wal"):
                shutil.copy(tmp_path / name, tmp_path / f"cut-{name}")
        asked = ada.says(guild.channel("general"), "Are you there?", mention_bot=True)
        again = tmp_path / "again"
        again.mkdir()
        for name in ("fewshot.db", "fewshot.db-wal"):
            shutil.copy(tmp_path / f"cut-{name}", again / name)
        async with open_scripted_bot(ScriptedEngine(["Hello there."]), again) as talk, on_discord(talk, discord):
            await discord.reply(asked)
