"""The stand-in's time: that of the machine, and what a test adds to it."""

import asyncio
import time


class Clock:
    """Time that a test can move forward. Ages of streams, triggers, limits and redeliveries are measured by it."""

    def __init__(self) -> None:
        self._added_s = 0.0
        self._waiters: set[asyncio.Event] = set()
        self._last_us = 0

    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time() + self._added_s

    @property
    def num_sleeping(self) -> int:
        return len(self._waiters)

    def advance(self, seconds: float) -> None:
        """Move time forward and wake who sleeps by it."""
        self._added_s += seconds
        for waiter in self._waiters:
            waiter.set()

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved on by `seconds`."""
        end = self.now() + seconds
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            while (left := end - self.now()) > 0:
                waiter.clear()
                try:
                    await asyncio.wait_for(waiter.wait(), left)
                except TimeoutError:
                    continue
        finally:
            self._waiters.discard(waiter)

    def next_ts(self) -> str:
        """Return a message's ts, later than all before it."""
        self._last_us = max(self._last_us + 1, int(self.now() * 1_000_000))
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"
