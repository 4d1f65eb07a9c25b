"""Work in the background: kept until it ends, its failure in the log."""

import asyncio
import gc
import logging
import re
from pathlib import Path

import pytest

import bot
from bot.background import cancel, keep_running, run_in_background


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


async def test_work_that_must_not_end_starts_again_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()
    num_starts = 0

    async def work() -> None:
        nonlocal num_starts
        num_starts += 1
        if num_starts < 3:
            raise KeyError("not listed")
        done.set()
        await asyncio.Event().wait()

    task = keep_running(work, "watching", restart_s=0.001)
    await asyncio.wait_for(done.wait(), 5)
    assert num_starts == 3
    assert caplog.text.count("watching failed; it starts again") == 2
    assert "not listed" in caplog.text
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_an_error_on_the_way_out_of_cancelled_work_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("broken on the way out")

    task = asyncio.create_task(work(), name="measuring")
    await asyncio.sleep(0)
    await cancel(task)
    assert "measuring failed while it was cancelled" in caplog.text
    assert "broken on the way out" in caplog.text
    caplog.clear()
    await cancel(task)
    assert caplog.text == ""


# Whoever starts these tasks waits for them, and raises or logs their errors.
AWAITED_BY_THEIR_STARTER = {
    "commands/framework/progress.py",
    "commands/workbench/measuring.py",
    "monitoring/health.py",
    "platforms/discord/incoming/missed_authors.py",
    "platforms/discord/outgoing/retries.py",
    "platforms/discord/running.py",
    "platforms/shared/submitting.py",
    "platforms/slack/incoming/hearing.py",
    "platforms/slack/running.py",
    "platforms/slack/web_socket.py",
    "platforms/web/intake.py",
    "program/chat_services.py",
    "remote/own_server/generation.py",
    "remote/own_server/served_engine.py",
    "remote/writing.py",
    "services/queueing.py",
    "serving/engine_calls.py",
    "serving/generating.py",
    "store/backend.py",
    "store/database.py",
}


def test_every_other_task_is_started_in_one_place() -> None:
    root = Path(bot.__file__).parent
    starting = re.compile(r"\b(create_task|ensure_future|TaskGroup|run_coroutine_threadsafe)\(")
    found = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if starting.search(path.read_text())}
    assert found == {"background.py"} | AWAITED_BY_THEIR_STARTER
