"""Pictures in messages, from Discord's servers to the model's: the real bot between the two stand-ins."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.remote.abilities import Abilities
from tests.bots import Talk, open_tiny_bot
from tests.pictures.samples import BLUE, RED, picture_file
from tests.platforms.discord.evenings import Evening, an_evening
from tests.remote.remotes import LIKE_GPT_4O, LIKE_OPENAI, known_choice
from tests.servers.discord import visible_text
from tests.servers.discord.world import Message
from tests.servers.openai.behaviour import GPT_4O, OPENAI, Behaviour, Fault
from tests.servers.openai.server import OpenAIServer, colour_of, picture_in, serve_openai
from tests.store.samples import bytes_on_disk

CHAT = "/chat/completions"


@dataclass(frozen=True)
class World:
    """An evening on Discord with a model of a server."""

    evening: Evening
    server: OpenAIServer
    folder: Path

    def posts(self, text: str, *files: tuple[str, bytes]) -> Message:
        return self.evening.ada.says(self.evening.general, text, mention_bot=True, files=files)

    async def answer(self, text: str, *files: tuple[str, bytes]) -> str:
        """Return what the bot answers to a message with files, without Markdown's marks."""
        shown = visible_text(await self.evening.discord.reply(self.posts(text, *files)))
        return shown.removeprefix("⚠️ ").replace("\\", "")

    @property
    def colours(self) -> list[str]:
        """Return the colours of the pictures that the model was sent last."""
        return [colour_of(url) for url in self.server.picture_urls()]

    @property
    def said(self) -> list[str]:
        """Return the texts of the conversation that the model was sent last, without the instruction."""
        messages = self.server.bodies(CHAT)[-1]["messages"][1:]
        return [one["content"] if isinstance(one["content"], str) else one["content"][0]["text"] for one in messages]

    async def num_stored(self) -> int:
        (row,) = await self.evening.running.store._database.read("SELECT count(*) AS num FROM message_pictures")
        return int(row["num"])

    async def until_stored(self, num: int) -> None:
        async with asyncio.timeout(10):
            while await self.num_stored() != num:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def a_world(
    folder: Path, behaviour: Behaviour = GPT_4O, abilities: Abilities = LIKE_GPT_4O, *, context_length: int = 128_000
) -> AsyncIterator[World]:
    async with serve_openai(behaviour) as server:

        def open_talk() -> AbstractAsyncContextManager[Talk]:
            choice = replace(known_choice(server, folder, abilities), context_length=context_length)
            return open_tiny_bot(choice, folder)

        async with an_evening(open_talk) as evening:
            yield World(evening, server, folder)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as opened, opened.evening.run():
        yield opened


async def test_a_picture_goes_along_with_its_message_and_with_the_ones_after_it(world: World):
    assert await world.answer("What is this?", ("a.png", picture_file(RED))) == "I see red."
    assert world.said == ["What is this? [picture]"]
    await world.answer("And now?", ("b.jpg", picture_file(BLUE, kind="JPEG")))
    assert world.colours == ["red", "blue"]
    assert world.said == ["What is this? [picture]", "I see red.", "And now? [picture]"]
    world.server.scripts = [" Nothing."]
    assert await world.answer("What is new?") == "Nothing."
    assert world.colours == ["red", "blue"]
    assert isinstance(world.server.bodies(CHAT)[-1]["messages"][-1]["content"], str)


async def test_a_picture_alone_is_answered(world: World):
    assert await world.answer("", ("a.png", picture_file(BLUE))) == "I see blue."
    assert world.said == ["[picture]"]


async def test_a_conversation_shows_its_newest_four_pictures(world: World):
    for number in range(3):
        await world.answer("Look", *[(f"{number}{i}.png", picture_file((RED, BLUE)[i])) for i in range(2)])
    assert world.colours == ["red", "blue"] * 2
    assert world.said[0] == "Look [picture] [picture]"


async def test_a_picture_that_somebody_asks_about_by_a_reply_goes_along(world: World):
    evening = world.evening
    shown = evening.bob.says(evening.general, "", files=many(1))
    asked = evening.ada.says(evening.general, "What is this?", mention_bot=True, reply_to=shown)
    await evening.discord.reply(asked)
    assert world.said == ["Bob: [picture]\nAda: What is this?"]
    assert world.colours == ["red"]
    evening.bob.deletes(shown)
    await world.until_stored(0)


