"""One generation as its consumer sees it: deltas while the model writes, then the completions."""

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from bot.core.engine import Asker, Priority
from bot.core.request_counts import RequestCounts
from bot.core.results import (
    Completion,
    Delta,
    Timings,
)
from bot.core.sampling_params import SamplingParams
from bot.engine.requests.work import Job, Work
from bot.engine.scheduler import Scheduler
from bot.errors import Unavailable
from bot.trace import note_step

if TYPE_CHECKING:  # these import torch, which only the model thread does at run time
    from bot.engine.language_model import LanguageModel
    from bot.engine.requests.generation import GenerationResult

    PlanGeneration = Callable[[LanguageModel, Callable[[Delta], None]], Job[GenerationResult]]


class LocalGeneration:
    """One generation: `async with` starts it, `async for` yields its deltas, then `completions` holds the results.

    `params` has the drawn seed if none was given. At the end, `timings` are those of the whole request, and
    `part_timings` those of each continuation of a batch, if it ran. Leaving the `async with` early, being cancelled in
    it, or dropping the object cancels the generation. Raises, in the `async with`, Unavailable if the queue is full; in
    the `async for`, Unavailable if it waited too long in the queue, PromptTooLong, RequestError and GenerationError.
    """

    def __init__(
        self,
        scheduler: "Scheduler[LanguageModel]",
        statistics: RequestCounts,
        plan: "PlanGeneration",
        params: SamplingParams,
        *,
        num_completions: int,
        timeout_s: float,
        asker: Asker,
        priority: Priority,
        is_alone: bool = False,
    ) -> None:
        self.params = params
        self.completions: tuple[Completion, ...] = ()
        self.timings: Timings | None = None
        self.part_timings: tuple[Timings, ...] = ()
        self._scheduler = scheduler
        self._statistics = statistics
        self._plan = plan
        self._num_completions = num_completions
        self._timeout_s = timeout_s
        self._asker = asker
        self._priority = priority
        self._is_alone = is_alone
        self._deltas: deque[Delta] = deque()
        self._news = asyncio.Event()
        self._work: Work[LanguageModel, GenerationResult] | None = None
        self._is_unwanted = False  # cancelled before it was entered
        self._has_started = False
        self._is_ended = False
        self._error: BaseException | None = None

    @property
    def notice(self) -> str:
        """Return that there is nothing to know: the model in this program writes to the end or fails."""
        return ""

    @property
    def was_alone(self) -> bool:
        """Say whether it was to run alone and did, until now."""
        return self._is_alone and (self._work is None or not self._work.was_joined)

    @property
    def num_ahead(self) -> int:
        """Return how many requests are ahead in the queue, 0 if this one runs."""
        return self._scheduler.num_ahead(self._work) if self._work is not None else 0

    def cancel(self) -> None:
        """End the generation within one token, with finish_reason "cancelled". Safe at any time."""
        work = self._work
        self._is_unwanted = work is None
        if work is not None and self._scheduler.withdraw(work):
            work.future.cancel()

    async def __aenter__(self) -> "LocalGeneration":
        if self._work is not None:
            raise RuntimeError("A generation can be entered only once.")
        # The model thread only has a weak reference: it must not keep alive a generation that nobody uses.
        deliver = _Delivery(self._scheduler, weakref.ref(self))
        plan = self._plan
        work: Work[LanguageModel, GenerationResult] = Work(
            lambda model: plan(model, deliver),
            priority=self._priority,
            asker=self._asker,
            deadline=time.perf_counter() + self._timeout_s,
            is_alone=self._is_alone,
        )
        work.future.add_done_callback(self._statistics.count_end)
        work.future.add_done_callback(lambda _: deliver.end(work))
        self._work = work
        num_waiting = self._scheduler.num_waiting
        try:
            self._scheduler.submit(work)
        except Unavailable as e:
            work.future.set_exception(e)
            raise
        note_step(self._asker.request_id, "queued", waiting=num_waiting)
        self._scheduler.expire_after(work, self._timeout_s)
        if self._is_unwanted:
            self.cancel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        work = getattr(self, "_work", None)  # None, too, when __init__ failed
        if work is not None:
            work.is_cancelled = True  # without a lock, because __del__ may run in any thread

    def __aiter__(self) -> "LocalGeneration":
        return self

    async def __anext__(self) -> Delta:
        if self._work is None:
            raise RuntimeError("Enter the generation with `async with` first.")
        while not self._deltas:
            if self._is_ended:
                error, self._error = self._error, None
                raise StopAsyncIteration if error is None else error
            self._news.clear()
            await self._news.wait()
        return self._deltas.popleft()

    def _take(self, delta: Delta) -> None:
        if not self._has_started:
            self._has_started = True
            note_step(self._asker.request_id, "first token")
        self._deltas.append(delta)
        self._news.set()

    def _end(self, work: "Work[LanguageModel, GenerationResult]") -> None:
        self._is_ended = True
        self._news.set()
        if work.future.cancelled():  # it never ran, so its continuations are empty
            indices = range(self._num_completions)
            self.completions = tuple(Completion(index, "", (), 0.0, "cancelled") for index in indices)
            self._deltas.extend(Delta(c.index, "", c) for c in self.completions)
            return
        self._error = work.future.exception()
        if self._error is not None:
            return
        result = work.future.result()
        self.completions = result.completions
        self.timings = _timings_of(result, work.queue_ms)
        self.part_timings = tuple(_timings_of(part, work.queue_ms) for part in result.parts)
        self._statistics.count_answer(self.timings)
        timings, request_id = self.timings, self._asker.request_id
        note_step(request_id, "last token", prefill_ms=timings.prefill_ms, tokens=timings.num_new_tokens)


def _timings_of(result: "GenerationResult", queue_ms: float) -> Timings:
    return Timings(
        queue_ms,
        result.prefill_ms,
        result.decode_ms,
        sum(result.prompt_lengths),
        sum(len(completion.token_ids) for completion in result.completions),
    )


class _Delivery:
    """Delivers deltas from the model thread to a generation, as long as that exists."""

    def __init__(self, scheduler: "Scheduler[LanguageModel]", generation: "weakref.ref[LocalGeneration]") -> None:
        self._scheduler = scheduler
        self._generation = generation

    def __call__(self, delta: Delta) -> None:
        self._scheduler.post(self._take, delta)

    def _take(self, delta: Delta) -> None:
        generation = self._generation()
        if generation is not None:
            generation._take(delta)

    def end(self, work: "Work[LanguageModel, GenerationResult]") -> None:
        """Tell the generation that its work is done."""
        generation = self._generation()
        if generation is not None:
            generation._end(work)
