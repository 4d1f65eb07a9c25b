"""What Discord sent in a form that can't be read is skipped and logged, and never takes anything else with it."""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import pytest

from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.incoming.payloads import _repaired_ready
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import Discord, serve_discord, visible_text
from tests.servers.discord.members import Member
from tests.servers.discord.world import Channel, Event, Guild, Message

Spoil = Callable[[dict[str, Any]], Any]

SECRET = "a word that no log may hold"


def without(*keys: str) -> Spoil:
    return lambda payload: {key: value for key, value in payload.items() if key not in keys}


def with_values(**values: Any) -> Spoil:
    return lambda payload: payload | values


# A message that can't be read at all, each in another way.
SPOILED: dict[str, Spoil] = {
    "no id": without("id"),
    "an id that is no number": with_values(id=f"x{SECRET}"),
    "no author": without("author"),
    "an author without an id": lambda payload: payload | {"author": without("id")(payload["author"])},
    "no words": without("content"),
    "words of another kind": with_values(content=7),
    "no type": without("type"),
    "a null": lambda _: None,
    "a list": lambda _: [SECRET],
}
# A message with a part that can't be read.
PARTLY: dict[str, Spoil] = {
    "an embed": with_values(embeds=[{"type": "rich", "timestamp": SECRET}]),
    "an attachment": with_values(attachments=[{"filename": SECRET}]),
    "a mention": lambda payload: payload | {"mentions": [{"username": SECRET}, *payload["mentions"]]},
    "a component": with_values(components=[{"type": 1, "components": 5}]),
    "a reference": with_values(message_reference={"message_id": SECRET}),
    "a replied message": with_values(message_reference={"channel_id": "1"}, referenced_message={"content": SECRET}),
    "a replied message's author": lambda payload: (
        payload
        | {
            "message_reference": {"channel_id": payload["channel_id"], "message_id": "1"},
            "referenced_message": without("author", "message_reference")(payload),
        }
    ),
    "flags": with_values(flags=SECRET),
    "a poll": with_values(poll={"question": SECRET}),
    "the time of its edit": with_values(edited_timestamp=SECRET),
}


@dataclass(frozen=True, slots=True)
class Place:
    discord: Discord
    client: FewshotClient
    talk: Talk
    guild: Guild
    ada: Member

    @property
    def general(self) -> Channel:
        return self.guild.channel("general")

    @property
    def spoiled(self) -> dict[int, Spoil]:
        return self.discord.world.spoiled

    def says(self, text: str) -> Message:
        return self.ada.says(self.general, text, mention_bot=True)

    async def answers(self, message: Message) -> None:
        assert visible_text(await self.discord.reply(message)) == "Hello there."


@pytest.fixture
async def place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Place]:
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", ["general", "other"])
        ada = discord.add_member(guild, "Ada")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello there."]), tmp_path) as talk,
            on_discord(talk, discord, identify_pause_s=0.1) as client,
        ):
            place = Place(discord, client, talk, guild, ada)
            await place.answers(place.says("Hello"))
            with caplog.at_level(logging.INFO):
                yield place
            assert not discord.answered_twice()
            assert not discord.violations
    assert SECRET not in caplog.text


@pytest.mark.parametrize("kind", SPOILED)
async def test_an_unreadable_message_in_a_history_ends_neither_this_reading_nor_the_next(place: Place, kind: str):
    async with place.discord.gateway.gap(resumes=False):
        before = place.says("Before")
        place.spoiled[place.says(SECRET).id] = SPOILED[kind]
        after = place.says("After")
    await place.answers(before)
    await place.answers(after)
    async with place.discord.gateway.gap(resumes=False):
        later = place.says("Later")
    await place.answers(later)


async def test_a_skipped_message_is_logged_with_its_id_and_the_key(place: Place, caplog: pytest.LogCaptureFixture):
    async with place.discord.gateway.gap(resumes=False):
        skipped = place.says(SECRET)
        place.spoiled[skipped.id] = without("author")
        after = place.says("After")
    await place.answers(after)
    logged = [one.getMessage() for one in caplog.records if "skipped message" in one.getMessage()]
    assert any(str(skipped.id) in line and "'author'" in line for line in logged)


@pytest.mark.parametrize("kind", PARTLY)
async def test_a_missed_message_with_a_part_that_can_t_be_read_is_answered(place: Place, kind: str):
    async with place.discord.gateway.gap(resumes=False):
        asked = place.says("Are you there?")
        place.spoiled[asked.id] = PARTLY[kind]
    await place.answers(asked)


@pytest.mark.parametrize("kind", PARTLY)
async def test_a_message_of_the_gateway_with_a_part_that_can_t_be_read_is_answered(place: Place, kind: str):
    general = place.general

    class Spoiling(dict[int, Spoil]):
        """Spoils the next message of the channel, whose id nobody knows yet."""

        def get(self, key: int, default: Any = None) -> Any:
            newest = general.messages[-1]
            is_it = key == newest.id and newest.author is place.ada.user
            return PARTLY[kind] if is_it else default

    place.discord.world.spoiled = Spoiling()
    await place.answers(place.says("Are you there?"))