async def test_a_picture_that_can_not_be_read_is_no_hindrance_to_a_reply_to_it(world: World):
    evening = world.evening
    shown = evening.bob.says(evening.general, "My cat", files=[("a.png", b"Hello")])
    world.server.scripts = [" A cat."]
    asked = evening.ada.says(evening.general, "What is this?", mention_bot=True, reply_to=shown)
    assert visible_text(await evening.discord.reply(asked)) == "A cat."
    assert world.said == ["Bob: My cat\nAda: What is this?"]


async def test_where_every_message_is_answered_a_picture_alone_is_too_if_the_model_sees_it(world: World):
    evening = world.evening
    await evening.running.store.set_setting(evening.here, "channel", "answer_when", "every")
    assert (
        visible_text(await evening.discord.reply(evening.bob.says(evening.general, "", files=many(1)))) == "I see red."
    )


async def test_where_a_story_is_told_a_picture_alone_is_one_sentence(world: World):
    await world.evening.discord.reply(world.evening.mod.says(world.evening.general, "!story on", mention_bot=True))
    told = await world.answer("", *many(1))
    assert told == "A picture is read only in a message to the model, not here. Send text, or try !help."
    assert await world.num_stored() == 0


async def test_in_a_small_context_words_have_half_of_the_room(tmp_path: Path):
    async with a_world(tmp_path, context_length=4096) as world, world.evening.run():
        await world.answer("First", *many(1))
        await world.answer("Second", *many(1))
        assert world.said == ["First [picture]", "I see red.", "Second [picture]"]
        assert len(world.server.picture_urls()) == 1
        told = await world.answer("All of these", *many(4))
        assert told.endswith(" Send fewer pictures, or a shorter text.")
        assert " tokens with its 4 pictures, but at most " in told


async def test_what_was_sent_is_a_small_copy_without_the_place_where_it_was_taken(world: World):
    await world.answer("Look", ("a.jpg", picture_file(RED, kind="JPEG", size=(3000, 100), comment=b"KANARIE-GPS")))
    (url,) = world.server.picture_urls()
    assert b"KANARIE" not in bytes_on_disk(world.evening.running.store.path)
    assert len(url) < 20_000
    assert picture_in(url).size == (1024, 34)


async def test_a_restart_before_the_answer_keeps_the_picture(tmp_path: Path):
    async with a_world(tmp_path) as world:
        held = asyncio.Event()
        async with world.evening.run():
            world.server.faults = [Fault(CHAT, held_by=held)]
            asked = world.posts("What is this?", ("a.png", picture_file(RED)))
            async with asyncio.timeout(10):
                while not world.server.bodies(CHAT):
                    await asyncio.sleep(0.02)
            assert world.evening.client is not None
            await world.evening.client.answering.drain(0)
        held.set()
        async with world.evening.run():
            assert visible_text(await world.evening.discord.reply(asked)) == "I see red."
            assert world.colours == ["red"]


async def test_a_deleted_message_takes_its_picture_with_it(world: World):
    asked = world.posts("What is this?", ("a.png", picture_file(RED)))
    await world.evening.discord.reply(asked)
    assert await world.num_stored() == 1
    world.evening.ada.deletes(asked)
    await world.until_stored(0)
    world.server.scripts = [" Nothing."]
    await world.answer("What was that?")
    assert world.server.picture_urls() == []


async def test_of_an_edited_message_the_pictures_count_that_it_has_now(world: World):
    asked = world.posts("Look", ("a.png", picture_file(RED)), ("b.png", picture_file(BLUE)))
    assert visible_text(await world.evening.discord.reply(asked)) == "I see red and blue."
    world.evening.ada.edits(asked, f"<@{world.evening.discord.world.bot.id}> Look here")
    world.evening.ada.removes_file(asked, "a.png")
    await world.until_stored(1)
    world.server.scripts = [" Blue."]
    await world.answer("What is left?")
    assert world.colours == ["blue"]
    assert world.said[0] == "Look here [picture]"


async def test_an_edit_while_the_answer_is_written_starts_it_again_without_the_removed_picture(world: World):
    held = asyncio.Event()
    world.server.faults = [Fault(CHAT, held_by=held)]
    asked = world.posts("Look", ("a.png", picture_file(RED)), ("b.png", picture_file(BLUE)))
    async with asyncio.timeout(10):
        while not world.server.bodies(CHAT):
            await asyncio.sleep(0.02)
    world.evening.ada.removes_file(asked, "a.png")
    assert visible_text(await world.evening.discord.reply(asked)) == "I see blue."
    held.set()
    assert await world.num_stored() == 1


