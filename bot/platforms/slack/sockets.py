"""The sockets over which Slack sends events: watched, so that a silent or deaf one is noticed, and replaced."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.background import keep_running, run_in_background
from bot.platforms.slack.moments import Moment
from bot.platforms.slack.web_socket import WebSocket

logger = logging.getLogger(__name__)

NUM_SOCKETS: Final = 2
ASK_S: Final = 5.0
_LOOK_S: Final = 0.1
# A socket that hears nothing of so many events in a row, while the others hear them, is taken for deaf. Each event goes
# to a random one, but nobody promises that: where it is wrong, the number doubles.
_NUM_TURNS: Final = 12
_NUM_QUICK_LOOKS: Final = 4


@dataclass(frozen=True, slots=True)
class SocketTimings:
    """Delays in seconds.

    A socket is healthy while a sign of life is younger than twice `ping_s`. One that stays silent for `grace_s` longer
    is replaced. One that answers pings and hears no event for `look_s` is deaf if something was said meanwhile, more
    than `on_its_way_s` ago; after `quiet_s` without an event it is replaced in any case. Where Slack asks to wait
    before the next try, that is for at most `max_asked_s`.
    """

    ping_s: float = 10.0
    grace_s: float = 45.0
    look_s: float = 30.0
    on_its_way_s: float = 10.0
    quiet_s: float = 600.0
    close_s: float = 3.0
    connect_s: float = 20.0
    first_pause_s: float = 1.0
    max_pause_s: float = 20.0
    max_asked_s: float = 120.0

    def pause_before_look_s(self, num_looks: int) -> float:
        """Return how long after the last look at a socket without events, or the last event, the next look is.

        A look is at some channels only, so the first ones follow one another quickly; then they are as far apart as
        the first was from the last event.
        """
        return self.look_s / 3 if 0 < num_looks < _NUM_QUICK_LOOKS else self.look_s


class Sockets:
    """Keeps `num` sockets open; Slack sends each event to one of them.

    `lost` is called when events may be missing since a time (seconds since 1970), `opened` when a socket is open after
    that, or at first. `is_deaf` looks for messages that are older than so many seconds and were delivered by no socket.
    """

    def __init__(
        self,
        app: AsyncApp,
        app_token: str,
        client: AsyncWebClient,
        *,
        lost: Callable[[float], None],
        opened: Callable[[], Awaitable[None]],
        is_deaf: Callable[[float], Awaitable[bool]],
        num: int = NUM_SOCKETS,
        timings: SocketTimings | None = None,
    ) -> None:
        self._timings = timings or SocketTimings()
        self._is_deaf = is_deaf

        def connect() -> WebSocket:
            return WebSocket(app, app_token, client, ping_s=self._timings.ping_s, close_s=self._timings.close_s)

        self._slots = [
            _Slot(connect, heard=self._heard, lost=lost, opened=opened, timings=self._timings) for _ in range(num)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Open the sockets, and keep them open until `close`."""
        self._tasks = [keep_running(slot.run, "a socket to Slack") for slot in self._slots]
        self._tasks.append(keep_running(self._look, "looking for what no socket has delivered"))

    @property
    def num_healthy(self) -> int:
        """Return how many sockets have shown a sign of life lately."""
        return sum(slot.is_healthy for slot in self._slots)

    async def find_problem(self, limit_s: float = ASK_S) -> str:
        """Return one sentence if no socket shows a sign of life within `limit_s`, else ""."""
        until = time.monotonic() + limit_s
        while not self.num_healthy:
            if time.monotonic() >= until:
                return "No connection to Slack works; the bot tries to connect again."
            await asyncio.sleep(_LOOK_S)
        return ""

    async def close(self) -> None:
        """Close all sockets, within a few seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.close() for slot in self._slots))

    def _heard(self, hearing: "_Slot") -> None:
        """Count an event: it was the turn of one socket, not that of the others."""
        for slot in self._slots:
            if slot is hearing:
                slot.hears()
            else:
                slot.misses_turn()

    async def _look(self) -> None:
        """Look from time to time whether a socket without events is deaf. Runs until cancelled."""
        while True:
            await asyncio.sleep(self._timings.look_s / 6)
            quiet = [slot for slot in self._slots if slot.is_open and slot.is_due]
            if not quiet:
                continue
            for slot in quiet:
                slot.looked()
            if await self._is_deaf(self._timings.on_its_way_s):
                logger.warning("a socket to Slack is deaf and is replaced")
                # Those that hear something now are not; of the others it is not known which.
                for slot in self._slots:
                    if slot.quiet_s >= self._timings.on_its_way_s:
                        slot.replace()


class _Slot:
    """The place of one socket: opens it, watches it, and opens the next one before the last one is closed."""

    def __init__(
        self,
        connect: Callable[[], WebSocket],
        *,
        heard: Callable[["_Slot"], None],
        lost: Callable[[float], None],
        opened: Callable[[], Awaitable[None]],
        timings: SocketTimings,
    ) -> None:
        self._connect = connect
        self._heard = heard
        self._lost = lost
        self._opened = opened
        self._timings = timings
        self._socket: WebSocket | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._is_ending = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._looked_for = 0.0
        self._last_event = self._last_look = Moment()
        self._num_looks = 0
        self._num_missed = 0
        self._max_missed = _NUM_TURNS

    @property
    def is_open(self) -> bool:
        """Say whether there is a socket that nothing speaks against."""
        return self._socket is not None and not self._socket.is_over

    @property
    def is_healthy(self) -> bool:
        """Say whether the socket has shown a sign of life lately."""
        return self._socket is not None and self.is_open and self._socket.silent_s <= 2 * self._timings.ping_s

    @property
    def quiet_s(self) -> float:
        """Return for how many seconds the socket has heard no event."""
        return self._last_event.age_s

    @property
    def is_due(self) -> bool:
        """Say whether the socket has heard nothing for a while, and it is time to look why."""
        pause_s = self._timings.pause_before_look_s(self._num_looks)
        return self.quiet_s >= self._timings.look_s and self._last_look.age_s >= pause_s

    def looked(self) -> None:
        """Note that somebody looks now for what the socket may not have delivered."""
        self._last_look = Moment()
        self._num_looks += 1

    def hears(self) -> None:
        """Note an event."""
        self._last_event = Moment()
        self._num_looks = 0
        self._num_missed, self._max_missed = 0, _NUM_TURNS

    def misses_turn(self) -> None:
        """Note that another socket has heard an event."""
        self._num_missed += 1

    def replace(self) -> None:
        """Open another socket in place of this one."""
        if self._socket is not None:
            self._socket.end()

    async def run(self) -> None:
        """Keep a socket open until cancelled."""
        num_failures = 0
        while True:
            socket = self._connect()
            try:
                is_open = await socket.open(self._timings.connect_s, on_event=lambda: self._heard(self))
            except BaseException:
                # The program ends, or something unforeseen: what the socket holds is given back in any case.
                self._close_soon(socket)
                raise
            began = time.monotonic()
            if is_open:
                self._take(socket)
                await self._opened()
                await self._watch(socket)
                since = self._lost_since()
                self._lost(since)
                self._look_again(since)
            else:
                self._close_soon(socket)
            if is_open and time.monotonic() - began > self._timings.max_pause_s:
                num_failures = 0  # the next one may be opened at once
                continue
            pause_s = min(self._timings.max_pause_s, self._timings.first_pause_s * 2.0**num_failures)
            num_failures += 1
            asked_s = min(self._timings.max_asked_s, socket.retry_after_s)
            await asyncio.sleep(max(asked_s, pause_s * random.uniform(0.5, 1.0)))

    def _take(self, socket: WebSocket) -> None:
        """Let a new socket take the place of the last one."""
        self._lost(self._lost_since())
        previous, self._socket = self._socket, socket
        if previous is not None:
            self._close_soon(previous, after_s=self._timings.close_s)
        self._last_event = self._last_look = Moment()
        self._num_looks = 0
        self._num_missed = 0

    def _lost_since(self) -> float:
        """Return since when events may be missing: a deaf socket has delivered none after its last one."""
        return time.time() - min(self.quiet_s, self._timings.quiet_s)

    async def _watch(self, socket: WebSocket) -> None:
        """Return when the socket has ended, or has to be replaced."""
        limit_s = 2 * self._timings.ping_s + self._timings.grace_s
        while not socket.is_over:
            await socket.wait_until_over(min(1.0, self._timings.ping_s / 4))
            quiet_s = self.quiet_s
            if socket.silent_s > limit_s:
                logger.warning("a socket to Slack is silent and is replaced")
                socket.end()
            elif self._num_missed >= self._max_missed and quiet_s >= self._timings.look_s:
                self._max_missed *= 2
                socket.end()
            elif quiet_s >= self._timings.quiet_s:
                socket.end()

    def _look_again(self, since: float) -> None:
        """Let what was said be read back once more in a while: Slack may go on sending to a socket that is gone."""
        if self._looking is not None and not self._looking.done():
            self._looking.cancel()
            since = min(since, self._looked_for)
        self._looked_for = since

        async def look() -> None:
            await asyncio.sleep(self._timings.look_s)
            self._lost(since)
            await self._opened()

        self._looking = run_in_background(look(), "reading back once more after a lost socket")

    def _close_soon(self, socket: WebSocket, *, after_s: float = 0.0) -> None:
        """Close a socket in the background; what it has received is acknowledged on it within `after_s`.

        A submitted form takes longest: see `interactions.submitted`.
        """
        task = run_in_background(self._close_after(socket, after_s), "closing a socket to Slack")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_after(self, socket: WebSocket, after_s: float) -> None:
        if not socket.is_closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_ending.wait(), after_s)
        await socket.close()

    async def close(self) -> None:
        """Close the socket, and wait for those that are being closed."""
        self._is_ending.set()
        if self._looking is not None:
            self._looking.cancel()
        if self._socket is not None:
            self._close_soon(self._socket)
            self._socket = None
        if self._closing:
            await asyncio.wait(self._closing)
