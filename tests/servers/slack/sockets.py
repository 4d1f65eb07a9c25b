"""Socket Mode: several sockets an app, each event to one of them; refreshes, silences, redeliveries."""

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import ClientConnectionResetError, WSMsgType, web

from tests.servers.slack.clock import Clock
from tests.servers.slack.objects import App, Event, Installation
from tests.servers.slack.world import World

MOST_SOCKETS, TICKET_LIFE_S = 10, 30.0
Json = dict[str, Any]
Outcome = Literal["acknowledged", "timeout", "no_socket", "socket_ended", "silent"]
Loss = Literal["cut", "close", "warning", "refresh_requested", "link_disabled", "silent", "deaf", "black_hole"]
STAY_OPEN = ("silent", "deaf", "black_hole")


@dataclass(eq=False)
class Delivery:
    """One envelope; `acknowledged` gets the payload that came back."""

    envelope: Json
    acknowledged: asyncio.Future[Any]
    sent_at: float = 0.0


@dataclass(eq=False)
class Socket:
    """One websocket of an app. `is_silent`: events sent to it are lost; it may answer pings all the same."""

    app: App
    web_socket: web.WebSocketResponse
    request: web.Request
    ended: asyncio.Future[None]
    is_ready: bool = False
    is_silent: bool = False
    answers_pings: bool = True
    is_leaving: bool = False
    opened_at: float = field(default_factory=time.monotonic)
    last_pong_at: float = 0.0
    num_sent: int = 0

    def cut(self) -> None:
        """End the connection without a close frame."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def send(self, payload: Json) -> None:
        await self.web_socket.send_str(json.dumps(payload))


class Sockets:
    """Accepts sockets, delivers events and interactions, and misbehaves on request.

    `retry_delays_s` are the pauses before an event that was not acknowledged comes again, by the stand-in's clock;
    empty, such an event is lost. `redelivery_probability` lets acknowledged events come a second time.
    """

    def __init__(self, world: World, clock: Clock, broken: list[str], *, seed: int = 0) -> None:
        self.world, self.clock, self.broken = world, clock, broken
        self.rng = random.Random(seed)
        self.url = ""
        self.ack_timeout_s = 3.0
        self.ping_interval_s = 10.0
        self.retry_delays_s: tuple[float, ...] = (0.0, 60.0, 300.0)
        self.redelivery_probability = 0.0
        self.black_hole_s = 30.0
        self.is_refusing = False
        self.open: list[Socket] = []
        self.num_opened = 0
        self.num_refused = 0
        self.outcomes: Counter[str] = Counter()
        self.num_redelivered = 0
        self.lost_events: list[Json] = []
        self.ack_times_s: list[float] = []
        self._tickets: dict[str, tuple[App, float]] = {}
        self._pending: dict[str, Delivery] = {}
        self._num_undelivered = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # The protocol

    def issue_url(self, app: App) -> str:
        """Return the address of a socket that one connection may use."""
        ticket = uuid.uuid4().hex
        self._tickets[ticket] = (app, self.clock.now())
        return f"{self.url}/link/?ticket={ticket}&app_id={app.id}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one websocket from hello to its end."""
        if self.is_refusing:
            self.num_refused += 1
            return web.Response(status=503)
        app, issued_at = self._tickets.pop(request.query.get("ticket", ""), (None, 0.0))
        if app is None or self.clock.now() - issued_at > TICKET_LIFE_S:
            self.num_refused += 1
            return web.Response(status=403)
        # Pings are answered below, so that a socket can stop doing so.
        web_socket = web.WebSocketResponse(autoping=False, max_msg_size=0)
        await web_socket.prepare(request)
        socket = Socket(app, web_socket, request, asyncio.get_running_loop().create_future())
        pinging = asyncio.create_task(self._ping(socket))
        try:
            if await self._greet(socket):
                await self._listen(socket)
        except ConnectionError:
            pass
        finally:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
            if socket in self.open:
                self.open.remove(socket)
            if not socket.ended.done():
                socket.ended.set_result(None)
            self.world.touch()
        return web_socket

    async def _greet(self, socket: Socket) -> bool:
        """Say hello; return whether the socket may stay."""
        if not socket.app.is_socket_mode_on:
            await socket.send(_disconnect("link_disabled"))
            await socket.web_socket.close()
            return False
        self.open.append(socket)
        mine = self.of(socket.app)
        for old in mine[: len(mine) - MOST_SOCKETS]:
            old.is_leaving = True
            await old.send(_disconnect("too_many_websockets"))
            self._start(self._close_later(old, 0.0))
        hello = {"type": "hello", "num_connections": len(mine), "connection_info": {"app_id": socket.app.id}}
        debug = {"host": "applink-stand-in", "build_number": 1, "approximate_connection_time": 18060}
        await socket.send(hello | {"debug_info": debug})
        socket.is_ready = True
        self.num_opened += 1
        self.world.touch()
        return True

    async def _listen(self, socket: Socket) -> None:
        async for message in socket.web_socket:
            if message.type is WSMsgType.PING:
                if socket.answers_pings:
                    await socket.web_socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                socket.last_pong_at = time.monotonic()
            elif message.type is WSMsgType.TEXT:
                self._received(message.data)
            else:
                return

    def _received(self, text: str) -> None:
        try:
            message = json.loads(text)
            envelope_id = message["envelope_id"]
        except (ValueError, KeyError, TypeError):
            self.broken.append(f"socket: {text[:100]!r} is no acknowledgement")
            return
        delivery = self._pending.get(envelope_id)
        if delivery is None or delivery.acknowledged.done():
            return
        payload = message.get("payload")
        if payload and not delivery.envelope["accepts_response_payload"]:
            self.broken.append(f"socket: {delivery.envelope['type']} takes no payload in its acknowledgement")
        delivery.acknowledged.set_result(payload)
        self.ack_times_s.append(time.monotonic() - delivery.sent_at)

    async def _ping(self, socket: Socket) -> None:
        while True:
            await asyncio.sleep(self.ping_interval_s)
            if not socket.is_silent:
                await socket.web_socket.ping(b"Ping from applink-stand-in")

    # Faults that tests cause

    def of(self, app: App | None = None) -> list[Socket]:
        """Return the open sockets of an app, or all."""
        return [socket for socket in self.open if app is None or socket.app is app]

    async def lose(self, how: Loss = "cut", app: App | None = None) -> list[Socket]:
        """Let every open socket fail, and return them.

        cut: without a close frame; close: with one; warning, refresh_requested and link_disabled: Slack says so, then
        closes; silent: nothing comes any more; deaf: pings are answered, but no event comes; black_hole: neither end
        learns anything of the other, and Slack goes on sending into it for `black_hole_s`.
        """
        lost = self.of(app)
        for socket in lost:
            # From now on, so that nobody takes this socket for the next one.
            socket.is_leaving = how not in STAY_OPEN
            if how == "cut":
                socket.cut()
            elif how == "close":
                self._start(self._close_later(socket, 0.0))
            elif how in STAY_OPEN:
                socket.is_silent, socket.answers_pings = True, how == "deaf"
                if how == "black_hole":
                    self._start(self._swallow(socket))
            else:
                with suppress(ClientConnectionResetError):  # one that ends at this moment
                    await socket.send(_disconnect(how))
                self._start(self._close_later(socket, 10.0 if how == "warning" else 1.0))
        return lost

    async def _swallow(self, socket: Socket) -> None:
        """Read nothing more from a socket, so that not even its end is noticed, and cut it in the end."""
        if isinstance(socket.request.transport, asyncio.Transport):
            socket.request.transport.pause_reading()
        await asyncio.sleep(self.black_hole_s)
        socket.cut()

    async def _close_later(self, socket: Socket, delay_s: float) -> None:
        await asyncio.wait([socket.ended], timeout=delay_s)
        await socket.web_socket.close()

    @asynccontextmanager
    async def gap(self, how: Loss = "cut") -> AsyncIterator[None]:
        """Lose every socket, and refuse new ones until the block ends."""
        self.is_refusing = True
        lost = await self.lose(how)
        try:
            if how not in STAY_OPEN:
                gone = lambda: all(socket.ended.done() for socket in lost)  # noqa: E731
                await self.world.wait_until(gone, 15, "the sockets to end")
            yield
        finally:
            self.is_refusing = False

    async def is_connected(self, count: int = 1, timeout: float = 20.0) -> None:
        """Wait until `count` sockets are open that are not silent."""

        def is_up() -> bool:
            return sum(one.is_ready and not one.is_silent and not one.is_leaving for one in self.open) >= count

        await self.world.wait_until(is_up, timeout, f"{count} open sockets")

    async def is_idle(self, timeout: float = 20.0) -> None:
        """Wait until everything was acknowledged or given up, or waits to come again."""

        def is_quiet() -> bool:
            return not self._pending and not self._num_undelivered

        await self.world.wait_until(is_quiet, timeout, "the acknowledgements")

    async def shut_down(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in list(self.open):
            socket.cut()

    # Deliveries

    def dispatch(self, event: Event) -> None:
        """Send an event to every app that should hear it, once each."""
        for app in self.world.apps.values():
            if event.only is not None and app not in event.only:
                continue
            if app.events is not None and event.name not in app.events:
                continue
            installation = self._listener(app, event)
            if installation is not None:
                self._num_undelivered += 1
                self._start(self._send_event(app, self._event_payload(event, installation)))

    def _listener(self, app: App, event: Event) -> Installation | None:
        if event.channel is not None:
            return self.world.bot_in(app, event.channel)
        return app.installations.get(event.team.id)

    def _event_payload(self, event: Event, installation: Installation) -> Json:
        team_id = installation.team.id
        authorization = {"team_id": team_id, "user_id": installation.bot.id, "is_bot": True}
        return {
            "token": "stand-in",
            "team_id": event.team.id,
            "context_team_id": team_id,
            "context_enterprise_id": None,
            "api_app_id": installation.app.id,
            "event": event.data,
            "type": "event_callback",
            "event_id": self.world.next_id("Ev"),
            "event_time": int(self.clock.now()),
            "authorizations": [authorization | {"enterprise_id": None, "is_enterprise_install": False}],
            "is_ext_shared_channel": bool(event.channel and event.channel.is_shared),
            "event_context": f"4-{self.world.next_id('x')}",
        }

    async def _send_event(self, app: App, payload: Json) -> None:
        """Deliver an event, again after each pause while it is not acknowledged."""
        try:
            if not await self._deliver_event(app, payload, 0, "") and not await self._retry(app, payload):
                self.lost_events.append(payload)
            elif self.rng.random() < self.redelivery_probability:
                self.num_redelivered += 1
                await self._deliver_event(app, payload, 1, "timeout")
        finally:
            self._num_undelivered -= 1
            self.world.touch()

    async def _retry(self, app: App, payload: Json) -> bool:
        for attempt, delay_s in enumerate(self.retry_delays_s, 1):
            # What waits to come again is not under way.
            self._num_undelivered -= 1
            try:
                await self.clock.sleep(delay_s)
            finally:
                self._num_undelivered += 1
            self.num_redelivered += 1
            if await self._deliver_event(app, payload, attempt, "timeout"):
                return True
        return False

    async def _deliver_event(self, app: App, payload: Json, attempt: int, reason: str) -> bool:
        """Return whether one try of an event was acknowledged."""
        outcome, _ = await self.deliver(app, "events_api", payload, retry_attempt=attempt, retry_reason=reason)
        return outcome == "acknowledged"

    async def deliver(
        self, app: App, kind: str, payload: Json, *, accepts_payload: bool = False, **more: Any
    ) -> tuple[Outcome, Any]:
        """Send an envelope to one socket, and wait for its acknowledgement; return that with its payload."""
        envelope_id = str(uuid.uuid4())
        envelope = {"envelope_id": envelope_id, "type": kind, "accepts_response_payload": accepts_payload}
        envelope |= {"payload": payload} | more
        delivery = Delivery(envelope, asyncio.get_running_loop().create_future())
        self._pending[envelope_id] = delivery
        try:
            outcome = await self._deliver(app, delivery)
        finally:
            del self._pending[envelope_id]
        self.outcomes[outcome] += 1
        self.world.touch()
        return outcome, delivery.acknowledged.result() if outcome == "acknowledged" else None

    async def _deliver(self, app: App, delivery: Delivery) -> Outcome:
        socket = self._choose(app)
        if socket is None:
            return "no_socket"
        delivery.sent_at = time.monotonic()
        if not socket.is_silent:
            try:
                await socket.send(delivery.envelope)
            except ConnectionError:
                return "socket_ended"
            socket.num_sent += 1
        waited = {delivery.acknowledged, socket.ended}
        await asyncio.wait(waited, timeout=self.ack_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if delivery.acknowledged.done():
            return "acknowledged"
        if socket.ended.done():
            return "socket_ended"
        if socket.is_silent:
            return "silent"
        payload = delivery.envelope["payload"]
        what = payload.get("event", payload).get("type") or delivery.envelope["type"]
        self.broken.append(f"socket: {what} was not acknowledged within {self.ack_timeout_s:g} s")
        return "timeout"

    def _choose(self, app: App) -> Socket | None:
        ready = [one for one in self.open if one.app is app and one.is_ready and not one.ended.done()]
        staying = [one for one in ready if not one.is_leaving]
        return self.rng.choice(staying or ready) if ready else None

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _disconnect(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-stand-in"}}
