"""How long the event loop stood lately: for that long nobody was answered."""

import asyncio
import logging
from collections import deque
from typing import Final

logger = logging.getLogger(__name__)

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
# A longer one is logged.
LOGGED_S: Final = 0.5
_BEAT_S: Final = 0.05
_SHORTEST_S: Final = 0.01  # shorter ones are the loop's ordinary work


class LoopStalls:
    """The longest stalls of the event loop in the last hour, noted by a beat that comes late when the loop stands."""

    def __init__(self) -> None:
        # When each ended, and how long it took. The longer ones after it make one superfluous, so the times fall.
        self._stalls: deque[tuple[float, float]] = deque()

    async def watch(self) -> None:
        """Note every stall until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self.note(loop.time(), loop.time() - due)

    def note(self, now: float, stall_s: float) -> None:
        """Note a stall that ended at `now`, by the loop's clock."""
        if stall_s > LOGGED_S:
            logger.warning("the event loop stood for %.1f s", stall_s)
        while self._stalls and self._stalls[-1][1] <= stall_s:
            self._stalls.pop()
        if stall_s >= _SHORTEST_S:
            self._stalls.append((now, stall_s))
        while self._stalls and self._stalls[0][0] <= now - HOUR_S:
            self._stalls.popleft()

    def longest_s(self, within_s: float, now: float) -> float:
        """Return the longest stall in the last `within_s` seconds (at most HOUR_S), 0.0 if there was none."""
        return next((stall_s for ended, stall_s in self._stalls if ended > now - within_s), 0.0)
