"""Background tasks: kept until they end; their errors are logged."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

logger = logging.getLogger(__name__)

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


def _ended(task: "asyncio.Task[None]") -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=error)
