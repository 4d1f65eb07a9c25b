"""Discord's invalid request limit: it bans an IP address after too many 401, 403 and 429 responses in ten minutes."""

import time
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

import aiohttp

# The number of invalid requests in ten minutes at which Discord bans an address.
MAX_REQUESTS: Final = 10_000
WINDOW_S: Final = 600.0
_NEAR: Final = 0.8
_INVALID: Final = frozenset({401, 403, 429})


class InvalidRequests:
    """Counts the 401, 403 and 429 responses of the last ten minutes."""

    def __init__(self, *, max_requests: int = MAX_REQUESTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = int(max_requests * _NEAR)
        self._clock = clock
        self._times: deque[float] = deque()

    @property
    def num_recent(self) -> int:
        """Return the number in the last ten minutes."""
        self._forget()
        return len(self._times)

    @property
    def is_near_limit(self) -> bool:
        """Say whether optional requests should be left out."""
        return self.num_recent >= self._limit

    def note(self, status: int, *, scope: str = "") -> None:
        """Count a response; a 429 of a limit shared with other bots does not count."""
        if status in _INVALID and scope != "shared":
            self._times.append(self._clock())
            self._forget()

    def trace(self) -> aiohttp.TraceConfig:
        """Return the trace with which an HTTP session reports every response, also those to discord.py's retries."""

        async def note_end(_: object, __: SimpleNamespace, end: aiohttp.TraceRequestEndParams) -> None:
            self.note(end.response.status, scope=end.response.headers.get("X-RateLimit-Scope", ""))

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(note_end)
        return trace

    def _forget(self) -> None:
        oldest = self._clock() - WINDOW_S
        while self._times and self._times[0] < oldest:
            self._times.popleft()
