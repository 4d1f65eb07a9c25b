"""How often the messages of one channel may be edited: Discord limits each channel, whoever streams there."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

# Discord takes 5 edits in 5 s for each channel, counted when they arrive: requests are not all equally long on the way.
# Snapshots use 4 of them, so that a finished answer need not wait.
EDIT_EVERY_S: Final = 1.4
MAX_EDITS: Final = 5
WINDOW_S: Final = 5.5
_MAX_KEPT: Final = 1000


class ChannelPace:
    """Gives turns to edit: snapshots one in `every_s` seconds for each channel, finished answers as Discord allows."""

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
        """Wait until a snapshot may be shown in the channel, and take that turn."""
        await self._wait(channel_id, self._every_s)

    async def wait_room(self, channel_id: int) -> None:
        """Wait until Discord takes another edit in the channel, which is mostly at once."""
        await self._wait(channel_id, 0.0)

    async def _wait(self, channel_id: int, every_s: float) -> None:
        # Nobody reserves a turn to come: who waits for a snapshot never stands before a finished answer.
        while (wait := self._wait_s(channel_id, every_s)) > 0:
            await self._sleep(wait)
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
