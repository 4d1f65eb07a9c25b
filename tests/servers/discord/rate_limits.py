"""Discord's rate limits: on all requests of the bot in a second, and for each route in each channel."""

import math
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from tests.servers.discord.faults import route_kind

MOST_PER_S = 50
# What one channel, or one interaction's webhook, takes of a kind of request: how many in how many seconds. Discord
# publishes them only in its headers; these are as strict as anything seen.
ROUTE_LIMITS = {
    "send": (5, 5.0),
    "edit": (5, 5.0),
    "delete": (5, 1.0),
    "typing": (5, 5.0),
    "reaction": (1, 0.25),
    "read": (5, 1.0),
    "webhook": (5, 2.0),
}
_MAJOR = ("channel_id", "guild_id", "interaction_token", "webhook_token", "token")


@dataclass(slots=True)
class _Window:
    """A window begins with its first request and takes no more than `limit` until it ends."""

    limit: int
    ends_at: float
    num: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is let in, and what Discord's headers say; `scope` is empty, `user` or `global`."""

    limit: int
    remaining: int
    reset_after_s: float
    bucket: str
    scope: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{time.time() + self.reset_after_s:.3f}",
            # Rounded up, so that who waits that long does not come too early.
            "X-RateLimit-Reset-After": f"{math.ceil(self.reset_after_s * 1000) / 1000:.3f}",
            "X-RateLimit-Bucket": self.bucket,
        }


class RateLimits:
    """Lets requests in or refuses them. `most_seen` is the largest number that arrived in one second, also refused."""

    def __init__(self, *, max_per_s: int | None, limits_routes: bool) -> None:
        self.max_per_s = max_per_s
        self.limits_routes = limits_routes
        self.num_refused: Counter[str] = Counter()
        self.most_seen = 0
        self._let_in: deque[float] = deque()
        self._seen: deque[float] = deque()
        self._windows: dict[tuple[str, ...], _Window] = {}

    def enter(self, method: str, template: str, params: Mapping[str, str]) -> Verdict:
        """Let a request in that arrives now, or refuse it."""
        now = time.monotonic()
        bucket = f"{abs(hash((method, template))):016x}"
        kind = route_kind(method, template)
        if kind == "callback":
            # Discord does not count the first answer to an interaction.
            return Verdict(1000, 999, 1.0, bucket)
        wait_s = self._wait_of_all_s(now)
        if wait_s > 0:
            self.num_refused["global"] += 1
            return Verdict(1000, 999, wait_s, bucket, "global")
        if not self.limits_routes or kind not in ROUTE_LIMITS:
            self._let_in.append(now)
            return Verdict(1000, 999, 1.0, bucket)
        limit, duration_s = ROUTE_LIMITS[kind]
        key = (bucket, *(params[name] for name in _MAJOR if name in params))
        window = self._windows.get(key)
        if window is None or window.ends_at <= now:
            window = self._windows[key] = _Window(limit, now + duration_s)
        if window.num >= window.limit:
            self.num_refused["user"] += 1
            return Verdict(limit, 0, window.ends_at - now, bucket, "user")
        window.num += 1
        self._let_in.append(now)
        return Verdict(limit, window.limit - window.num, window.ends_at - now, bucket)

    def _wait_of_all_s(self, now: float) -> float:
        """Return how long the limit on all requests lasts; 0 lets the request in."""
        self._seen.append(now)
        for times in (self._seen, self._let_in):
            while times and times[0] <= now - 1:
                times.popleft()
        self.most_seen = max(self.most_seen, len(self._seen))
        if self.max_per_s is None or len(self._let_in) < self.max_per_s:
            return 0.0
        return self._let_in[0] + 1 - now
