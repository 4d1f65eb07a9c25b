"""Progress of long work: one card for each step, then the result."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bot.core.cards import Card, Progress
from bot.services.measuring import OnProgress

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Finished(Generic[ResultT]):
    """The last thing that `watched` yields: the result."""

    value: ResultT


async def watched(
    what: str, start: Callable[[OnProgress], Coroutine[Any, Any, ResultT]]
) -> AsyncGenerator[Card | Finished[ResultT]]:
    """Run `start` and yield cards that show its progress, then its result. Raises what it raises.

    Closing the generator cancels the work.
    """
    news = asyncio.Event()
    latest = (0, 0)

    def on_progress(num_done: int, num_total: int) -> None:
        nonlocal latest
        latest = (num_done, num_total)
        news.set()

    task = asyncio.create_task(start(on_progress))
    task.add_done_callback(lambda _: news.set())
    try:
        while not task.done():
            await news.wait()
            news.clear()
            if not task.done():
                yield Card(blocks=(Progress(what, *latest),), is_final=False)
        yield Finished(task.result())
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
