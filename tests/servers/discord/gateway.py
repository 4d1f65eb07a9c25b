"""The gateway: one websocket per shard, sessions that can be resumed, and planned faults of the connection."""

import asyncio
import json
import random
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.servers.discord import payloads
from tests.servers.discord.identifying import IdentifyLimit
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import Event, Guild, World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE, RESUME, RECONNECT = 0, 1, 2, 3, 4, 6, 7
REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 8, 9, 10, 11
GUILDS, GUILD_MEMBERS, PRESENCES, GUILD_MESSAGES, GUILD_REACTIONS, GUILD_TYPING = (
    1,
    1 << 1,
    1 << 8,
    1 << 9,
    1 << 10,
    1 << 11,
)
DM_MESSAGES, DM_REACTIONS, DM_TYPING, MESSAGE_CONTENT = 1 << 12, 1 << 13, 1 << 14, 1 << 15
MAX_SENDS_PER_MINUTE = 120
_ACK_S = 0.02
# The intent that an event needs in a guild, and in a direct channel.
INTENTS = {
    "MESSAGE": (GUILD_MESSAGES, DM_MESSAGES),
    "MESSAGE_REACTION": (GUILD_REACTIONS, DM_REACTIONS),
    "TYPING": (GUILD_TYPING, DM_TYPING),
    "GUILD": (GUILDS, 0),
    "CHANNEL": (GUILDS, 0),
    "THREAD": (GUILDS, 0),
    "INTERACTION": (0, 0),
}


@dataclass(eq=False)
class Session:
    """A session that can be resumed: all events of one shard since IDENTIFY, numbered from 1."""

    id: str
    shard: tuple[int, int]
    intents: int
    seq: int = 0
    events: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=20_000))
    connection: "Connection | None" = None

    def add(self, name: str, data: Any) -> None:
        self.seq += 1
        text = json.dumps({"op": DISPATCH, "t": name, "s": self.seq, "d": data}, separators=(",", ":"))
        self.events.append((self.seq, text))


