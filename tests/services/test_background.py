"""Work in the background: kept until it ends, its failure in the log."""

import asyncio
import gc
import logging

import pytest

from bot.services.background import run_in_background


async def test_work_that_nobody_else_holds_goes_on_to_its_end() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    run_in_background(work(), "some work")
    gc.collect()
    await asyncio.wait_for(done.wait(), 5)


async def test_a_failure_is_logged_with_the_name_of_the_work(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR):
        await asyncio.wait([run_in_background(work(), "some work")])
        await asyncio.sleep(0)
    assert "some work failed" in caplog.text
    assert "broken" in caplog.text


async def test_cancelled_work_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    task = run_in_background(asyncio.sleep(10), "some work")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert caplog.text == ""
