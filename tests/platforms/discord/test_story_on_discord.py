"""Story mode through the real discord.py client: members write and choose, at once and after a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from bot.commands.story_steps import FASTER
from tests.bots import Talk
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord import visible_text
from tests.servers.discord.texts import labels
from tests.servers.discord.world import Message

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture
async def evening(open_tiny: OpenTiny) -> AsyncIterator[Evening]:
    async with an_evening(lambda: open_tiny("gpt2", quota_per_minute=600)) as opened:
        yield opened


def first_line(message: Message) -> str:
    return visible_text(message).splitlines()[0]


async def until_told(evening: Evening, is_so: Callable[[set[str]], bool]) -> None:
    """Wait until the words of members in the story are such ones."""
    async with asyncio.timeout(20):
        while True:
            story = await evening.running.store.load_story(evening.here)
            if story and is_so({part.message.text for part in story.parts if part.message}):
                return
            await asyncio.sleep(0.02)


async def test_members_write_one_text_and_of_two_presses_at_once_one_counts(evening: Evening) -> None:
    discord, general = evening.discord, evening.general
    async with evening.run():
        # Nobody is answered here without a mention.
        evening.ada.says(general, "Hello")
        on = await (await evening.mod.slash(general, "story-edit on", max_new_tokens=6, seed=3)).finished(60)
        assert on.message is not None
        assert "What is said here now becomes one text." in visible_text(on.message)
        said = evening.ada.says(general, "The cat")
        card = await discord.reply(said, 60)
        assert first_line(card) == "The cat"
        assert labels(card) == ["1", "2", "3", "Undo", "Again"]
        chosen = await (await evening.bob.clicks(card, "2")).finished(60)
        assert chosen.message is card
        assert len(first_line(card)) > len("The cat")
        presses = await asyncio.gather(evening.ada.clicks(card, "1"), evening.bob.clicks(card, "3"))
        results = [await press.finished(60) for press in presses]
        slower = [result.message for result in results if result.message is not card]
        assert [visible_text(message) for message in slower if message] == [FASTER]

    async with evening.run():
        text = first_line(card)
        typed = await discord.reply(evening.bob.says(general, "1"), 60)
        assert first_line(typed).startswith(text)
        stale = await (await evening.ada.clicks(card, "2")).finished(60)
        assert stale.message is not None
        assert visible_text(stale.message) == FASTER
        evening.ada.edits(said, "The dog")
        await until_told(evening, lambda words: "The dog" in words)
        written = await discord.reply(evening.ada.says(general, "and then"), 60)
        assert first_line(written).startswith("The dog")
        assert first_line(written).endswith("and then")
        evening.ada.deletes(said)
        await until_told(evening, lambda words: "The dog" not in words)
        off = await (await evening.mod.slash(general, "story-edit off")).finished(60)
        assert off.message is not None
        assert "The dog" not in visible_text(off.message)
        assert "and then" in visible_text(off.message)
        # It is a channel like any other again.
        num = len(evening.bot_messages())
        evening.ada.says(general, "Hello")
        await discord.reply(evening.ada.says(general, "!story export"), 60)
        assert len(evening.bot_messages()) == num + 1
