"""The limit on all requests of this process to Discord: how many a second, and in which order.

Discord allows a bot 50 requests a second over all routes. Its windows count what arrives there, so a rate measured
where requests leave, such as that of a leaky bucket, does not keep to them: a slow connection or a busy machine moves
requests together. Here a request counts from its start until one second after its response, and so covers the moment of
its arrival: no second at Discord ever sees more than `max_per_s`. After a 429 that comes nevertheless, the requests
that its pause is for wait here too (pauses.py).
"""

import asyncio
import json
import logging
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace
from typing import Final

import aiohttp
from discord.http import Route
from yarl import URL

from bot.platforms.discord.outgoing.invalid_requests import InvalidRequests
from bot.platforms.discord.outgoing.pauses import EVERYTHING, Pauses, StillLimited

logger = logging.getLogger(__name__)

# Discord's limit is 50; the rest is for another program with the same token, such as this one with --invite.
MAX_PER_S: Final = 45
SECOND_S: Final = 1.0
# A request that gets no response in this time has arrived or never will.
_MAX_ARRIVAL_S: Final = 2.0
# A snapshot that was given its turn starts at once, or discord.py lets it wait for the limit of its route.
_TURN_S: Final = 0.5
# Who has to wait longer than this for the end of a pause is told so at once.
_MAX_WAIT_S: Final = 15.0
# A 429 that names no time: from a proxy in front of Discord.
_PAUSE_S: Final = 1.0

_CALLBACK: Final = re.compile(r"/interactions/[^/]+/[^/]+/callback")
_ID: Final = re.compile(r"/(?:\d+|[^/]{40,})(?=/|$)")
# The part of a path that has a limit of its own: a channel, a server, or a webhook with its token.
_MAJOR: Final = re.compile(r"/(?:channels|guilds)/[^/]+|/webhooks/[^/]+(?:/[^/]{40,})?")


class Priority(IntEnum):
    """What comes first while requests wait; a snapshot or typing indicator without room is left out instead."""

    ANSWER = 0
    FINAL_EDIT = 1  # and all others: reading, commands, reactions, deletions
    SNAPSHOT = 2
    TYPING = 3


# The share of the limit up to which each may fill it, so that the more important find room at once.
_SHARES: Final = {Priority.ANSWER: 1.0, Priority.FINAL_EDIT: 0.9, Priority.SNAPSHOT: 0.6, Priority.TYPING: 0.4}


class RequestLeftOut(Exception):
    """An optional request that was not sent: more important ones have filled the limit."""


