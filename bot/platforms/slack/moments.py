"""Moments whose age is right whatever becomes of the machine's clock."""

import time
from collections.abc import Callable


class Moment:
    """The present, to ask later how long ago it was.

    A clock that is put back does not make it younger, and neither does a machine that slept: the one clock goes on
    then, where the other stands still.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None, steady: Callable[[], float] | None = None) -> None:
        self._clocks = (clock or time.time, steady or time.monotonic)
        self._times = tuple(clock() for clock in self._clocks)

    @property
    def age_s(self) -> float:
        """Return how many seconds ago it was."""
        return max(clock() - then for clock, then in zip(self._clocks, self._times, strict=True))