class Connection:
    """One websocket; `next_seq` is the first event that was not sent over it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.session: Session | None = None
        self.next_seq = 1
        self.send_times: deque[float] = deque()
        self.lock = asyncio.Lock()
        self.wakes = asyncio.Event()
        is_compressed = request.query.get("compress") == "zlib-stream"
        self._compressor = zlib.compressobj() if is_compressed else None

    async def send_text(self, text: str) -> None:
        if self._compressor is None:
            await self.socket.send_str(text)
            return
        data = self._compressor.compress(text.encode()) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        await self.socket.send_bytes(data)

    async def send(self, op: int, data: Any = None) -> None:
        async with self.lock:
            await self.send_text(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    def abort(self) -> None:
        """Cut the connection without a close frame."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Gateway:
    """Accepts shards, hands events to their sessions, and misbehaves on request.

    `refuse_resumes` (a probability or a bool) makes RESUME fail, and with it everything in the gap is lost.
    `late_guild_ids` are not sent after IDENTIFY: they stay unavailable until `let_appear`.
    """

    def __init__(self, world: World, token: str, violations: list[str], *, seed: int = 0) -> None:
        self.world = world
        self.token = token
        self.url = ""
        self.violations = violations
        self.rng = random.Random(seed)
        self.num_shards = 1
        self.max_identifies = 1000
        self.identifying = IdentifyLimit()
        self.heartbeat_interval_s = 41.25
        self.is_silent = False  # reads everything and answers nothing, as a gateway that is dead behind a live proxy
        self.num_heartbeats = 0
        self.refuse_resumes: float | bool = False
        self.num_identifies = 0
        self.num_resumes = 0
        self.num_refused_resumes = 0
        self.presences: list[dict[str, Any]] = []
        self.close_codes: list[int | None] = []
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.late_guild_ids: set[int] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._is_paused = False

    # Faults that tests cause

    async def drop_socket(self, code: int | None = None) -> None:
        """Close every connection with `code`, or cut it."""
        for connection in list(self.connections):
            self._detach(connection)
            if code is None:
                connection.abort()
            else:
                await connection.socket.close(code=code)

    async def send_reconnect(self) -> None:
        """Ask every shard to reconnect and resume (op 7)."""
        for connection in list(self.connections):
            await connection.send(RECONNECT)

    async def send_invalid_session(self, resumable: bool) -> None:
        """Tell every shard that its session is invalid (op 9)."""
        for connection in list(self.connections):
            if not resumable and connection.session:
                self.sessions.pop(connection.session.id, None)
            await connection.send(INVALID_SESSION, resumable)

    def pause(self) -> None:
        """Hold events back: they are numbered and kept, but not sent until `go_on` or a resume."""
        self._is_paused = True

    def go_on(self) -> None:
        self._is_paused = False
        for connection in self.connections:
            connection.wakes.set()

    @asynccontextmanager
    async def gap(self, *, code: int | None = None, resumes: bool = True, how: str = "drop") -> AsyncIterator[None]:
        """Disconnect, and refuse connections until the block ends; without `resumes` all its events are lost.

        `how` is drop (close with `code`, or cut the wire), reconnect (op 7) or invalid (op 9).
        """
        self._is_open.clear()
        self.pause()
        if how == "reconnect":
            await self.send_reconnect()
        elif how == "invalid":
            await self.send_invalid_session(resumes)
        else:
            await self.drop_socket(code)
        try:
            await self.world.wait_until(lambda: not self.connections, 10, "the client to let go of its connections")
            yield
        finally:
            if not resumes:
                self.num_refused_resumes += len(self.sessions)
                self.sessions.clear()
            self._is_paused = False
            self._is_open.set()

    def let_appear(self, guild: Guild) -> None:
        """Send a server that was held back, one of `late_guild_ids`."""
        self.late_guild_ids.discard(guild.id)
        self.dispatch(Event("GUILD_CREATE", {"unavailable": False}, guild=guild))

    async def shut_down(self) -> None:
        """Admit waiting connections and cut all of them, so that the server can stop."""
        self._is_open.set()
        await self.drop_socket()

    async def is_connected(self, timeout: float = 10.0) -> None:
        """Wait until every session is connected again and has been sent everything."""

        def is_up() -> bool:
            live = [session for session in self.sessions.values() if session.connection]
            return len(live) >= self.num_shards and all(
                session.connection is not None and session.connection.next_seq > session.seq for session in live
            )

        await self.world.wait_until(is_up, timeout, "all shards to be connected")

    # Events

    def dispatch(self, event: Event) -> None:
        """Add an event to every session that should receive it."""
        for session in list(self.sessions.values()):
            if self._is_for(session, event):
                session.add(event.name, self._data(session, event))
                if session.connection:
                    session.connection.wakes.set()

    def _is_for(self, session: Session, event: Event) -> bool:
        shard_id, num_shards = session.shard
        guild_id = event.guild.id if event.guild else 0
        if (guild_id >> 22) % num_shards != shard_id:
            return False
        kind = event.name.rpartition("_")[0].removesuffix("_DELETE")
        kind = kind if kind in INTENTS else kind.partition("_")[0]
        intent = INTENTS[kind][0 if event.guild else 1]
        if intent and not session.intents & intent:
            return False
        if kind == "INTERACTION" or event.name == "GUILD_DELETE":
            return True
        if event.guild and self.world.bot.id not in event.guild.members:
            return False
        if event.channel is None:
            return True
        return bool(self.world.permissions(self.world.bot, event.channel) & Permission.VIEW_CHANNEL)

    def _data(self, session: Session, event: Event) -> dict[str, Any]:
        if event.message is not None:
            has_intent = bool(session.intents & MESSAGE_CONTENT)
            return payloads.gateway_message_payload(event.message, self.world, has_intent=has_intent) | event.data
        if event.name == "GUILD_CREATE" and event.guild:
            return payloads.guild_payload(event.guild, self.world) | event.data
        if event.name == "GUILD_ROLE_CREATE" and event.guild:
            role = event.guild.roles[event.data["role_id"]]
            position = list(event.guild.roles).index(role.id)
            return {"guild_id": str(event.guild.id), "role": payloads.role_payload(role, position)}
        if event.name.startswith(("CHANNEL_", "THREAD_")) and event.channel:
            return payloads.channel_payload(event.channel, self.world) | event.data
        return event.data

    # The protocol

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket from HELLO to its end."""
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await self._is_open.wait()
        connection = Connection(socket, request)
        self.connections.add(connection)
        pump = asyncio.create_task(self._pump(connection))
        try:
            await connection.send(HELLO, {"heartbeat_interval": int(self.heartbeat_interval_s * 1000)})
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                await self._received(connection, json.loads(message.data))
        except ConnectionError:
            pass
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            self._ended(connection)
        return socket

    async def _received(self, connection: Connection, message: dict[str, Any]) -> None:
        now = time.monotonic()
        times = connection.send_times
        times.append(now)
        while times[0] < now - 60:
            times.popleft()
        if len(times) > MAX_SENDS_PER_MINUTE:
            self.violations.append(f"gateway: more than {MAX_SENDS_PER_MINUTE} sends in a minute")
            await connection.socket.close(code=4008)
            return
        op: int = message["op"]
        data: Any = message.get("d")
        if self.is_silent:
            return
        if op == HEARTBEAT:
            self.num_heartbeats += 1
            # A client notes when it sent a heartbeat only after that; an answer before it would look very late.
            await asyncio.sleep(_ACK_S)
            await connection.send(HEARTBEAT_ACK)
        elif op == IDENTIFY:
            await self._identified(connection, data)
        elif op == RESUME:
            await self._resumed(connection, data)
        elif connection.session is None:
            await connection.socket.close(code=4003)
        elif op == PRESENCE:
            self.presences.append(data)
            self.world.touch()
        elif op == REQUEST_MEMBERS:
            self._send_members(connection.session, data)
        elif op != VOICE_STATE:
            await connection.socket.close(code=4001)

    async def _identified(self, connection: Connection, data: dict[str, Any]) -> None:
        self.num_identifies += 1
        shard_id, num_shards = data.get("shard", (0, 1))
        if self.num_identifies > self.max_identifies:
            self.violations.append(f"gateway: more than {self.max_identifies} IDENTIFY in a day")
        if data["token"] != self.token or self.num_identifies > self.max_identifies:
            await connection.socket.close(code=4004)
        elif not 0 <= shard_id < num_shards:
            await connection.socket.close(code=4010)
        elif num_shards < self.identifying.min_shards:
            await connection.socket.close(code=4011)
        elif data["intents"] & self._refused_intents():
            await connection.socket.close(code=4014)
        elif self.identifying.is_too_soon(shard_id):
            self.violations.append(f"gateway: IDENTIFY of shard {shard_id} too soon after another one")
            await connection.send(INVALID_SESSION, False)
        else:
            self._start(connection, (shard_id, num_shards), data["intents"])
            if "presence" in data:
                self.presences.append(data["presence"])

    def _refused_intents(self) -> int:
        """Return the privileged intents that the application was not granted: members and presences never are."""
        return PRESENCES | GUILD_MEMBERS | (0 if self.world.is_message_content_granted else MESSAGE_CONTENT)

    def _start(self, connection: Connection, shard: tuple[int, int], intents: int) -> None:
        for old in [old for old in self.sessions.values() if old.shard == shard and old.connection is None]:
            del self.sessions[old.id]
        session = Session(f"session-{self.world.next_id()}", shard, intents)
        self.sessions[session.id] = session
        guilds = [
            guild
            for guild in self.world.guilds.values()
            if self.world.bot.id in guild.members and (guild.id >> 22) % shard[1] == shard[0]
        ]
        ready = {
            "v": 10,
            "user": payloads.own_user_payload(self.world),
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "resume_gateway_url": self.url,
            "shard": list(shard),
            "application": {"id": str(self.world.bot.id), "flags": payloads.application_payload(self.world)["flags"]},
        }
        session.add("READY", ready)
        for guild in guilds:
            if guild.id not in self.late_guild_ids:
                session.add("GUILD_CREATE", payloads.guild_payload(guild, self.world) | {"unavailable": False})
        self._attach(connection, session, 1)

    async def _resumed(self, connection: Connection, data: dict[str, Any]) -> None:
        session = self.sessions.get(data["session_id"])
        seq = data["seq"]
        if data["token"] != self.token:
            await connection.socket.close(code=4004)
            return
        is_refused = self.rng.random() < float(self.refuse_resumes)
        if session is None or is_refused or seq is None or seq > session.seq or self._is_forgotten(session, seq):
            self.num_refused_resumes += session is not None
            if session:
                del self.sessions[session.id]
            await connection.send(INVALID_SESSION, False)
            return
        self.num_resumes += 1
        session.add("RESUMED", {"_trace": []})
        self._attach(connection, session, seq + 1)

    @staticmethod
    def _is_forgotten(session: Session, seq: int) -> bool:
        return bool(session.events) and seq + 1 < session.events[0][0]

    def _attach(self, connection: Connection, session: Session, next_seq: int) -> None:
        if session.connection is not None and session.connection is not connection:
            session.connection.session = None
            session.connection.abort()
        connection.session, session.connection, connection.next_seq = session, connection, next_seq
        connection.wakes.set()

    async def _pump(self, connection: Connection) -> None:
        """Send events in order, as far as they have come."""
        while True:
            await connection.wakes.wait()
            connection.wakes.clear()
            session = connection.session
            while session and connection.session is session and not self._is_paused:
                first = session.events[0][0] if session.events else 0
                index = connection.next_seq - first
                if not 0 <= index < len(session.events):
                    break
                async with connection.lock:
                    await connection.send_text(session.events[index][1])
                connection.next_seq += 1
            self.world.touch()

    def _detach(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection.session and connection.session.connection is connection:
            connection.session.connection = None
        self.world.touch()

    def _ended(self, connection: Connection) -> None:
        """Keep the session for a resume, unless the client closed with 1000 or 1001: that ends it."""
        code = connection.socket.close_code
        self.close_codes.append(code)
        was_ours = connection not in self.connections
        if connection.session and code in (1000, 1001) and not was_ours:
            self.sessions.pop(connection.session.id, None)
        self._detach(connection)

    def _send_members(self, session: Session, data: dict[str, Any]) -> None:
        guild = self.world.guilds[int(data["guild_id"])]
        wanted = {int(user_id) for user_id in data.get("user_ids") or ()}
        members = [m for m in guild.members.values() if not wanted or m.user.id in wanted]
        chunk = {
            "guild_id": str(guild.id),
            "members": [payloads.member_payload(member) for member in members],
            "chunk_index": 0,
            "chunk_count": 1,
        }
        session.add("GUILD_MEMBERS_CHUNK", chunk | ({"nonce": data["nonce"]} if "nonce" in data else {}))
        if session.connection:
            session.connection.wakes.set()
