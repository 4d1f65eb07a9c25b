"""Calls to the engine's server, each over a request of its own; a server that is away is told from one that refuses."""

import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx2

from bot.core.engine import Asker
from bot.core.engine_calls import (
    MAX_BEAT_S,
    PREFIX,
    PROTOCOL,
    Accepted,
    Call,
    Ended,
    Failed,
    Frame,
    Hello,
    OtherModel,
    Sender,
    error_of,
)
from bot.core.wire import from_wire, to_wire
from bot.errors import Busy, FewshotError, GenerationError, ModelError, RequestError, Unavailable

_CONNECT_S: Final = 5.0
SILENT_S: Final = 3 * MAX_BEAT_S  # a server under load may miss beats
_UNREADABLE: Final = "The engine's server gave an answer that can't be read. Is it the same version as this program?"
_JSON: Final = {"Content-Type": "application/json"}
_GATEWAY: Final = frozenset({502, 503, 504})


class ServerAway(Exception):
    """The server can't be reached, or was lost before the end of its answer; `was_accepted` says it had started."""

    def __init__(self, reason: str, *, was_accepted: bool = False) -> None:
        self.was_accepted = was_accepted
        super().__init__(reason)


class NotOurs(FewshotError):
    """The server is there, but it is none of this bot."""


class Connection:
    """One server's address and key; `host` is its name and port, `front` the id of this run of the front.

    `num_calls` counts what was sent.
    """

    def __init__(self, api_base: str, key: str, *, silent_s: float = SILENT_S) -> None:
        self.base = api_base.removesuffix("/v1") + PREFIX
        self.host = urlsplit(api_base).netloc
        self.front = secrets.token_hex(8)
        self.num_calls = 0
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(silent_s, connect=_CONNECT_S, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=False,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, api_base: str, key: str, *, silent_s: float = SILENT_S) -> AsyncIterator["Connection"]:
        """Open the connections; close them at the end. A server that is silent for `silent_s` counts as away."""
        connection = cls(api_base, key, silent_s=silent_s)
        try:
            yield connection
        finally:
            await connection._client.aclose()

    async def hello(self) -> Hello:
        """Return what the server says of itself. Raises ServerAway, NotOurs, ModelError for another protocol."""
        try:
            response = await self._client.get(f"{self.base}/engine")
        except httpx2.RequestError as e:
            raise ServerAway(type(e).__name__) from e
        if response.status_code in _GATEWAY:
            raise _refusal(response.status_code, response.content)
        sent = _hello_in(response)
        if sent is None:
            raise NotOurs("The server is none of this bot, or it refuses the key.")
        if sent["protocol"] != PROTOCOL:
            raise ModelError(
                f"The engine's server is another version of this bot (its protocol is {sent['protocol']!r:.20}, this"
                f" program's is {PROTOCOL}). Install the same version on both machines."
            )
        hello: Hello = _read(Hello, sent)
        return hello

    async def ask(self, call: Call, asker: Asker, *, model: str, call_id: str = "") -> AsyncGenerator[Frame]:
        """Yield the frames that answer `call` up to Ended; `model` is the key of the model that it is meant for.

        Raises ServerAway, OtherModel, and the errors of the engine.
        """
        sender = Sender.of(asker, front=self.front, call=call_id, model=model)
        # Not the union's annotation: mypy takes it for a value.
        # As ASCII: a text may hold half a character, which UTF-8 has not.
        body = json.dumps({"sender": to_wire(Sender, sender), "call": to_wire(cast(Any, Call), call)})
        self.num_calls += 1
        was_accepted = is_over = False
        try:
            async with self._client.stream("POST", f"{self.base}/calls", content=body, headers=_JSON) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    frame = _read(cast(Any, Frame), _parsed(line))
                    was_accepted = was_accepted or isinstance(frame, Accepted)
                    if isinstance(frame, Failed):
                        raise error_of(frame)
                    yield frame
                    is_over = isinstance(frame, Ended)
        except httpx2.RequestError as e:
            raise ServerAway(type(e).__name__, was_accepted=was_accepted) from e
        if not is_over:
            raise ServerAway("the answer was cut", was_accepted=was_accepted)

    async def cancel(self, call_id: str) -> None:
        """End the generation with this id within one token. Raises ServerAway."""
        try:
            await self._client.delete(f"{self.base}/calls/{self.front}/{call_id}")
        except httpx2.RequestError as e:
            raise ServerAway(type(e).__name__) from e


def _hello_in(response: httpx2.Response) -> dict[str, Any] | None:
    """Return what a server of this bot says of itself; None for an answer of another server, or a refusal."""
    if response.status_code != 200:
        return None
    try:
        sent = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return sent if isinstance(sent, dict) and "protocol" in sent else None


def _refusal(status: int, body: bytes) -> Exception:
    """Return the error of an answer with this status: ServerAway where only something in front of the server speaks."""
    if status in _GATEWAY:
        return ServerAway(f"status {status}")
    said = _sentence_in(body)
    if status in (401, 403):
        return Unavailable("The engine's server refuses the bot's key. The operator can correct MODEL_API_KEY.")
    if status == 404:
        return Unavailable("The engine's server is no longer one of this bot. The operator can correct MODEL_API_BASE.")
    if status == 409:
        return OtherModel(said)
    if status == 429:
        return Busy(said)
    return RequestError(said) if status < 500 else GenerationError(said)


def _sentence_in(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])[:400]
    except (ValueError, KeyError, TypeError, RecursionError):
        return _UNREADABLE


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise GenerationError(_UNREADABLE) from e


def _read(kind: Any, sent: Any) -> Any:
    try:
        return from_wire(kind, sent)
    except ValueError as e:  # of the wire, or of a class that checks itself
        raise GenerationError(_UNREADABLE) from e