@dataclass(slots=True, eq=False)
class Slot:
    """One request in the limit; `counts_until` is in seconds of the clock."""

    counts_until: float


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A request that waits for its slot; `route` names what a pause may be for."""

    route: str
    slot: asyncio.Future[Slot]
    # A snapshot is not sent at once, and perhaps never: others would wait for it.
    may_go_ahead: bool


@dataclass(slots=True, eq=False)
class Snapshot:
    """The requests that show one snapshot. `has_left` says whether one of them was sent."""

    slot: Slot | None = None
    has_left: bool = False


_shown: ContextVar[Snapshot | None] = ContextVar("_shown", default=None)


@contextmanager
def showing(snapshot: Snapshot) -> Iterator[None]:
    """Let the requests of the block, and of the tasks started in it, be those of `snapshot`."""
    token = _shown.set(snapshot)
    try:
        yield
    finally:
        _shown.reset(token)


class RequestLimit:
    """The limit on the requests of this process to Discord; one for all clients with the same token.

    Give `trace()` to a client as `http_trace`: each request then waits for its turn just before it is sent, also those
    that discord.py makes or repeats by itself. Only the answers to Discord's interactions that must come within 3 s do
    not wait; Discord does not count them.
    """

    def __init__(self, *, max_per_s: int = MAX_PER_S, invalid: InvalidRequests | None = None) -> None:
        self.invalid = invalid or InvalidRequests()
        self.num_sent = 0
        self.num_left_out = 0
        self._rooms = {priority: max(1, int(max_per_s * share)) for priority, share in _SHARES.items()}
        self._slots: set[Slot] = set()
        self._waiting: dict[Priority, deque[_Turn]] = {priority: deque() for priority in Priority}
        self._pauses = Pauses()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def num_waiting(self) -> int:
        """Return how many requests wait for their turn."""
        return sum(map(len, self._waiting.values()))

    def trace(self, *, logs: bool = True) -> aiohttp.TraceConfig:
        """Return the trace that lets every request of an HTTP session wait, and counts the refused ones.

        Without `logs` a 429 is only counted: whoever asks says itself what happened.
        """

        async def start(_: object, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
            context.slot = await self._enter(params.method, params.url)

        async def end(_: object, context: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
            response = params.response
            if response.status == 429:
                await self._pause(params.method, params.url, response)
            self._leave(context.slot, is_answered=True)
            scope = response.headers.get("X-RateLimit-Scope", "")
            route = _route_of(params.method, params.url)
            self.invalid.note(response.status, scope=scope, route=route, logs=logs)

        async def fail(_: object, context: SimpleNamespace, __: aiohttp.TraceRequestExceptionParams) -> None:
            self._leave(context.slot, is_answered=False)

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(start)
        trace.on_request_end.append(end)
        trace.on_request_exception.append(fail)
        return trace

    async def wait_for_snapshot(self) -> Snapshot:
        """Return a snapshot as soon as there is room for its first request, which should start at once."""
        slot = await self._wait(Priority.SNAPSHOT, EVERYTHING, may_go_ahead=False)
        slot.counts_until = time.monotonic() + _TURN_S
        return Snapshot(slot)

    def give_back(self, snapshot: Snapshot) -> None:
        """Take back the room of a snapshot that is not shown."""
        if snapshot.slot is not None:
            self._slots.discard(snapshot.slot)
            snapshot.slot = None
            self._let_in()

    async def _enter(self, method: str, url: URL) -> Slot | None:
        """Wait until a request may be sent.

        Raises RequestLeftOut for an optional one without room, and StillLimited during a long pause.
        """
        snapshot = _shown.get()
        if not _is_counted(url):
            if snapshot is not None:
                snapshot.has_left = True
            return None
        priority = _priority_of(method, url) if snapshot is None else Priority.SNAPSHOT
        route = _paused_route_of(method, url)
        if priority >= Priority.SNAPSHOT:
            slot = None if self.invalid.is_near_limit else self._take_now(priority, route, snapshot)
            if slot is None:
                self.num_left_out += 1
                raise RequestLeftOut
            self._pauses.go_ahead(route, slot)
        else:
            slot = await self._wait(priority, route)
        if snapshot is not None:
            snapshot.has_left = True
        self.num_sent += 1
        slot.counts_until = time.monotonic() + _MAX_ARRIVAL_S + SECOND_S
        return slot

    def _take_now(self, priority: Priority, route: str, snapshot: Snapshot | None) -> Slot | None:
        """Return the room that the snapshot was given, or free room, if there is any."""
        num_open = self._count_open()
        if self._pauses.holds_until(route):
            return None
        if snapshot is not None and snapshot.slot is not None:
            slot, snapshot.slot = snapshot.slot, None
            if slot in self._slots:
                return slot
        is_behind = any(self._waiting[other] for other in Priority if other <= priority)
        return None if is_behind or num_open >= self._rooms[priority] else self._add()

    async def _wait(self, priority: Priority, route: str, *, may_go_ahead: bool = True) -> Slot:
        while True:
            slot = await self._next_turn(
                priority, _Turn(route, asyncio.get_running_loop().create_future(), may_go_ahead)
            )
            if self._pauses.may_go(route, slot):
                return slot
            # A pause began between its turn and now.
            self._slots.discard(slot)

    async def _next_turn(self, priority: Priority, turn: _Turn) -> Slot:
        self._waiting[priority].append(turn)
        self._let_in()
        try:
            return await turn.slot
        except asyncio.CancelledError:
            if turn.slot.cancelled():
                # `_let_in` may have passed over it already.
                with suppress(ValueError):
                    self._waiting[priority].remove(turn)
            elif turn.slot.exception() is None:
                self._slots.discard(turn.slot.result())
                self._pauses.failed(turn.slot.result())
            self._let_in()
            raise

    def _leave(self, slot: Slot | None, *, is_answered: bool) -> None:
        """Note that a request has been answered, or has failed."""
        if slot is not None:
            slot.counts_until = min(slot.counts_until, time.monotonic() + SECOND_S)
            if is_answered:
                self._pauses.answered(slot)
            else:
                self._pauses.failed(slot)
            self._let_in()

    async def _pause(self, method: str, url: URL, response: aiohttp.ClientResponse) -> None:
        """Begin the pause that a 429 asks for."""
        if _path_of(url) is None:  # a file
            return
        wait_s = await _retry_after_s(response)
        if _is_for_everything(response):
            if wait_s >= SECOND_S:
                logger.warning("Discord asks for a pause of %.0f s of all requests", wait_s)
            self._pauses.begin(EVERYTHING, wait_s)
        else:
            self._pauses.begin(_paused_route_of(method, url), wait_s)

    def _let_in(self) -> None:
        """Give the free room to those that wait, the most important first, and look again when more is free."""
        num_open = self._count_open()
        for priority, queue in self._waiting.items():
            paused = []
            while queue and num_open < self._rooms[priority]:
                turn = queue.popleft()
                if turn.slot.done():
                    continue
                if self._is_paused(turn):
                    paused.append(turn)
                    continue
                slot = self._add()
                self._pauses.go_ahead(turn.route, slot)
                turn.slot.set_result(slot)
                num_open += 1
            is_full = bool(queue)
            queue.extendleft(turn for turn in reversed(paused) if not turn.slot.done())
            if is_full:
                break
        self._look_again()

    def _is_paused(self, turn: _Turn) -> bool:
        """Say whether a request has to wait for the end of a pause; end its waiting if that is far away."""
        if not turn.may_go_ahead:
            return self._pauses.has_begun(turn.route)
        wait_s = self._pauses.holds_until(turn.route) - time.monotonic()
        if wait_s > _MAX_WAIT_S:
            turn.slot.set_exception(StillLimited(wait_s))
        return wait_s > 0

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [slot.counts_until for slot in self._slots]
        if (next_change := self._pauses.next_change()) is not None:
            times.append(next_change)
        if times and self.num_waiting:
            wait_s = min(times) - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._let_in)

    def _add(self) -> Slot:
        slot = Slot(time.monotonic() + _MAX_ARRIVAL_S + SECOND_S)
        self._slots.add(slot)
        return slot

    def _count_open(self) -> int:
        now = time.monotonic()
        self._slots = {slot for slot in self._slots if slot.counts_until > now}
        return len(self._slots)


def _is_counted(url: URL) -> bool:
    """Say whether Discord counts the request: not the first answer to an interaction, the gateway, or a file."""
    path = _path_of(url)
    return path is not None and not _CALLBACK.fullmatch(path)


def _path_of(url: URL) -> str | None:
    """Return the path below the base of Discord's API, None for another address."""
    base = URL(Route.BASE)
    is_api = url.host == base.host and url.port == base.port and url.path.startswith(base.path)
    return url.path[len(base.path) :] if is_api else None


