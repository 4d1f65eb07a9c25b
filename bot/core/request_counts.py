"""An engine's counts and timings; used by the event loop's thread only."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from bot.core.results import EngineStats, Percentiles, Timings
from bot.errors import GenerationError

_NUM_RECENT: Final = 200  # answers that the percentiles cover
_NUM_RECENT_FOR_RATE: Final = 20


class Ended(Protocol):
    """A finished request, as its future tells it."""

    def cancelled(self) -> bool:
        """Say whether it was cancelled."""

    def exception(self) -> BaseException | None:
        """Return the error of one that failed."""


class RequestCounts:
    """Counts since `started_at` (of time.perf_counter), and the timings of the latest answers.

    `on_answer` is given the timings of each answer.
    """

    def __init__(self, started_at: float, on_answer: Callable[[Timings], None] | None = None) -> None:
        self._on_answer = on_answer
        self._started_at = started_at
        self._num_done = 0
        self._num_cancelled = 0
        self._num_failed = 0
        self._num_refused = 0
        self._recent: deque[Timings] = deque(maxlen=_NUM_RECENT)

    def count_end(self, ended: Ended) -> None:
        """Count one finished request, whatever its result."""
        if ended.cancelled():
            self._num_cancelled += 1
        elif (error := ended.exception()) is None:
            self._num_done += 1
        elif isinstance(error, GenerationError):
            self._num_failed += 1
        else:
            self._num_refused += 1

    def count_answer(self, timings: Timings) -> None:
        """Add the timings of one answer."""
        self._recent.append(timings)
        if self._on_answer is not None:
            self._on_answer(timings)

    def snapshot(self, *, num_waiting: int, num_running: int, num_restarts: int, now: float) -> EngineStats:
        """Return all figures at the time `now` (of time.perf_counter)."""
        latest = list(self._recent)[-_NUM_RECENT_FOR_RATE:]
        decode_s = sum(timings.decode_ms for timings in latest) / 1000
        return EngineStats(
            num_waiting=num_waiting,
            num_running=num_running,
            num_done=self._num_done,
            num_cancelled=self._num_cancelled,
            num_failed=self._num_failed,
            num_refused=self._num_refused,
            num_restarts=num_restarts,
            uptime_s=now - self._started_at,
            tokens_per_s=sum(timings.num_new_tokens for timings in latest) / decode_s if decode_s > 0 else None,
            queue_ms=_percentiles([t.queue_ms for t in self._recent]),
            first_token_ms=_percentiles([t.queue_ms + t.prefill_ms for t in self._recent]),
            total_ms=_percentiles([t.queue_ms + t.prefill_ms + t.decode_ms for t in self._recent]),
        )


def _percentiles(values: Sequence[float]) -> Percentiles | None:
    if not values:
        return None
    ordered = sorted(values)
    return Percentiles(*(ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95)))
