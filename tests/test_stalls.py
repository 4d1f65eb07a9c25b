"""The bot's own measure of how long its event loop stands."""

import asyncio
import logging
import time

import pytest

from bot.background import cancel
from bot.stalls import HOUR_S, MINUTE_S, LoopStalls


async def test_a_stall_is_noted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    stalls = LoopStalls()
    watching = asyncio.create_task(stalls.watch())
    await asyncio.sleep(0)
    with caplog.at_level(logging.WARNING):
        time.sleep(0.7)  # noqa: ASYNC251 - that is the stall
        while not stalls.longest_s(MINUTE_S, asyncio.get_running_loop().time()):
            await asyncio.sleep(0.01)
    await cancel(watching)
    assert stalls.longest_s(MINUTE_S, asyncio.get_running_loop().time()) > 0.5
    assert "the event loop stood for" in caplog.text


def test_the_longest_stall_is_that_of_the_last_minute_and_hour() -> None:
    stalls = LoopStalls()
    for ended, stall_s in ((0.0, 0.4), (100.0, 0.1), (110.0, 0.2), (120.0, 0.05)):
        stalls.note(ended, stall_s)
    assert stalls.longest_s(HOUR_S, 130.0) == 0.4
    assert stalls.longest_s(MINUTE_S, 130.0) == 0.2
    assert stalls.longest_s(MINUTE_S, 175.0) == 0.05
    assert stalls.longest_s(MINUTE_S, 200.0) == 0.0
    stalls.note(4000.0, 0.0)
    assert stalls.longest_s(HOUR_S, 4000.0) == 0.0
