"""Words typed to a card in its thread: below the card, or below the message that asked for it."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from bot.platforms.slack.traits import SLACK
from tests.bots import Talk
from tests.platforms.slack.towns import Town, a_town, buttons, visible_text
from tests.servers.slack.objects import Message

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture
async def town(open_tiny: OpenTiny) -> AsyncIterator[Town]:
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK, quota_per_minute=600)) as opened:
        yield opened


async def says(town: Town, who: str, text: str, thread: Message) -> Message:
    """Say something in a thread and return what comes of it."""

    async def say() -> None:
        getattr(town, who).says(thread.channel, text, thread=thread)

    outcome = await town.outcome(say())
    assert isinstance(outcome, Message)
    return outcome


async def test_a_word_below_a_card_acts_on_that_card(town: Town):
    async with town.run():
        card = await town.outcome(town.ann.slash(town.general, "/complete", "--n 2 Once upon"))
        assert isinstance(card, Message)
        before = visible_text(card)
        assert await says(town, "ann", "more", card) is card
        assert buttons(card)[:4] == ["1", "2", "3", "4"]
        assert await says(town, "ann", "1", card) is card
        assert visible_text(card) != before
        told = await says(town, "bo", "2", card)
        assert visible_text(told) == "⚠️ That card belongs to Ann. Get your own with !complete."
        assert (told.thread_ts, told.ephemeral_for) == (card.ts, town.bo.user)
        # Other words are a conversation about it.
        assert buttons(await says(town, "ann", "what a story", card))[-1] == "Why"


async def test_a_word_after_a_card_in_a_thread_acts_on_it_until_something_else_is_asked(town: Town):
    async with town.run():
        asked = town.ann.says(town.general, "!complete --n 2 Once upon")
        card = await town.slack.reply(asked)
        taken = await says(town, "ann", "1", card)
        assert taken is not card
        assert buttons(taken)[:2] == ["1", "2"]
        assert "Undo" in buttons(taken)
        assert buttons(await says(town, "ann", "more", card))[:4] == ["1", "2", "3", "4"]
        # Nobody else has a card here, and a thread of a command is no conversation with the bot.
        num_answers = len(town.slack.answers_to(asked))
        town.bo.says(town.general, "1", thread=asked)
        await says(town, "ann", "!stats", card)
        town.ann.says(town.general, "more", thread=asked)
        await says(town, "ann", "!stats", card)
        assert len(town.slack.answers_to(asked)) == num_answers + 2


async def test_a_word_below_a_card_that_takes_none_is_chat_in_the_thread(town: Town):
    async with town.run():
        card = await town.outcome(town.mo.slash(town.general, "/fewshot", "settings"))
        assert isinstance(card, Message)
        before = visible_text(card)
        answer = await says(town, "ann", "yes", card)
        assert (answer.thread_ts, buttons(answer)[-1]) == (card.ts, "Why")
        assert visible_text(card) == before


async def test_help_says_where_words_are_typed(town: Town):
    async with town.run():
        text = visible_text(await town.outcome(town.ann.slash(town.general, "/fewshot", "help complete")))
        assert re.search(r"or write 1, 2, more, [\w, ]+ in its thread; in a direct message the word alone", text)
        text = visible_text(await town.outcome(town.ann.slash(town.general, "/fewshot", "help")))
        assert "To chat, mention me, or write in a thread in which I have answered." in text
