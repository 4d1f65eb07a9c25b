"""Work in the background: kept until it ends, and what it fails with is logged."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

logger = logging.getLogger(__name__)

# The event loop itself holds tasks weakly: one that nobody else holds may vanish before it has ended.
_running: Final[set["asyncio.Task[None]"]] = set()


def run_in_background(work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
    """Begin `work` and return its task; `name` says in the log what failed.

    Not a TaskGroup: there one failure cancels all others, and these have nothing to do with one another.
    """
    task = asyncio.create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: "asyncio.Task[None]") -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=error)