def many(num: int) -> Sequence[tuple[str, bytes]]:
    return [(f"{number}.png", picture_file()) for number in range(num)]


@pytest.mark.parametrize(
    ("files", "sentence"),
    {
        "too large": (
            [("a.png", b"x" * (8 * 2**20 + 60_000))],
            "The attached picture has 8.1 MiB; the limit is 8. Send a smaller one.",
        ),
        "a text": (
            [("a.png", b"Hello")],
            "The attached picture is not a PNG, JPEG, WebP or GIF file. Save it as one of these and attach it again.",
        ),
        "another kind": (
            [("a.heic", b"\0\0\0\x18ftypheic")],
            "The attached picture is not a PNG, JPEG, WebP or GIF file. Save it as one of these and attach it again.",
        ),
        "cut off": (
            [("a.png", picture_file()[:80])],
            "The attached picture is damaged. Save it again and attach the new file.",
        ),
        "five": (many(5), "That message has 5 pictures, and I read 4 at most. Send fewer at once."),
    }.values(),
)
async def test_a_picture_that_can_not_be_read_is_one_sentence(
    world: World, files: Sequence[tuple[str, bytes]], sentence: str
):
    assert await world.answer("Look", *files) == sentence
    assert world.server.bodies(CHAT) == []
    assert await world.num_stored() == 0
    assert await world.answer("Look", *many(1)) == "I see red."


async def test_a_picture_from_elsewhere_is_not_fetched(world: World):
    world.evening.discord.world.file_base = "http://127.0.0.1:9"
    assert await world.answer("Look", *many(1)) == "I read only files that were uploaded to Discord. Upload the file."


async def test_a_command_reads_no_picture_and_says_so_unless_it_reads_a_file(world: World):
    note = "A picture is read only in a message to the model, not here."
    assert (await world.answer("!help", *many(1))).endswith(note)
    assert await world.num_stored() == 0
    with_file = await world.answer("!prompt sentiment", ("a.txt", b"I love it"), *many(1))
    assert note not in with_file


async def test_somebody_who_is_not_read_has_no_picture_fetched(world: World):
    await world.answer("!privacy --read off")
    await world.answer("Look", *many(1))
    assert not world.server.bodies(CHAT)
    assert await world.num_stored() == 0


async def test_why_writes_the_same_answer_again_with_the_picture(world: World):
    asked = world.posts("Look", *many(1))
    answer = await world.evening.discord.reply(asked)
    world.server.scripts = []
    await (await world.evening.ada.clicks(answer, "Again")).finished()
    assert world.colours == ["red"]
    why = await (await world.evening.ada.clicks(answer, "Why")).finished()
    assert why.message is not None
    assert "[picture]" in visible_text(why.message)
    num_asked = len(world.server.bodies(CHAT))
    await (await world.evening.ada.clicks(why.message, "Rerun")).finished()
    assert len(world.server.bodies(CHAT)) == num_asked + 1
    assert world.colours == ["red"]


async def test_a_picture_to_nobody_is_left_alone_where_the_model_reads_text_only(tmp_path: Path):
    async with a_world(tmp_path, OPENAI, LIKE_OPENAI) as world, world.evening.run():
        evening = world.evening
        await evening.running.store.set_setting(evening.here, "channel", "answer_when", "every")
        evening.bob.says(evening.general, "", files=many(1))
        await world.answer("Hello")
        assert len(evening.bot_messages()) == 1


async def test_a_model_that_reads_text_only_says_so_and_is_sent_no_picture(tmp_path: Path):
    async with a_world(tmp_path, OPENAI, LIKE_OPENAI) as world, world.evening.run():
        unseen = "openai:toy reads text only and has not seen the picture"
        world.server.scripts = [" It is a cat."]
        assert await world.answer("What is this?", *many(1)) == f"It is a cat.\n-# {unseen}."
        assert world.said == ["What is this?"]
        assert await world.answer("", *many(1)) == f"{unseen}. Send text, or try !help."
        assert await world.answer("", *many(2)) == f"{unseen}s. Send text, or try !help."
        assert await world.num_stored() == 0
