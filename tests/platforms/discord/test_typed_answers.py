"""Words in reply to a card, or right after it in a direct message, through the real discord.py client."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.bots import Talk
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord import visible_text
from tests.servers.discord.texts import labels
from tests.servers.discord.world import Channel, Message

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
COMPLETE = "!complete --n 2 --seed 3 --max_new_tokens 8 The cat"


@pytest.fixture
async def evening(open_tiny: OpenTiny) -> AsyncIterator[Evening]:
    async with an_evening(lambda: open_tiny("gpt2")) as opened:
        yield opened


async def said(evening: Evening, channel: Channel, text: str, **how: Any) -> Message:
    return await evening.discord.reply(evening.ada.says(channel, text, **how), 60)


async def test_a_reply_to_a_card_in_a_channel_acts_and_a_bare_word_never_does(evening: Evening):
    async with evening.run():
        card = await said(evening, evening.general, COMPLETE)
        evening.ada.says(evening.general, "1")
        longer = await said(evening, evening.general, "more", reply_to=card)
        assert labels(longer)[:4] == ["1", "2", "3", "4"]
        chosen = await said(evening, evening.general, "1", reply_to=longer, pings=False)
        assert "Undo" in labels(chosen)
        stale = await said(evening, evening.general, "2", reply_to=card)
        assert "out of date; use the newest one" in visible_text(stale)
        theirs = evening.bob.says(evening.general, "1", reply_to=chosen)
        refused = await evening.discord.reply(theirs)
        # Whoever pressed its button would read the same.
        assert "That card belongs to Ada. Get your own with /complete." in visible_text(refused)
        # The bare word was not answered.
        assert len(evening.bot_messages()) == 5
        # What was typed is no part of the conversation, and the answer has its own explanation.
        why = await said(evening, evening.general, "!why", reply_to=chosen)
        assert "The answer is visible only to you." in visible_text(why)

    async with evening.run():
        undone = await said(evening, evening.general, "undo", reply_to=chosen)
        assert labels(undone)[:4] == ["1", "2", "3", "4"]


async def test_a_reply_to_the_answer_of_a_slash_command_acts(evening: Evening):
    async with evening.run():
        result = await (await evening.ada.slash(evening.general, "complete", text="The cat", n=2, seed=3)).finished(60)
        assert result.message is not None
        chosen = await said(evening, evening.general, "2", reply_to=result.message)
        assert "Undo" in labels(chosen)
        pressed = await (await evening.ada.clicks(chosen, "Undo")).finished(60)
        assert pressed.message is not None
        assert "Undo" not in labels(pressed.message)


async def test_in_a_direct_message_the_next_word_acts_and_a_later_one_is_chat(evening: Evening):
    async with evening.run():
        dm = evening.discord.world.dm_channel(evening.ada.user)
        await said(evening, dm, COMPLETE)
        chosen = await said(evening, dm, "1")
        assert "Undo" in labels(chosen)
        undone = await said(evening, dm, "undo")
        assert "Undo" not in labels(undone)
        assert "Why" in labels(await said(evening, dm, "Hello"))
        assert "Why" in labels(await said(evening, dm, "1"))
        # A reply still reaches the card.
        assert "Undo" in labels(await said(evening, dm, "2", reply_to=undone))


async def test_a_typed_yes_deletes_the_template_that_was_asked_about(evening: Evening):
    async with evening.run():
        dm = evening.discord.world.dm_channel(evening.ada.user)
        await said(evening, dm, "!prompt tests sentiment add Fine => Positive")
        await said(evening, dm, "!prompt publish sentiment")
        asked = await said(evening, dm, "!prompt delete sentiment")
        assert "Delete version 1 of sentiment?" in visible_text(asked)
        assert "sentiment is deleted" in visible_text(await said(evening, dm, "yes"))
        assert "expired" in visible_text(await said(evening, dm, "yes", reply_to=asked))