def _priority_of(method: str, url: URL) -> Priority:
    path = _path_of(url) or ""
    if path.endswith("/typing"):
        return Priority.TYPING
    is_new = method == "POST" and path.endswith("/messages")
    # What shows the answer to an interaction for the first time is an edit or a new message of its webhook.
    return Priority.ANSWER if is_new or path.startswith("/webhooks/") else Priority.FINAL_EDIT


def _route_of(method: str, url: URL) -> str:
    """Return the route for the log, without ids and tokens."""
    return f"{method} {_ID.sub('/…', _path_of(url) or url.path)}"


def _paused_route_of(method: str, url: URL) -> str:
    """Return what Discord limits a request by: its route, and in it only the channel, server or webhook."""
    path = _path_of(url) or ""
    major = _MAJOR.match(path)
    start = major.end() if major else 0
    return f"{method} {path[:start]}{_ID.sub('/…', path[start:])}"


def _is_for_everything(response: aiohttp.ClientResponse) -> bool:
    """Say whether a 429 is for all requests: by Discord's own limit, or, without Via, by the proxy in front of it."""
    headers = response.headers
    is_global = headers.get("X-RateLimit-Scope") == "global" or headers.get("X-RateLimit-Global") == "true"
    return is_global or not headers.get("Via")


async def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    """Return for how long a 429 asks to wait; its body is more exact than its header."""
    try:
        told = json.loads(await response.read())["retry_after"]
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, LookupError, TypeError):
        told = response.headers.get("Retry-After")
    try:
        return float(told)
    except (ValueError, TypeError):
        return _PAUSE_S
