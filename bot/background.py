"""Background tasks: kept until they end; their errors are logged, and those that must not end are started again."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

logger = logging.getLogger(__name__)

# The pause before failed work starts again; it doubles with each failure in a row.
RESTART_S: Final = 1.0
MAX_RESTART_S: Final = 60.0

# The event loop holds only weak references to tasks: without this set, one may be collected before it ends.
_running: Final[set["asyncio.Task[None]"]] = set()


def run_in_background(work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
    """Start `work` and return its task; the log names it `name` if it fails.

    Not a TaskGroup: there, one failure cancels all tasks, and these are independent.
    """
    task = asyncio.create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def keep_running(
    start: Callable[[], Coroutine[Any, Any, None]], name: str, *, restart_s: float = RESTART_S
) -> "asyncio.Task[None]":
    """Start work that goes on until it is cancelled, and return its task.

    If it fails, the log says so, and it starts again after `restart_s`; after several failures in a row at most
    MAX_RESTART_S later. A failure after more than MAX_RESTART_S of work is the first of a row.
    """
    return run_in_background(_keep_running(start, name, restart_s), name)


async def _keep_running(start: Callable[[], Coroutine[Any, Any, None]], name: str, restart_s: float) -> None:
    loop = asyncio.get_running_loop()
    pause_s = restart_s
    while True:
        started_at = loop.time()
        try:
            await start()
            return
        except Exception:
            if loop.time() - started_at > MAX_RESTART_S:
                pause_s = restart_s
            logger.exception("%s failed; it starts again in %.0f s", name, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(MAX_RESTART_S, 2 * pause_s)


async def cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel `task` and wait for its end; an error that it ends with is logged, unless it ended before."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None and task not in _running:
        logger.error("%s failed while it was cancelled", task.get_name(), exc_info=error)


def _ended(task: "asyncio.Task[None]") -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=error)
