"""The scheduler: the thread that owns the model, admits waiting requests, runs them in steps, and returns results."""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from bot.core.engine import Asker, waited_too_long
from bot.core.fair_queue import PRIORITIES, FairQueue
from bot.core.watch import BatchFigures
from bot.engine.pass_turns import OF_THIS_PROGRAM, PassTurns
from bot.engine.requests.work import Job, QuickWork, Work, WorkCancelled
from bot.errors import Busy, FewshotError, GenerationError, Unavailable

if TYPE_CHECKING:
    from bot.engine.step_loop import StepLoop

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT")
ResultT = TypeVar("ResultT")

_SHUTTING_DOWN: Final = "The bot is shutting down; try again when it is back."
_STOPPED: Final = "The model stopped working and is being restarted; try again in a minute."
_RETRY_S: Final = 0.05
LONE_S: Final = 2.0  # others wait no longer for the end of a request that runs alone
_TOO_LARGE: Final = (
    "This request needs more memory than the model's cache has. Shorten the text, or ask for fewer tokens or"
    " continuations. The operator can raise KV_CACHE_MB."
)


class Scheduler(Generic[ModelT]):
    """A thread that opens the model, runs a step loop on it, and frees it.

    Between two passes it handles cancellation, closing, new requests and quick work (which needs no pass), so none of
    them waits longer than a pass. Chats come before scoring, conversations take turns, and each person has at most
    `max_running_per_person` running requests. The passes of models that share `turns`, by default all of this program,
    run one at a time, since they share the processor. Call every method from the event loop's thread, except `_run`
    and what it calls.
    """

    def __init__(
        self,
        open_model: Callable[[], AbstractContextManager[ModelT]],
        *,
        max_waiting: int,
        max_running_per_person: int = 1,
        turns: PassTurns = OF_THIS_PROGRAM,
    ) -> None:
        self._open_model = open_model
        self._max_waiting = max_waiting
        self._max_running_per_person = max_running_per_person
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()  # guards the three fields below
        self._waiting: FairQueue[Work[ModelT, Any]] = FairQueue()
        self._quick: deque[QuickWork[ModelT, Any]] = deque()
        self._is_closing = False
        self._in_flight: set[Work[ModelT, Any] | QuickWork[ModelT, Any]] = set()  # the event loop's
        self._opened: asyncio.Future[ModelT] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._has_failed = False  # the thread ended by itself; set by the event loop
        # Written by the model thread, read by the event loop without a lock:
        self._steps: StepLoop | None = None
        self._num_running_of: Counter[Hashable] = Counter()
        self._lone: Work[ModelT, Any] | None = None  # the running request that runs alone
        self._planned: dict[Work[ModelT, Any], Job[Any]] = {}  # requests that wait for room in the KV cache
        self._outbox: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        # What is on its way to the event loop, and whether that is to look.
        self._mail: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._mail_lock = threading.Lock()
        self._is_woken = False
        self._pass_started_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    async def open(self) -> ModelT:
        """Start the thread and return the model once it is loaded. Raises what `open_model` raises."""
        self._thread.start()
        return await self._opened

    async def close(self) -> None:
        """End running requests within one pass, refuse waiting ones, free the model and join the thread."""
        with self._condition:
            self._is_closing = True
            refused: list[Work[ModelT, Any] | QuickWork[ModelT, Any]] = [*self._waiting.clear(), *self._quick]
            self._quick.clear()
            self._condition.notify()
        for work in refused:
            self._settle(work, error=Unavailable(_SHUTTING_DOWN))
        if self._thread.ident is None:
            return
        await self._ended.wait()
        self._thread.join()
        for left in list(self._in_flight):  # was being admitted when the others were refused
            self._settle(left, error=Unavailable(_SHUTTING_DOWN))

    def abandon(self) -> None:
        """Give up on a thread that hangs: fail all its requests; if it resumes, it ends."""
        self._is_closing = True  # no lock: the thread that hangs may hold it
        self._turns.leave(self)
        self._fail_all()

    @property
    def has_died(self) -> bool:
        """Return whether the thread ended unexpectedly."""
        return self._has_failed and self._ended.is_set() and not self._is_closing

    @property
    def stalled_s(self) -> float:
        """Return how many seconds the current pass has been running; 0 between passes."""
        started_at = self._pass_started_at
        return 0.0 if started_at is None else time.perf_counter() - started_at

    @property
    def num_waiting(self) -> int:
        """Return how many requests wait, without quick work."""
        with self._condition:  # the model thread takes requests from it meanwhile
            return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Return how many requests run."""
        return 0 if self._steps is None else self._steps.num_running

    @property
    def batch_figures(self) -> BatchFigures:
        """Return the figures of the step loop."""
        return BatchFigures() if self._steps is None else self._steps.figures

    def submit(self, work: Work[ModelT, Any] | QuickWork[ModelT, Any]) -> None:
        """Put `work` into its queue. Raises Unavailable when the queue is full or the thread is closing or dead."""
        with self._condition:
            if self._is_closing:
                raise Unavailable(_SHUTTING_DOWN)
            if self._has_failed or not self._thread.is_alive():
                raise Unavailable(_STOPPED)
            num_waiting = len(self._quick) if isinstance(work, QuickWork) else len(self._waiting)
            if num_waiting >= self._max_waiting:
                raise Busy(f"{num_waiting} requests are already waiting; try again in a minute.")
            if isinstance(work, QuickWork):
                self._quick.append(work)
            else:
                self._waiting.put(work)
            self._condition.notify()
        self._in_flight.add(work)
        work.future.add_done_callback(lambda _: self._in_flight.discard(work))

    def withdraw(self, work: Work[ModelT, Any] | QuickWork[ModelT, Any]) -> bool:
        """Cancel `work`; return whether it was still waiting (it then never runs)."""
        work.is_cancelled = True
        return self._take_out(work)

    def _take_out(self, work: Work[ModelT, Any] | QuickWork[ModelT, Any]) -> bool:
        with self._condition:
            if isinstance(work, Work):
                return self._waiting.remove(work)
            if work not in self._quick:
                return False
            self._quick.remove(work)
            return True

    def num_ahead(self, work: Work[ModelT, Any]) -> int:
        """Return how many requests come before `work`, including running ones; 0 once it runs or is done."""
        with self._condition:
            num_waiting = self._waiting.num_ahead(work)
        return 0 if num_waiting is None else num_waiting + self.num_running

    async def result(self, work: Work[ModelT, ResultT] | QuickWork[ModelT, ResultT], *, timeout_s: float) -> ResultT:
        """Wait for the result of the submitted `work`; cancelling the wait cancels it. Raises what it raises.

        Raises Unavailable if it has not started after `timeout_s`.
        """
        self.expire_after(work, timeout_s)
        try:
            return await work.future
        finally:
            self.withdraw(work)

    def expire_after(self, work: Work[ModelT, Any] | QuickWork[ModelT, Any], timeout_s: float) -> None:
        """Refuse `work` with Unavailable if it is still waiting after `timeout_s`."""
        timer = self._loop.call_later(timeout_s, self._expire, work)
        work.future.add_done_callback(lambda _: timer.cancel())

    def _expire(self, work: Work[ModelT, Any] | QuickWork[ModelT, Any]) -> None:
        if self._take_out(work):
            self._settle(work, error=waited_too_long(time.perf_counter() - work.queued_at))
        elif isinstance(work, Work) and work.started_at is None and not work.future.done():
            self._loop.call_later(_RETRY_S, self._expire, work)  # it is being admitted right now

    def _fail_all(self) -> None:
        with_lock = self._condition.acquire(timeout=0.1)
        try:
            self._waiting.clear()
            self._quick.clear()
        finally:
            if with_lock:
                self._condition.release()
        for work in list(self._in_flight):
            self._settle(work, error=Unavailable(_STOPPED))

    @staticmethod
    def _settle(
        work: Work[ModelT, Any] | QuickWork[ModelT, Any], *, result: object = None, error: BaseException | None = None
    ) -> None:
        if work.future.done():
            return
        if isinstance(error, WorkCancelled):
            work.future.cancel()
        elif error is not None:
            work.future.set_exception(error)
        else:
            work.future.set_result(result)

    # The rest runs in the model thread, except for the callbacks that it posts to the event loop.

    def post(self, callback: Callable[..., None], *arguments: object) -> None:
        """Call `callback` on the event loop after the current pass; callbacks run in order."""
        self._outbox.append((callback, arguments))

    def _flush(self) -> None:
        """Send all posted callbacks to the event loop at once. If the loop is closed, the thread ends."""
        if not self._outbox:
            return
        outbox, self._outbox = self._outbox, []
        with self._mail_lock:
            self._mail += outbox
            # A loop that stands is woken once: its pipe has room for a few hundred signs, among them those of signals.
            is_woken, self._is_woken = self._is_woken, True
        if is_woken:
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed
            self._is_closing = True

    def _deliver(self) -> None:
        """Call what was posted, on the event loop."""
        with self._mail_lock:
            mail, self._mail = self._mail, []
            self._is_woken = False
        for callback, arguments in mail:
            callback(*arguments)

    def _run(self) -> None:
        try:
            with self._open_model() as model:
                from bot.engine.step_loop import StepLoop  # imports torch, which is loaded by now

                steps = self._steps = StepLoop(self._report)
                self.post(self._tell_opened, model)
                self._flush()
                while self._wait_for_work(steps):
                    self._pass_started_at = time.perf_counter()
                    self._do_quick_work(model)
                    self._let_in(model, steps)
                    self._step(steps)
                    self._flush()
                    self._pass_started_at = None
                steps.close()
        except BaseException as e:
            self.post(self._tell_failed, e)
        finally:
            self._pass_started_at = None
            self.post(self._ended.set)
            self._flush()

    def _step(self, steps: "StepLoop") -> None:
        """Run one step when it is this model's turn; the wait for another model's pass is no time of this pass."""
        if not steps.num_running:
            return
        self._pass_started_at = None
        self._turns.enter(self)
        try:
            self._pass_started_at = time.perf_counter()
            steps.step()
        finally:
            self._turns.leave(self)

    def _wait_for_work(self, steps: "StepLoop") -> bool:
        """Wait until there is something to do; return False when closing."""
        with self._condition:
            while not (self._is_closing or self._quick or len(self._waiting) or steps.num_running):
                self._condition.wait()
            return not self._is_closing

    def _do_quick_work(self, model: ModelT) -> None:
        while self._quick:
            with self._condition:
                if not self._quick:  # withdrawn meanwhile
                    return
                work = self._quick.popleft()
            if work.is_cancelled:
                self.post(self._tell_ended, work, None, WorkCancelled())
                continue
            try:
                result = work.call(model)
            except Exception as e:
                self.post(self._tell_ended, work, None, _as_error(e))
            else:
                self.post(self._tell_ended, work, result, None)

    def _let_in(self, model: ModelT, steps: "StepLoop") -> None:
        """Start waiting requests while there is room."""
        for priority in PRIORITIES:
            while self._may_join() and steps.has_room(priority):
                with self._condition:
                    work = self._waiting.pop(priority, self._may_start, is_anything_running=steps.num_running > 0)
                if work is None:
                    break
                if not self._try_to_start(work, model, steps):
                    with self._condition:
                        self._waiting.put_back(work)
                    if steps.has_room(priority, self._planned[work].num_rows):
                        return  # it waits for room in the KV cache, which no scoring request may take first
                    break

    def _may_join(self) -> bool:
        """Say whether others may run now: a request that runs alone has the model for itself only for a moment."""
        started_at = None if self._lone is None else self._lone.started_at
        return started_at is None or time.perf_counter() - started_at >= LONE_S

    def _try_to_start(self, work: Work[ModelT, Any], model: ModelT, steps: "StepLoop") -> bool:
        """Plan and start `work`, or end it; return False if it must wait for room."""
        job = self._planned.pop(work, None)
        if work.is_cancelled:
            self._report(work, None, WorkCancelled())
            return True
        try:
            job = job or work.plan(model)
        except Exception as e:
            self.post(self._tell_ended, work, None, _as_error(e))
            return True
        if not job.lane.cache.can_hold(job.num_blocks):
            # It would wait until what runs has ended, with all others behind it, and be refused then.
            self.post(self._tell_ended, work, None, GenerationError(_TOO_LARGE))
            return True
        person = work.asker.person
        if person is not None:
            self._num_running_of[person] += 1
        work.started_at = time.perf_counter()
        lone, self._lone = self._lone, work if work.is_alone else None
        if steps.start(work, job):
            if lone is not None:
                lone.was_joined = True
            return True
        self._lone = lone
        self._count_out(person)
        work.started_at = None
        # Drop the plans of requests that were withdrawn or refused meanwhile.
        self._planned = {known: plan for known, plan in self._planned.items() if not known.future.done()}
        self._planned[work] = job
        return False

    def _may_start(self, asker: Asker) -> bool:
        return asker.person is None or self._num_running_of[asker.person] < self._max_running_per_person

    def _report(self, work: Work[ModelT, Any], result: object, error: BaseException | None) -> None:
        if work is self._lone:
            self._lone = None
        if work.started_at is not None:
            self._count_out(work.asker.person)
        self.post(self._tell_ended, work, result, error)

    def _count_out(self, person: Hashable) -> None:
        if person is None:
            return
        self._num_running_of[person] -= 1
        if self._num_running_of[person] <= 0:
            del self._num_running_of[person]

    # These run on the event loop.

    def _tell_opened(self, model: ModelT) -> None:
        if not self._opened.done():
            self._opened.set_result(model)

    def _tell_failed(self, error: BaseException) -> None:
        self._has_failed = True
        if not self._opened.done():
            self._opened.set_exception(error)
        else:
            logger.error("The model thread ended: %s", type(error).__name__, exc_info=error)
        self._fail_all()

    def _tell_ended(
        self, work: Work[ModelT, Any] | QuickWork[ModelT, Any], result: object, error: BaseException | None
    ) -> None:
        if isinstance(error, WorkCancelled) and self._is_closing:
            error = Unavailable(_SHUTTING_DOWN)
        self._settle(work, result=result, error=error)


def _as_error(error: Exception) -> FewshotError:
    """Return the error to report for `error`: itself if it is a FewshotError."""
    if isinstance(error, FewshotError):
        return error
    logger.error("A request failed in the model: %s", type(error).__name__, exc_info=error)
    failure = GenerationError("The model failed on this request; other requests are not affected.")
    failure.__cause__ = error
    return failure
