"""Requests as the model thread runs them: generators that yield tokens to feed and receive the results."""

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from bot.core.engine import Asker, Priority
from bot.core.results import FinishReason
from bot.engine.paged_cache import Row

if TYPE_CHECKING:  # the event loop's thread, which makes requests, does not need torch
    import torch

    from bot.engine.loaded_model import Lane
    from bot.engine.sampler.sampler import Choice, Chosen

ModelT = TypeVar("ModelT")
ResultT = TypeVar("ResultT")


class WorkCancelled(BaseException):
    """Thrown into a request's steps to end it; they may catch it and return their result so far.

    `reason` is "cancelled" if somebody cancelled it, "length" if its time was up.
    """

    def __init__(self, reason: FinishReason = "cancelled") -> None:
        self.reason: FinishReason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Feed:
    """Tokens to feed: all unread tokens of `row`, and then …

    - with `choices`: choose a token after the last one for each of them, from the same logits. One choice may have
      `drafts`, guesses of the tokens that follow; right ones need no pass of their own. The answer is a list of Chosen,
      one for each choice, or the chosen token and those after right guesses.
    - with `take`: call it with the logits after the last `num_logits` tokens, (k, vocab), in one or several pieces,
      each with the index of its first one. The answer is None.
    - with neither: the answer is the logits after the last token, (vocab,), valid until the next yield.
    """

    row: Row
    choices: "Sequence[Choice]" = ()
    drafts: Sequence[int] = ()
    take: "Callable[[int, torch.Tensor], None] | None" = None
    num_logits: int = 1


FeedAnswer: TypeAlias = "list[Chosen] | torch.Tensor | None"
Steps = Generator[list[Feed], list[Any], ResultT]


@dataclass(frozen=True, slots=True)
class Job(Generic[ResultT]):
    """A request that is ready to run: its steps, its lane, and the most rows and cache blocks that it needs."""

    steps: Steps[ResultT]
    lane: "Lane"
    num_rows: int
    num_blocks: int


def _future_of_one_consumer() -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    # Marks an error as retrieved: after its consumer has gone, nobody waits for it.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


class Work(Generic[ModelT, ResultT]):
    """One request: a function that plans its job, and the future of the job's result.

    `future` belongs to the event loop. `is_cancelled` may be set from any thread and is read before the next pass. A
    request that `is_alone` starts when nothing else runs; others wait a moment for its end, and if that was too short,
    it `was_joined` by them. After `deadline` (of time.perf_counter, None: never) a running request ends with its result
    so far.
    """

    def __init__(
        self,
        plan: Callable[[ModelT], Job[ResultT]],
        *,
        priority: Priority = "chat",
        asker: Asker | None = None,
        deadline: float | None = None,
        is_alone: bool = False,
    ) -> None:
        self.is_alone = is_alone
        self.was_joined = False  # set by the model thread
        self.plan = plan
        self.priority: Priority = priority
        self.asker = asker or Asker()
        self.deadline = deadline
        self.is_cancelled = False
        self.queued_at = time.perf_counter()
        self.started_at: float | None = None
        self.future: asyncio.Future[ResultT] = _future_of_one_consumer()

    @property
    def queue_ms(self) -> float:
        """Return how long it has waited in the queue."""
        return ((self.started_at or time.perf_counter()) - self.queued_at) * 1000


@dataclass(slots=True, eq=False)
class QuickWork(Generic[ModelT, ResultT]):
    """A request that needs no pass, such as counting tokens; it is run between two passes."""

    call: Callable[[ModelT], ResultT]
    is_cancelled: bool = False
    queued_at: float = field(default_factory=time.perf_counter)
    future: "asyncio.Future[ResultT]" = field(default_factory=_future_of_one_consumer)
