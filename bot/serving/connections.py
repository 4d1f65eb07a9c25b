"""Connections of clients: how many there may be, how long one may ask nothing, and what is told of what is no HTTP."""

import asyncio
import json
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import http_exceptions, web

from bot.serving.errors import BUSY_RETRY_S, ApiError, sentence_of, unexpected

logger = logging.getLogger(__name__)

FIRST_REQUEST_S: Final = 30.0  # so long may the head of a connection's first request take
_KEEP_ALIVE_S: Final = 75.0
_MOST: Final = 2048
_KEPT_FILES: Final = 128  # descriptors for the model, its threads and what else is open
_NO_COMPRESSION: Final = "Send the body as it is, without Content-Encoding."

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def most_connections() -> int:
    """Return how many connections may be open: fewer than the system lets this program have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(_KEPT_FILES, min(_MOST, soft - _KEPT_FILES))


class Connections:
    """Makes the connections of a `server`, at most `most` at a time; a further one is told so and closed.

    One that has not sent the head of a request after `first_s` seconds is closed.
    """

    def __init__(self, server: web.Server, *, most: int, first_s: float = FIRST_REQUEST_S) -> None:
        self.num_open = 0
        self.most = most
        self.first_s = first_s
        self._server = server
        handle: _Handle = server.request_handler
        server.request_handler = lambda request: _answer(request, handle)

    def make(self) -> asyncio.Protocol:
        """Return what speaks to the client of a new connection."""
        return _Refusal() if self.num_open >= self.most else _Connection(self, self._server)


async def _answer(request: web.BaseRequest, handle: _Handle) -> web.StreamResponse:
    if isinstance(request.protocol, _Connection):
        request.protocol.has_asked = True
    try:
        if "Content-Encoding" in request.headers:  # a small body could become a large one
            raise ApiError(415, _NO_COMPRESSION)
        return await handle(request)
    except ApiError as e:
        return e.response()
    except web.HTTPException as e:  # before the application's own checks, such as an unknown Expect
        return ApiError(e.status, sentence_of(e, request)).response()


class _Refusal(asyncio.Protocol):
    """Tells the client of a connection too many to come back, and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a connection needs a transport")
        error = ApiError(503, "Too many connections are open; try again in a moment.", None, "unavailable")
        text = json.dumps(error.body).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Connection: close\r\nRetry-After: {BUSY_RETRY_S}\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        transport.write(head.encode() + text)
        transport.close()


class _Connection(web.RequestHandler):
    """One connection. What can't be read is never logged: it may hold a key or a text."""

    def __init__(self, connections: Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=_KEEP_ALIVE_S,
            auto_decompress=False,
        )
        self.has_asked = False
        self._connections = connections
        self._closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.num_open += 1
        self._closing = asyncio.get_running_loop().call_later(self._connections.first_s, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.num_open -= 1
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        if not self.has_asked:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what is no request, and close the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer was sent already")
        if isinstance(exc, Exception) and status >= 500:
            error = unexpected(None, exc)
        else:
            logger.info("what a client sent is no request: %s", type(exc).__name__)
            error = ApiError(status, _why_unreadable(exc))
        response = error.response()
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an error, but not one of reading, whose text is what the client sent."""
        error = kw.get("exc_info")
        if isinstance(error, http_exceptions.HttpProcessingError | web.RequestPayloadError):
            logger.info("what a client sent can't be read: %s", type(error).__name__)
        else:
            super().log_exception(*args, **kw)


def _why_unreadable(error: BaseException | None) -> str:
    if isinstance(error, http_exceptions.LineTooLong):
        return "A line of the request's head is too long; the address and each header have at most 8,190 bytes."
    if isinstance(error, http_exceptions.ContentEncodingError):
        return _NO_COMPRESSION
    return "This is not a valid HTTP request."
