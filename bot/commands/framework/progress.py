"""Progress of long work: one card for each step, then the result."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bot.background import cancel
from bot.core.cards import Card, Progress
from bot.core.stopping import Stopper
from bot.services.measuring import OnProgress

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Finished(Generic[ResultT]):
    """The last thing that `watched` yields: the result."""

    value: ResultT


async def watched(
    what: str, start: Callable[[OnProgress], Coroutine[Any, Any, ResultT]], *, stopper: Stopper | None = None
) -> AsyncGenerator[Card | Finished[ResultT]]:
    """Run `start` and yield cards that show its progress, then its result. Raises what it raises.

    Closing the generator cancels the work. So does `stopper`, and there is no result then; without one `start` itself
    must end when the request is stopped.
    """
    news = asyncio.Event()
    latest = (0, 0)

    def on_progress(num_done: int, num_total: int) -> None:
        nonlocal latest
        latest = (num_done, num_total)
        news.set()

    task = asyncio.create_task(start(on_progress), name=f"work on one {what}")
    task.add_done_callback(lambda _: news.set())

    def end() -> None:
        task.cancel()

    if stopper is not None:
        stopper.on_stop(end)
    try:
        while not task.done():
            await news.wait()
            news.clear()
            if not task.done():
                yield Card(blocks=(Progress(what, *latest),), is_final=False)
        if stopper is None or not (stopper.is_stopped and task.cancelled()):
            yield Finished(task.result())
    finally:
        await cancel(task)
