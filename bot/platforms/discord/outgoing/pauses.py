"""The pauses that Discord asks for with a 429: each is kept by all requests it is for, and ended by one of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# A longer pause than any that Discord asks for is a mistake.
_MAX_PAUSE_S: Final = 86_400.0
# The request that goes ahead is given up after this, and the next one goes.
_MAX_PROBE_S: Final = 15.0
_MAX_KEPT: Final = 1000

# The route of a pause that is for all requests of this process.
EVERYTHING: Final = ""


class StillLimited(OSError):
    """A request was not sent, since Discord has asked for a pause of `retry_after` more seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"Discord has asked for a pause of {retry_after:.0f} more seconds")


@dataclass(slots=True)
class _Pause:
    """One pause; `probe` is the request that has gone ahead since its end, times are those of the clock."""

    ends_at: float
    probe: object | None = None
    probe_ends_at: float = 0.0

    def holds_until(self, now: float) -> float:
        """Return until when nothing may be sent, 0.0 if one request may go ahead."""
        if now < self.ends_at:
            return self.ends_at
        return self.probe_ends_at if self.probe is not None and now < self.probe_ends_at else 0.0


class Pauses:
    """The pauses of all routes, and of everything.

    A pause does not end by its time alone: others would be sent at once that Discord may refuse again, each counting
    towards its ban. One request goes ahead; only if it is let in may the others follow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pauses: dict[str, _Pause] = {}

    def begin(self, route: str, wait_s: float) -> None:
        """Let no request to `route` go for `wait_s`, or as long as an earlier pause lasts."""
        ends_at = self._clock() + min(max(0.0, wait_s), _MAX_PAUSE_S)
        pause = self._pauses.pop(route, None)
        self._pauses[route] = _Pause(max(ends_at, pause.ends_at if pause else 0.0))
        if len(self._pauses) > _MAX_KEPT:
            now = self._clock()
            self._pauses = {kept: one for kept, one in self._pauses.items() if one.holds_until(now)}

    def holds_until(self, route: str) -> float:
        """Return the time until which a request to `route` has to wait, 0.0 if it may go."""
        now = self._clock()
        return max((pause.holds_until(now) for pause in self._of(route)), default=0.0)

    def has_begun(self, route: str) -> bool:
        """Say whether there is a pause that no request to `route` has ended yet."""
        return bool(self._of(route))

    def may_go(self, route: str, request: object) -> bool:
        """Say whether `request`, whose turn it is, may still be sent: no pause has started since."""
        now = self._clock()
        return all(pause.probe is request or not pause.holds_until(now) for pause in self._of(route))

    def go_ahead(self, route: str, request: object) -> None:
        """Let `request` find out for all others whether the pauses of its route have ended."""
        for pause in self._of(route):
            pause.probe, pause.probe_ends_at = request, self._clock() + _MAX_PROBE_S

    def answered(self, request: object) -> None:
        """End the pauses for which `request` went ahead, but for those that its own answer began again."""
        self._pauses = {route: pause for route, pause in self._pauses.items() if pause.probe is not request}

    def failed(self, request: object) -> None:
        """Let another request go ahead: `request` got no answer, or was not sent."""
        for pause in self._pauses.values():
            if pause.probe is request:
                pause.probe = None

    def next_change(self) -> float | None:
        """Return when the next request may go ahead, as far as time alone decides."""
        now = self._clock()
        return min(filter(None, (pause.holds_until(now) for pause in self._pauses.values())), default=None)

    def _of(self, route: str) -> list[_Pause]:
        return [self._pauses[key] for key in {EVERYTHING, route} if key in self._pauses]
