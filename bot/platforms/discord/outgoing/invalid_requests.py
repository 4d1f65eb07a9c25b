"""Discord's invalid request limit: it bans an IP address after too many 401, 403 and 429 responses in ten minutes."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

# The number of invalid requests in ten minutes at which Discord bans an address.
MAX_REQUESTS: Final = 10_000
WINDOW_S: Final = 600.0
_NEAR: Final = 0.5
_INVALID: Final = frozenset({401, 403, 429})
_LOG_EVERY_S: Final = 10.0


class InvalidRequests:
    """Counts the 401, 403 and 429 responses of the last ten minutes, and logs the 429s."""

    def __init__(self, *, max_requests: int = MAX_REQUESTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = int(max_requests * _NEAR)
        self._clock = clock
        self._times: deque[float] = deque()
        self._num_limited = 0
        self._logged_at = -_LOG_EVERY_S
        self._is_told = False

    @property
    def num_recent(self) -> int:
        """Return the number in the last ten minutes."""
        self._forget()
        return len(self._times)

    @property
    def is_near_limit(self) -> bool:
        """Say whether optional requests should be left out."""
        return self.num_recent >= self._limit

    def note(self, status: int, *, scope: str = "", route: str = "", logs: bool = True) -> None:
        """Count a response; a 429 of a limit shared with other bots does not count."""
        if status not in _INVALID:
            return
        if scope != "shared":
            self._times.append(self._clock())
            self._forget()
        if status == 429 and logs:
            self._log_limited(scope, route)
        if self.is_near_limit and not self._is_told:
            logger.error(
                "%d requests to Discord were refused in ten minutes; at %d it bans this address. Until fewer are,"
                " answers are not shown while they are written, and typing and reactions are left out.",
                self.num_recent,
                MAX_REQUESTS,
            )
        self._is_told = self.is_near_limit

    def _log_limited(self, scope: str, route: str) -> None:
        self._num_limited += 1
        now = self._clock()
        if now - self._logged_at < _LOG_EVERY_S:
            return
        logger.warning(
            "Discord answered %d requests with 429, the last one %s (%s); %d refused requests in ten minutes",
            self._num_limited,
            route or "of an unknown route",
            scope or "no scope",
            self.num_recent,
        )
        self._logged_at, self._num_limited = now, 0

    def _forget(self) -> None:
        oldest = self._clock() - WINDOW_S
        while self._times and self._times[0] < oldest:
            self._times.popleft()
