"""Edits and deletions missed without a connection reach the store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.core.messages import Scope
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import Discord, serve_discord
from tests.servers.discord.members import Member
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import Channel, Message


@dataclass(frozen=True, slots=True)
class Place:
    """A channel in which Ada talks with the bot."""

    discord: Discord
    talk: Talk
    engine: ScriptedEngine
    general: Channel
    ada: Member

    async def says(self, text: str) -> tuple[Message, Message]:
        """Say something to the bot and return that with its answer."""
        asked = self.ada.says(self.general, text, mention_bot=True)
        return asked, await self.discord.reply(asked)

    async def words(self, message: Message) -> str | None:
        """Return what is stored of a message, None where nothing is."""
        channel = message.channel
        server = str(channel.guild.id) if channel.guild else "@me"
        scope = Scope("discord", server, str(channel.id))
        found = await self.talk.store.load_messages(scope, [str(message.id)])
        return found[0].text if found else None

    async def stored_answer(self, answer: Message) -> str | None:
        """Return the id of the stored answer that a visible message shows, None where it is forgotten."""
        return await self.talk.store.reply_of("discord", str(answer.id))

    async def read_back(self, earlier: int) -> None:
        """Wait until another session was compared."""
        await self.discord.world.wait_until(lambda: self.num_histories > earlier, 5, "a channel read back")
        await asyncio.sleep(0.2)

    @property
    def num_histories(self) -> int:
        """Return how often the bot has read a channel's newest messages."""
        return sum(request.method == "GET" and "/messages" in request.path for request in self.discord.requests)


async def becomes(wanted: str | None, ask: Callable[[], Awaitable[str | None]]) -> None:
    """Wait until `ask` gives `wanted`: what a comparison finds is handled some time after it was read."""
    async with asyncio.timeout(10):
        while await ask() != wanted:
            await asyncio.sleep(0.02)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general", "other"])
        ada = discord.add_member(guild, "Ada")
        engine = ScriptedEngine(["Hello there."])
        async with open_scripted_bot(engine, tmp_path) as talk, on_discord(talk, discord, identify_pause_s=0.1):
            yield Place(discord, talk, engine, guild.channel("general"), ada)
            assert not discord.answered_twice()
            discord.assert_clean()


async def test_a_message_deleted_meanwhile_is_forgotten(place: Place):
    gone, _ = await place.says("a secret")
    stays, _ = await place.says("no secret")
    before = place.num_histories
    async with place.discord.gateway.gap(resumes=False):
        place.ada.deletes(gone)
    await place.read_back(before)
    await becomes(None, lambda: place.words(gone))
    assert await place.words(stays) == "no secret"


async def test_a_message_edited_meanwhile_has_its_new_text(place: Place):
    edited, answer = await place.says("teh cat")
    before = place.num_histories
    async with place.discord.gateway.gap(resumes=False):
        place.ada.edits(edited, f"<@{place.discord.world.bot.id}> the cat")
    await place.read_back(before)
    await becomes("the cat", lambda: place.words(edited))
    assert place.discord.answers_to(edited) == [answer]


async def test_an_answer_deleted_meanwhile_is_forgotten(place: Place):
    _, answer = await place.says("Hello")
    assert await place.stored_answer(answer)
    before = place.num_histories
    async with place.discord.gateway.gap(resumes=False):
        place.discord.world.delete(answer)
    await place.read_back(before)
    await becomes(None, lambda: place.stored_answer(answer))


async def test_a_direct_message_deleted_meanwhile_is_forgotten(place: Place):
    gone = place.ada.dm("a secret")
    await place.discord.reply(gone)
    before = place.num_histories
    async with place.discord.gateway.gap(resumes=False):
        place.ada.deletes(gone)
    await place.read_back(before + 1)
    await becomes(None, lambda: place.words(gone))


async def test_slash_commands_and_visible_messages_are_not_erased(place: Place):
    asked, answer = await place.says("Hello")
    done = await place.ada.slash(place.general, "complete", text="Once")
    await done.finished(10)
    before, num_stored = place.num_histories, await place.talk.num_stored()
    async with place.discord.gateway.gap(resumes=False):
        pass
    await place.read_back(before)
    assert await place.talk.num_stored() == num_stored
    assert await place.words(asked) == "Hello"
    assert await place.stored_answer(answer)


