"""The rate of edits in one channel: Discord limits them per channel, over all answers that are streamed there."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

# Discord allows 5 edits in 5 s per channel, counted on arrival; the window is longer here since latencies vary.
# Snapshots use 4 of the 5, so that a finished answer does not have to wait.
EDIT_EVERY_S: Final = 1.4
MAX_EDITS: Final = 5
WINDOW_S: Final = 5.5
_MAX_KEPT: Final = 1000


class ChannelPace:
    """Spaces edits per channel: one snapshot every `every_s` seconds, finished answers as soon as Discord allows."""

    def __init__(
        self,
        *,
        every_s: float = EDIT_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._every_s = every_s
        self._clock = clock
        self._sleep = sleep
        self._edits: dict[int, deque[float]] = {}

    async def wait_turn(self, channel_id: int) -> None:
        """Wait until a snapshot may be shown in the channel."""
        await self._wait(channel_id, self._every_s)

    def take_turn(self, channel_id: int) -> bool:
        """Count a snapshot if it may be shown now; return whether it may."""
        if self._wait_s(channel_id, self._every_s) > 0:
            return False
        self._count(channel_id)
        return True

    async def wait_room(self, channel_id: int) -> None:
        """Wait until Discord allows another edit in the channel, mostly not at all, and count it."""
        await self._wait(channel_id, 0.0)
        self._count(channel_id)

    async def _wait(self, channel_id: int, every_s: float) -> None:
        # Turns are not reserved, so a waiting snapshot never delays a finished answer.
        while (wait := self._wait_s(channel_id, every_s)) > 0:
            await self._sleep(wait)

    def _count(self, channel_id: int) -> None:
        edits = self._edits.setdefault(channel_id, deque(maxlen=MAX_EDITS))
        edits.append(self._clock())
        if len(self._edits) > _MAX_KEPT:
            oldest = self._clock() - WINDOW_S
            self._edits = {kept: edits for kept, edits in self._edits.items() if edits[-1] > oldest}

    def _wait_s(self, channel_id: int, every_s: float) -> float:
        edits = self._edits.get(channel_id)
        if not edits:
            return 0.0
        next_turn = edits[-1] + every_s
        if len(edits) == MAX_EDITS:
            next_turn = max(next_turn, edits[0] + WINDOW_S)
        return next_turn - self._clock()
