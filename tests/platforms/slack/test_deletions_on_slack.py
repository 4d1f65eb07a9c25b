"""Deletions on Slack: of questions and answers, while they are written and after that."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.core.messages import Scope
from tests.platforms.slack.evenings import Evening, an_evening

LONG = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with an_evening(tmp_path) as opened, opened.run():
        yield opened


@pytest.fixture
async def slow_evening(tmp_path: Path) -> AsyncIterator[Evening]:
    """An evening on which an answer takes about four seconds."""
    async with an_evening(tmp_path, LONG, pause_s=0.05) as opened, opened.run():
        yield opened


async def test_deleting_a_question_removes_the_answer_being_written(slow_evening: Evening):
    asked = slow_evening.ann.asks(slow_evening.general, "Tell me a secret")
    answer = await slow_evening.slack.wait_for_reply(asked)
    assert answer.is_streaming
    slow_evening.ann.deletes(asked)
    assert asked.is_tombstone
    await slow_evening.slack.wait_for(lambda: answer.is_deleted, what="the answer to go")
    await slow_evening.is_quiet()
    assert not slow_evening.said_by_bot()
    here = Scope("slack", slow_evening.team.id, slow_evening.general.id, asked.ts)
    assert not await slow_evening.running.store.load_history(here, limit=10)


async def test_a_question_that_is_deleted_while_it_is_accepted_is_not_answered(evening: Evening):
    evening.slack.faults.always("users.info", "slow")
    asked = evening.ann.asks(evening.general, "Tell me a secret")
    evening.ann.deletes(asked)
    await asyncio.sleep(1)
    await evening.is_quiet()
    assert not evening.said_by_bot()
    assert await evening.running.num_stored() == 0


async def test_a_deleted_message_is_no_longer_read(evening: Evening):
    root = evening.ann.asks(evening.general, "Hello")
    await evening.reply(root)
    secret = evening.ann.says(evening.general, "The password is swordfish", thread=root)
    await evening.reply(secret)
    evening.ann.deletes(secret)
    await evening.is_quiet()
    await evening.reply(evening.ann.says(evening.general, "What is it?", thread=root))
    assert "swordfish" not in evening.read


async def test_an_answer_that_a_moderator_deletes_is_no_longer_read(tmp_path: Path):
    async with an_evening(tmp_path, "Rude words.", "Kind words.") as evening, evening.run():
        root = evening.ann.asks(evening.general, "Hello")
        evening.mod.deletes(await evening.slack.reply(root))
        await evening.is_quiet()
        await evening.reply(evening.ann.says(evening.general, "And now?", thread=root))
        assert "Rude words" not in evening.read


async def test_a_streamed_answer_that_is_deleted_does_not_come_back(slow_evening: Evening):
    asked = slow_evening.ann.asks(slow_evening.general, "Tell me much")
    slow_evening.mod.deletes(await slow_evening.slack.wait_for_reply(asked))
    client = slow_evening.client
    assert client is not None
    await slow_evening.slack.wait_for(lambda: not client.answering.num_running, 20, "the end of the answer")
    await slow_evening.is_quiet()
    assert not slow_evening.said_by_bot()