async def test_a_channel_whose_history_is_hidden_is_not_taken_for_empty(place: Place):
    asked, _ = await place.says("Hello")
    bot = place.discord.world.bot
    place.discord.world.set_overwrite(place.general, bot, deny=Permission.READ_MESSAGE_HISTORY)
    async with place.discord.gateway.gap(resumes=False):
        pass
    await place.discord.gateway.is_connected()
    await asyncio.sleep(1)
    assert await place.words(asked) == "Hello"


async def test_a_deleted_channel_is_forgotten_with_its_threads_and_with_what_is_being_written(place: Place):
    asked, _ = await place.says("Hello")
    thread = place.ada.opens_thread(asked, "More")
    await place.discord.reply(place.ada.says(thread, "In the thread", mention_bot=True))
    other = place.ada.says(asked.channel.guild.channel("other"), "Elsewhere", mention_bot=True)
    await place.discord.reply(other)
    place.engine.pause_s = 0.5
    place.ada.says(place.general, "One more", mention_bot=True)
    await place.discord.world.wait_until(lambda: place.discord.world.typings, 5, "the bot to begin")
    assert await place.talk.num_stored() == 7
    place.discord.world.delete_channel(place.general)
    await asyncio.sleep(2)
    assert await place.talk.num_stored() == 2
    assert await place.words(other) == "Elsewhere"


async def test_a_deleted_thread_is_forgotten_and_its_channel_is_not(place: Place):
    asked, _ = await place.says("Hello")
    thread = place.ada.opens_thread(asked, "More")
    await place.discord.reply(place.ada.says(thread, "In the thread", mention_bot=True))
    place.discord.world.delete_channel(thread)
    await asyncio.sleep(0.5)
    assert await place.talk.num_stored() == 2
    assert await place.words(asked) == "Hello"


async def test_a_question_edited_while_the_bot_was_away_is_answered_as_it_is_now(tmp_path: Path) -> None:
    engine = ScriptedEngine(["Hello there."], pause_s=0.5)
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general"])
        ada, general = discord.add_member(guild, "Ada"), guild.channel("general")
        async with open_scripted_bot(engine, tmp_path) as talk, on_discord(talk, discord):
            asked = ada.says(general, "Hello KANARIE", mention_bot=True)
            await discord.world.wait_until(lambda: bool(engine.read), 10, "the model to read")
        ada.edits(asked, f"<@{discord.world.bot.id}> Hello cat")
        engine.pause_s = 0.0
        del engine.read[:]
        async with open_scripted_bot(engine, tmp_path) as talk, on_discord(talk, discord):
            await discord.reply(asked)
        assert ["KANARIE" in prompt.text for prompt in engine.read] == [False] * len(engine.read)
        assert "Hello cat" in engine.read[-1].text
        assert not discord.answered_twice()


async def test_changes_are_handled_when_the_database_is_free_again(place: Place):
    gone, _ = await place.says("a secret")
    edited, _ = await place.says("hocus pocus")
    database = place.talk.store._database
    async with place.discord.gateway.gap(resumes=False):
        place.ada.deletes(gone)
        place.ada.edits(edited, "abracadabra")
        database._is_closed = True
    await asyncio.sleep(0.5)
    database._is_closed = False
    await becomes(None, lambda: place.words(gone))
    await becomes("abracadabra", lambda: place.words(edited))


async def test_a_message_that_was_only_asked_about_is_forgotten_too(place: Place):
    # Somebody looked at what Ada said, with the menu on it; she did not talk to the bot.
    said = place.ada.says(place.general, "a secret of Ada")
    await place.ada.uses_menu("Perplexity", said)
    await becomes("a secret of Ada", lambda: place.words(said))
    command = await place.ada.slash(place.general, "help")
    assert command is not None
    async with place.discord.gateway.gap(resumes=False):
        place.ada.deletes(said)
    await becomes(None, lambda: place.words(said))
