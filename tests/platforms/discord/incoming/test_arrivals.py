"""A message that is deleted or edited while it is being accepted: its file is slow, so there is no row of it yet."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.platforms.shared.arrivals import Arrivals
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.platforms.discord.incoming.test_changes import Place
from tests.platforms.shared.board import said
from tests.servers.discord import serve_discord
from tests.servers.discord.faults import Fault
from tests.servers.discord.world import Message
from tests.store.samples import bytes_on_disk

NOTES = [("notes.txt", b"The treasure is buried.")]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general"])
        ada = discord.add_member(guild, "Ada")
        engine = ScriptedEngine(["Hello there."])
        async with open_scripted_bot(engine, tmp_path) as talk, on_discord(talk, discord):
            yield Place(discord, talk, engine, guild.channel("general"), ada)
            assert not discord.answered_twice()
            discord.assert_clean()


async def arriving(place: Place, text: str) -> Message:
    """Say something with a slow file, and return it while the bot waits for the file."""
    place.discord.faults.once("attachment", Fault("slow", delay_s=1.0))
    asked = place.ada.says(place.general, text, mention_bot=True, files=NOTES)
    await place.discord.world.wait_until(lambda: place.discord.faults.num_injected["slow"] == 1, 5, "the file")
    return asked


async def test_a_message_deleted_before_it_is_stored_is_neither_stored_nor_answered(
    place: Place, tmp_path: Path
) -> None:
    asked = await arriving(place, "KANARIE where is it?")
    place.ada.deletes(asked)
    _, answer = await place.says("Hello")
    await asyncio.sleep(1.2)  # longer than the file takes
    assert await place.words(asked) is None
    assert place.discord.answers_to(asked) == []
    assert [message for message in place.general.messages if message.author is place.discord.world.bot] == [answer]
    assert b"KANARIE" not in bytes_on_disk(tmp_path / "fewshot.db")


async def test_a_message_edited_before_it_is_stored_is_answered_as_it_is_now(place: Place) -> None:
    asked = await arriving(place, "Where is the KANARIE?")
    place.ada.edits(asked, f"<@{place.discord.world.bot.id}> Where is the cat?")
    await place.discord.world.wait_until(lambda: len(place.discord.answers_to(asked)) == 1, 10, "the answer")
    async with asyncio.timeout(10):
        while await place.words(asked) != "Where is the cat?":
            await asyncio.sleep(0.02)
    assert ["the cat" in prompt.text for prompt in place.engine.read] == [True], "the model never read the old words"


@pytest.mark.parametrize("way", ["channel", "server", "author"])
async def test_what_arrives_while_its_place_or_author_is_forgotten_is_not_stored(
    place: Place, tmp_path: Path, way: str
) -> None:
    asked = await arriving(place, "KANARIE where is it?")
    match way:
        case "channel":
            place.discord.world.delete_channel(place.general)
        case "server":
            place.discord.world.let_bot_leave(place.general.guild)
        case _:
            await place.talk.store.forget_person("discord", str(place.ada.user.id))
    await asyncio.sleep(1.5)  # longer than the file takes
    assert await place.words(asked) is None
    assert b"KANARIE" not in bytes_on_disk(tmp_path / "fewshot.db")


async def test_an_edit_waits_for_its_own_message_only() -> None:
    arrivals = Arrivals()
    edit = said("1")
    await asyncio.wait_for(arrivals.edited(1, edit), 1)
    assert arrivals.latest(1) is None, "it is stored already"
    with arrivals.storing([1, 2]), arrivals.storing([2]):
        await asyncio.wait_for(arrivals.edited(3, edit), 1)
        waiting = [asyncio.ensure_future(arrivals.edited(message_id, edit)) for message_id in (1, 2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        assert arrivals.latest(2) is edit
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert arrivals.latest(2) is None


async def test_a_file_that_its_author_removed_is_erased_and_not_read_again(place: Place, tmp_path: Path) -> None:
    asked = place.ada.says(place.general, "Where is it?", mention_bot=True, files=[("notes.txt", b"KANARIE buried")])
    await place.discord.reply(asked)
    asked.attachments.clear()
    place.ada.edits(asked, asked.content)
    async with asyncio.timeout(10):
        while b"KANARIE" in bytes_on_disk(tmp_path / "fewshot.db"):
            await asyncio.sleep(0.05)
    await place.says("And now?")
    assert "KANARIE" not in place.engine.read[-1].text


async def test_a_file_removed_while_the_message_is_answered_is_not_read_for_the_new_answer(place: Place) -> None:
    place.engine.pause_s = 0.2
    asked = place.ada.says(place.general, "Where is it?", mention_bot=True, files=[("notes.txt", b"KANARIE buried")])
    await place.discord.world.wait_until(lambda: bool(place.engine.read), 5, "the model to read")
    asked.attachments.clear()
    place.ada.edits(asked, asked.content)
    await place.discord.world.wait_until(lambda: len(place.engine.read) == 2, 5, "the model to read again")
    assert ["KANARIE" in prompt.text for prompt in place.engine.read] == [True, False]
    await place.discord.reply(asked)


@pytest.mark.parametrize("way", ["menu", "everything"])
async def test_an_answer_that_is_being_written_ends_when_its_question_is_forgotten(
    place: Place, tmp_path: Path, way: str
) -> None:
    place.engine.scripts, place.engine.pause_s = ["KANARIE goes on and on " * 20], 0.05
    asked = place.ada.says(place.general, "KANARIE where is it?", mention_bot=True)
    await place.discord.world.wait_until(lambda: bool(place.discord.answers_to(asked)), 10, "some words")
    if way == "menu":
        await (await place.ada.uses_menu("Forget", asked)).finished()
    else:
        await (await place.ada.slash(place.general, "privacy", do="forget-now")).finished()
    await place.discord.world.wait_until(lambda: not place.discord.answers_to(asked), 10, "the end of the answer")
    async with asyncio.timeout(10):
        while b"KANARIE" in bytes_on_disk(tmp_path / "fewshot.db"):
            await asyncio.sleep(0.05)
