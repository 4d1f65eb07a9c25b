"""How often the messages of one channel may be edited: Discord limits each channel, whoever streams there."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

EDIT_EVERY_S: Final = 1.2
_MAX_KEPT: Final = 1000


class ChannelPace:
    """Gives turns to edit, at most one in `every_s` seconds for each channel."""

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
        self._next: dict[int, float] = {}

    async def wait_turn(self, channel_id: int) -> None:
        """Wait until the channel may be edited again."""
        wait = self._take(channel_id)
        if wait > 0:
            await self._sleep(wait)

    def note(self, channel_id: int) -> None:
        """Count an edit that could not wait."""
        self._take(channel_id)

    def _take(self, channel_id: int) -> float:
        now = self._clock()
        if len(self._next) > _MAX_KEPT:
            self._next = {kept: at for kept, at in self._next.items() if at > now}
        at = max(now, self._next.get(channel_id, now))
        self._next[channel_id] = at + self._every_s
        return at - now
