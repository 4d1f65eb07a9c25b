"""Story mode on Slack: one text of a thread or a channel; anyone there chooses, also after a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from bot.commands.story_steps import FASTER
from bot.platforms.slack.traits import SLACK
from tests.bots import Talk
from tests.platforms.slack.towns import Town, a_town, buttons, visible_text
from tests.servers.slack.objects import Message
from tests.servers.slack.people import Person

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ON = "story on --seed 3 --max_new_tokens 6"


@pytest.fixture
async def town(open_tiny: OpenTiny) -> AsyncIterator[Town]:
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK, quota_per_minute=600)) as opened:
        yield opened


async def said(town: Town, person: Person, text: str, **where: Any) -> Message:
    """Say something, and return the message of the bot that comes or changes."""

    async def say() -> None:
        person.says(town.general, text, **where)

    card = await town.outcome(say())
    assert isinstance(card, Message)
    return card


async def test_a_thread_writes_one_text_and_anyone_in_it_chooses(town: Town) -> None:
    async with town.run():
        begun = town.mo.says(town.general, f"!{ON}")
        assert "What is said here now becomes one text." in visible_text(await town.slack.reply(begun))
        card = await town.slack.reply(town.ann.says(town.general, "The cat", thread=begun))
        assert buttons(card) == ["1", "2", "3", "Undo", "Again"]
        assert await town.outcome(town.bo.clicks(card, "2")) is card
        assert visible_text(card).startswith("The cat")
        assert len(visible_text(card).splitlines()[0]) > len("The cat")
        typed = await town.slack.reply(town.bo.says(town.general, "undo", thread=begun))
        assert visible_text(typed).splitlines()[0] == "The cat"
    async with town.run():
        before = list(town.whispers(town.ann)) + list(town.whispers(town.bo))
        await asyncio.gather(town.ann.clicks(typed, "1"), town.bo.clicks(typed, "3"))
        both = await town.slack.wait_for(
            lambda: [one for who in (town.ann, town.bo) for one in town.whispers(who) if one not in before],
            20,
            "a word",
        )
        assert [visible_text(one) for one in both] == [FASTER]
        await town.slack.settled(typed)
        off = await town.slack.reply(town.mo.says(town.general, "!story off", thread=begun))
        assert "This is the whole story." in visible_text(off)


async def test_in_a_channel_what_is_said_outside_threads_belongs_to_the_story(town: Town) -> None:
    async with town.run():
        await town.outcome(town.mo.slash(town.general, "/fewshot", ON))
        card = await said(town, town.ann, "The cat")
        assert buttons(card) == ["1", "2", "3", "Undo", "Again"]
        card = await said(town, town.bo, "sat")
        assert visible_text(card).splitlines()[0] == "The cat sat"
        # In the thread of a card its words act, as its buttons do; other words are a conversation about it.
        assert await said(town, town.ann, "3", thread=card) is card
        assert visible_text(card).startswith("The cat sat")
        assert buttons(await said(town, town.ann, "Nice!", thread=card))[-1] == "Why"
        exported = await town.outcome(town.ann.slash(town.general, "/fewshot", "story export"))
        assert isinstance(exported, Message)
        assert "in 3 parts, 1 of them by Fewshot" in visible_text(exported)
