"""A limit on the refusals shown in a channel, so that a flood of wrong messages is not answered by another flood."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

PERIOD_S: Final = 10.0
MAX_PER_PERSON: Final = 1
MAX_PER_CHANNEL: Final = 3
_MAX_KEPT: Final = 1000

MARK: Final = "⚠️"


class RefusalBudget:
    """Allows one sentence per person and three per channel in ten seconds; refusals above that get a reaction."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, ...], deque[float]] = {}

    def take(self, channel_id: str, author_id: str) -> bool:
        """Return whether a sentence may be shown now; if so, count it."""
        now = self._clock()
        if len(self._told) > _MAX_KEPT:
            self._told = {key: times for key, times in self._told.items() if times[-1] > now - PERIOD_S}
        limits = (((channel_id,), MAX_PER_CHANNEL), ((channel_id, author_id), MAX_PER_PERSON))
        for key, most in limits:
            times = self._told.get(key, deque())
            while times and times[0] <= now - PERIOD_S:
                times.popleft()
            if len(times) >= most:
                return False
        for key, _ in limits:
            self._told.setdefault(key, deque()).append(now)
        return True
