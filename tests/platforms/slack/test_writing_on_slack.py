"""Answers on Slack while they are written: streamed in threads, updated elsewhere, stopped by people."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platforms.slack.evenings import Evening, an_evening
from tests.servers.slack.reading import labels, visible_text

LONG = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
async def slow_evening(tmp_path: Path) -> AsyncIterator[Evening]:
    """An evening on which an answer takes about four seconds."""
    async with an_evening(tmp_path, LONG, pause_s=0.05) as opened, opened.run():
        yield opened


async def test_a_long_answer_is_streamed_and_ends_with_its_buttons(slow_evening: Evening):
    asked = slow_evening.ann.asks(slow_evening.general, "Tell me much")
    answer = await slow_evening.slack.wait_for_reply(asked)
    assert answer.is_streaming
    assert LONG.startswith(visible_text(answer))
    await slow_evening.slack.settled(answer)
    assert visible_text(answer) == LONG
    assert labels(answer) == ["Again", "Continue", "Why"]
    assert len(slow_evening.said_by_bot()) == 1
    assert len(answer.versions) >= 3


async def test_a_long_direct_answer_is_posted_and_updated(slow_evening: Evening):
    asked = slow_evening.ann.dm("Tell me much")
    answer = await slow_evening.slack.wait_for_reply(asked)
    assert labels(answer) == ["Stop"]
    await slow_evening.slack.wait_for(lambda: labels(answer) == ["Again", "Continue", "Why"], 20)
    assert visible_text(answer) == LONG
    assert not slow_evening.slack.calls("chat.startStream")


async def test_slacks_own_stop_ends_the_answer(slow_evening: Evening):
    asked = slow_evening.ann.asks(slow_evening.general, "Tell me much")
    answer = await slow_evening.slack.wait_for_reply(asked)
    slow_evening.ann.stops(answer)
    await slow_evening.slack.wait_for(lambda: labels(answer), what="the end of the answer")
    assert LONG.startswith(visible_text(answer))
    assert len(visible_text(answer)) < len(LONG)
    assert len(slow_evening.said_by_bot()) == 1
