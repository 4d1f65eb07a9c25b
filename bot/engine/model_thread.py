"""The one thread that owns the model: takes work from a bounded queue and advances it step by step."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, TypeVar

from bot.errors import FewshotError, GenerationError, Unavailable

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT")
ResultT = TypeVar("ResultT")

_SHUTTING_DOWN: Final = "The bot is shutting down; ask again when it is back."
_STOPPED: Final = "The model stopped working; the operator has to restart the bot."

Steps = Generator[None, None, ResultT]


class WorkCancelled(BaseException):
    """Thrown into a work's steps when it is cancelled; steps may catch it to hand back what they have, and return."""


class Work(Generic[ModelT, ResultT]):
    """One request: a function that makes its steps, and the future of what they return.

    `future` belongs to the event loop. `is_cancelled` may be set from any thread and is seen before the next step.
    """

    def __init__(self, make_steps: Callable[[ModelT], Steps[ResultT]], *, is_quick: bool = False) -> None:
        self.make_steps = make_steps
        self.is_quick = is_quick
        self.is_cancelled = False
        self.queued_at = time.perf_counter()
        self.started_at: float | None = None
        self.future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        # An error that nobody waits for any more (its consumer went away) is no news.
        self.future.add_done_callback(lambda future: future.cancelled() or future.exception())

    @property
    def queue_ms(self) -> float:
        """Return how long it waited, up to now if it still waits."""
        return ((self.started_at or time.perf_counter()) - self.queued_at) * 1000


