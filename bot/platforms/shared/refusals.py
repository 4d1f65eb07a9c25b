"""A limit on the refusals shown in a channel, so that a flood of wrong messages is not answered by another flood."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

# (how many sentences, in how many seconds): a person is told what is wrong three times a minute; a channel has room for
# the mistakes of a few people at once.
PER_PERSON: Final = (3, 60.0)
PER_CHANNEL: Final = (6, 10.0)
_MAX_KEPT: Final = 1000

MARK: Final = "⚠️"


class RefusalBudget:
    """Allows three sentences a minute to a person, and six in ten seconds in a channel; others get a reaction."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, ...], deque[float]] = {}

    def take(self, channel_id: str, author_id: str) -> bool:
        """Return whether a sentence may be shown now; if so, count it."""
        now = self._clock()
        keys = (("person", author_id), ("channel", channel_id))
        limits = tuple(zip(keys, (PER_PERSON, PER_CHANNEL), strict=True))
        if len(self._told) > _MAX_KEPT:
            oldest = now - max(PER_PERSON[1], PER_CHANNEL[1])
            self._told = {key: times for key, times in self._told.items() if times[-1] > oldest}
        for key, (most, period_s) in limits:
            times = self._told.get(key, deque())
            while times and times[0] <= now - period_s:
                times.popleft()
            if len(times) >= most:
                return False
        for key, _ in limits:
            self._told.setdefault(key, deque()).append(now)
        return True
