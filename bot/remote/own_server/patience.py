"""How long and how often one request waits for a server that is away."""

import asyncio
import time
from typing import Final

from bot.errors import Unavailable
from bot.remote.own_server.connection import ServerAway

_FIRST_PAUSE_S: Final = 0.05
_MAX_PAUSE_S: Final = 1.0
# A request that is being answered each time the server dies may be what it dies of.
_MAX_DEATHS: Final = 5


class Patience:
    """The waits of one request. It gives up `limit_s` after its start, or after the server was last heard."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since = time.perf_counter()
        self._pause_s = 0.0
        self._num_deaths = 0

    @property
    def left_s(self) -> float:
        """Return how many seconds are left."""
        return max(0.0, self._since + self._limit_s - time.perf_counter())

    def hear(self, *, restarts_clock: bool) -> None:
        """Note that the server answers."""
        self._pause_s = 0.0
        if restarts_clock:
            self._since = time.perf_counter()

    async def wait(self, away: ServerAway, given_up: asyncio.Event | None = None) -> None:
        """Wait a moment, or until `given_up`. Raises Unavailable when the time is over."""
        self._num_deaths += away.was_accepted
        if self._num_deaths >= _MAX_DEATHS:
            raise Unavailable(
                f"The model's server was lost {self._num_deaths} times while it worked on this. Try again later."
            ) from away
        if self.left_s <= self._pause_s:
            raise Unavailable("The model's server is away. Try again in a minute.") from away
        try:
            async with asyncio.timeout(self._pause_s):
                await (given_up or asyncio.Event()).wait()
        except TimeoutError:
            pass
        self._pause_s = min(_MAX_PAUSE_S, max(_FIRST_PAUSE_S, self._pause_s * 2))