@pytest.mark.parametrize("kind", SPOILED)
async def test_an_unreadable_event_is_skipped(place: Place, kind: str):
    data = SPOILED[kind](
        {
            "id": "1",
            "channel_id": str(place.general.id),
            "guild_id": str(place.guild.id),
            "author": {"id": "2", "username": SECRET, "discriminator": "0"},
            "content": SECRET,
            "type": 0,
        }
    )
    for name in ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE_BULK", "GUILD_UPDATE", "THREAD_LIST_SYNC"):
        place.discord.gateway.dispatch(Event(name, data, None, place.guild))
    await place.answers(place.says("Are you there?"))


async def test_a_message_that_can_t_be_read_now_does_not_count_as_deleted(place: Place):
    asked = place.says("Remember this")
    await place.answers(asked)
    place.spoiled[asked.id] = without("author")
    other = place.says("And this")
    await place.answers(other)
    async with place.discord.gateway.gap(resumes=False):
        place.discord.world.delete(other)
        later = place.says("Later")
    await place.answers(later)

    async def is_stored(message: Message) -> bool:
        scope = later_scope(place)
        return bool(await place.talk.store.load_messages(scope, [str(message.id)]))

    while await is_stored(other):
        await place.discord.world.wait_until(lambda: True, 1, "the comparison")
    assert await is_stored(asked)


def later_scope(place: Place) -> Any:
    from bot.core.messages import Scope

    return Scope("discord", str(place.guild.id), str(place.general.id))


async def test_the_deletion_of_many_with_one_id_that_can_t_be_read_deletes_the_others(place: Place):
    asked = place.says("Forget this")
    await place.answers(asked)
    data = {"ids": [SECRET, str(asked.id)], "channel_id": str(place.general.id), "guild_id": str(place.guild.id)}
    place.discord.gateway.dispatch(Event("MESSAGE_DELETE_BULK", data, place.general, place.guild))
    await place.answers(place.says("Are you there?"))
    assert not await place.talk.store.load_messages(later_scope(place), [str(asked.id)])


BAD_CHANNELS: dict[str, Spoil] = {
    "no id": without("id"),
    "no type": without("type"),
    "no name": without("name"),
    "a permission that is no number": with_values(
        permission_overwrites=[{"id": "1", "type": 0, "allow": SECRET, "deny": "0"}]
    ),
    "a null": lambda _: None,
}


@pytest.mark.parametrize("kind", BAD_CHANNELS)
async def test_a_server_with_a_channel_that_can_t_be_read_is_there_with_its_others(place: Place, kind: str):
    other = place.guild.channel("other")
    place.ada.says(other, "some talk")
    place.spoiled[other.id] = BAD_CHANNELS[kind]
    async with place.discord.gateway.gap(resumes=False):
        asked = place.says("Are you there?")
    await place.answers(asked)
    (guild,) = place.client.guilds
    assert [channel.id for channel in guild.text_channels] == [place.general.id]


async def test_a_server_with_a_thread_that_can_t_be_read_is_there_with_its_others(place: Place):
    threads = [place.ada.opens_thread(place.ada.says(place.general, "talk"), name) for name in ("one", "two")]
    place.spoiled[threads[0].id] = without("thread_metadata")
    async with place.discord.gateway.gap(resumes=False):
        asked = place.ada.says(threads[1], "Are you there?", mention_bot=True)
    await place.answers(asked)
    (guild,) = place.client.guilds
    assert [thread.id for thread in guild.threads] == [threads[1].id]


async def test_threads_that_come_together_are_read_one_by_one(place: Place):
    threads = [place.ada.opens_thread(place.ada.says(place.general, "talk"), name) for name in ("one", "two")]
    (guild,) = place.client.guilds
    await place.discord.world.wait_until(lambda: len(guild.threads) == 2, 5, "the threads")
    from tests.servers.discord.payloads import channel_payload

    good = channel_payload(threads[1], place.discord.world)
    data = {"guild_id": str(place.guild.id), "threads": [without("id")(good), None, good], "members": [None]}
    place.discord.gateway.dispatch(Event("THREAD_LIST_SYNC", data, None, place.guild))
    await place.discord.world.wait_until(lambda: len(guild.threads) == 1, 5, "the thread that was sent")
    assert [thread.id for thread in guild.threads] == [threads[1].id]


async def test_a_server_that_can_t_be_read_at_the_start_does_not_count_as_left():
    connection = discord.Client(intents=discord.Intents.none())._connection
    guilds = [{"id": "5", "unavailable": True}, {"id": "6", "roles": 7, "unavailable": False}, {"id": SECRET}]
    mended = _repaired_ready(connection, {"guilds": guilds, "v": 10})
    assert mended == {"guilds": [guilds[0], {"id": "6", "unavailable": True}], "v": 10}