class ModelThread(Generic[ModelT]):
    """A plain thread that makes the model, runs work on it one after another, and frees it.

    Between two steps of one work it looks for cancellation, closing and quick work (tokenising, which takes no
    forward pass), so none of them waits longer than a step. Every method but `_run` and what it calls belongs to the
    event loop's thread.
    """

    def __init__(self, open_model: Callable[[], AbstractContextManager[ModelT]], *, max_waiting: int) -> None:
        self._open_model = open_model
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()  # guards the four fields below
        self._waiting: deque[Work[ModelT, Any]] = deque()
        self._quick: deque[Work[ModelT, Any]] = deque()
        self._running: Work[ModelT, Any] | None = None
        self._is_closing = False
        self._opened: asyncio.Future[ModelT] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    async def open(self) -> ModelT:
        """Start the thread and return the model once it is loaded. Raises what opening it raised."""
        self._thread.start()
        return await self._opened

    async def close(self) -> None:
        """End what runs within a step, refuse what waits, free the model and join the thread."""
        with self._condition:
            self._is_closing = True
            refused = [*self._waiting, *self._quick]
            self._waiting.clear()
            self._quick.clear()
            if self._running is not None:
                self._running.is_cancelled = True
            self._condition.notify()
        for work in refused:
            self._settle(work, error=Unavailable(_SHUTTING_DOWN))
        await self._ended.wait()
        self._thread.join()

    @property
    def num_waiting(self) -> int:
        """Return how many requests wait, without quick work."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Return 1 while a request runs, else 0."""
        return int(self._running is not None)

    def submit(self, work: Work[ModelT, Any]) -> None:
        """Put `work` into the queue. Raises Unavailable when the queue is full or the thread is closing or dead."""
        with self._condition:
            if self._is_closing:
                raise Unavailable(_SHUTTING_DOWN)
            if not self._thread.is_alive():
                raise Unavailable(_STOPPED)
            lane = self._quick if work.is_quick else self._waiting
            if len(lane) >= self._max_waiting:
                raise Unavailable(f"{len(lane)} requests are waiting already; try again in a minute.")
            lane.append(work)
            self._condition.notify()

    def withdraw(self, work: Work[ModelT, Any]) -> bool:
        """Cancel `work`; return whether it was still waiting (its steps then never start)."""
        work.is_cancelled = True
        with self._condition:
            for lane in (self._waiting, self._quick):
                with contextlib.suppress(ValueError):
                    lane.remove(work)
                    return True
        return False

    def num_ahead(self, work: Work[ModelT, Any]) -> int:
        """Return how many requests come before `work`; 0 once it runs or is done."""
        with self._condition:
            if work not in self._waiting:
                return 0
            return self._waiting.index(work) + int(self._running is not None)

    async def result(self, work: Work[ModelT, ResultT], *, timeout_s: float) -> ResultT:
        """Wait for what the submitted `work` returns; being cancelled cancels it. Raises what its steps raise.

        Raises Unavailable when it has not started after `timeout_s`.
        """
        timer = self._loop.call_later(timeout_s, self._expire, work)
        try:
            return await work.future
        finally:
            timer.cancel()
            self.withdraw(work)

    def expire_after(self, work: Work[ModelT, Any], timeout_s: float) -> None:
        """Refuse `work` with Unavailable if it still waits after `timeout_s`."""
        timer = self._loop.call_later(timeout_s, self._expire, work)
        work.future.add_done_callback(lambda _: timer.cancel())

    def post(self, callback: Callable[..., None], *arguments: object) -> bool:
        """Call `callback` on the event loop, from the model thread; return False when the loop is gone.

        Without a loop nobody is left to answer: the thread then ends by itself.
        """
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop was closed under us
            self._is_closing = True
            return False
        return True

    def _expire(self, work: Work[ModelT, Any]) -> None:
        if work.started_at is None and self.withdraw(work):
            waited = f"{work.queue_ms / 1000:.0f} s"
            self._settle(work, error=Unavailable(f"It was not your turn within {waited}; try again later."))

    @staticmethod
    def _settle(work: Work[ModelT, Any], *, result: object = None, error: BaseException | None = None) -> None:
        if work.future.done():
            return
        if isinstance(error, WorkCancelled):
            work.future.cancel()
        elif error is not None:
            work.future.set_exception(error)
        else:
            work.future.set_result(result)

    # What follows runs in the model thread.

    def _run(self) -> None:
        try:
            with self._open_model() as model:
                self.post(self._tell_opened, model)
                while (work := self._next_work()) is not None:
                    self._carry_out(work, model)
                    del work  # its tensors must not live on while the thread waits
        except BaseException as e:
            if not self.post(self._tell_failed, e):
                raise
        finally:
            self.post(self._ended.set)

    def _tell_opened(self, model: ModelT) -> None:
        if not self._opened.done():
            self._opened.set_result(model)

    def _tell_failed(self, error: BaseException) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            return
        logger.error("The model thread ended: %s", type(error).__name__, exc_info=error)
        with self._condition:
            left = [*self._waiting, *self._quick, *([self._running] if self._running else [])]
            self._waiting.clear()
            self._quick.clear()
            self._running = None
        for work in left:
            self._settle(work, error=Unavailable(_STOPPED))

    def _next_work(self) -> Work[ModelT, Any] | None:
        """Wait for work and return it, quick work first; None when closing."""
        with self._condition:
            self._running = None
            while not (self._is_closing or self._quick or self._waiting):
                self._condition.wait()
            if self._is_closing:
                return None
            work = (self._quick or self._waiting).popleft()
            work.started_at = time.perf_counter()
            if not work.is_quick:
                self._running = work
            return work

    def _carry_out(self, work: Work[ModelT, Any], model: ModelT) -> None:
        try:
            result = self._advance(work, model)
        except WorkCancelled as e:
            self.post(self._tell_ended, work, None, e)
        except FewshotError as e:
            self.post(self._tell_ended, work, None, e)
        except Exception as e:
            logger.error("A request failed in the model: %s", type(e).__name__, exc_info=e)
            failure = GenerationError("The model failed on this request; others are not affected.")
            failure.__cause__ = e
            self.post(self._tell_ended, work, None, failure)
        else:
            self.post(self._tell_ended, work, result, None)

    def _advance(self, work: Work[ModelT, Any], model: ModelT) -> object:
        """Run the steps of `work` to their end and return their result. Raises what they raise, and WorkCancelled."""
        if work.is_cancelled:
            raise WorkCancelled
        steps = work.make_steps(model)
        try:
            while True:
                if work.is_cancelled:
                    steps.throw(WorkCancelled())
                else:
                    next(steps)
                if not work.is_quick:
                    self._carry_out_quick_work(model)
        except StopIteration as stop:
            return stop.value
        finally:
            steps.close()

    def _carry_out_quick_work(self, model: ModelT) -> None:
        while self._quick:
            with self._condition:
                if not self._quick:  # withdrawn in between
                    return
                work = self._quick.popleft()
                work.started_at = time.perf_counter()
            self._carry_out(work, model)

    def _tell_ended(self, work: Work[ModelT, Any], result: object, error: BaseException | None) -> None:
        if isinstance(error, WorkCancelled) and self._is_closing:
            error = Unavailable(_SHUTTING_DOWN)
        self._settle(work, result=result, error=error)
