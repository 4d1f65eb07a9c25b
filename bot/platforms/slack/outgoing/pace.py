"""The rate of requests: Slack limits posts per channel, and each method per workspace and minute."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

_MAX_KEPT: Final = 2000


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `num` requests in any `span_s` seconds."""

    num: int
    span_s: float


# Slack allows about one post a second in a channel.
POSTS: Final = Limit(1, 1.05)
# 50 a minute in a workspace; evenly, so that the end of an answer never waits for long.
UPDATES: Final = Limit(1, 1.25)
APPENDS_TO_ONE: Final = Limit(1, 1.0)
# Slack allows 20, 50 and 100 a minute. Requests arrive later than they leave, so where many leave at once, those of one
# more span may arrive in a minute; histories are read one after another. What an earlier run has asked for is unknown.
SLOW: Final = Limit(4, 15.0)
MEDIUM: Final = Limit(20, 31.0)
QUICK: Final = Limit(20, 15.0)
OF_METHOD: Final = {
    "chat_startStream": SLOW,
    "chat_stopStream": SLOW,
    "chat_appendStream": QUICK,
    "chat_delete": MEDIUM,
    "conversations_history": MEDIUM,
    "conversations_replies": MEDIUM,
    "conversations_info": MEDIUM,
    "conversations_open": MEDIUM,
    "files_delete": MEDIUM,
    "files_info": QUICK,
    "users_conversations": MEDIUM,
    "users_info": QUICK,
    "reactions_add": MEDIUM,
    "usergroups_list": SLOW,
}


class Pace:
    """Spaces requests with the same key, in the order in which they ask."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._turns: dict[Hashable, deque[float]] = {}
        self._spans: dict[Hashable, float] = {}

    def now(self) -> float:
        """Return the time in seconds, of a clock that only moves forward."""
        return self._clock()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await self._sleep(seconds)

    async def wait(self, key: Hashable, limit: Limit) -> None:
        """Wait for the next turn of `key`, and take it."""
        wait_s = self.wait_s(key, limit)
        turns = self._turns.setdefault(key, deque())
        self._spans[key] = limit.span_s
        turns.append(self._clock() + wait_s)
        while len(turns) > limit.num:
            turns.popleft()
        if len(self._turns) > _MAX_KEPT:
            self._forget_past()
        if wait_s > 0:
            await self._sleep(wait_s)

    def _forget_past(self) -> None:
        """Forget the turns that no request has to wait for."""
        now = self._clock()
        self._turns = {key: turns for key, turns in self._turns.items() if turns[-1] > now - self._spans[key]}
        self._spans = {key: self._spans[key] for key in self._turns}

    async def wait_for_method(self, team: str, method: str) -> None:
        """Wait until `method` (as `chat_update`) may be called in a workspace."""
        if (limit := OF_METHOD.get(method)) is not None:
            await self.wait((method, team), limit)

    def wait_s(self, key: Hashable, limit: Limit) -> float:
        """Return for how many seconds a request with `key` would have to wait."""
        turns = self._turns.get(key)
        if not turns:
            return 0.0
        earliest = turns[-1] if len(turns) < limit.num else turns[-limit.num] + limit.span_s
        return max(0.0, earliest - self._clock())
