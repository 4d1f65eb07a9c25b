"""Answers that are sent while they are written: server-sent events."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from bot.errors import FewshotError
from bot.serving.errors import ApiError, explain, unexpected

logger = logging.getLogger(__name__)

# A reader that takes nothing for so long is cut off; until then the text that waits for it is what one answer may have.
WRITE_S: Final = 30.0
_DONE: Final = b"data: [DONE]\n\n"


class ReaderGone(Exception):
    """The client has gone, or takes nothing any more."""


class EventStream:
    """The frames of one answer. The first one sends the head too, so an earlier error still has its own status."""

    def __init__(self, request: web.Request, write_s: float) -> None:
        self._request = request
        self._write_s = write_s
        self._writing = asyncio.Lock()
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        )

    @property
    def is_open(self) -> bool:
        """Say whether something was sent."""
        return self.response.prepared

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send one event and wait until there is room for the next. Raises ReaderGone."""
        await self._write(_frame(lambda: event))

    async def send_large(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Send the event that `make` returns, made and encoded in a thread. Raises ReaderGone."""
        await self._write(await asyncio.to_thread(_frame, make))

    async def close(self) -> None:
        """Send the last frame. Raises ReaderGone."""
        await self._write(_DONE)

    async def _write(self, frame: bytes) -> None:
        try:
            async with asyncio.timeout(self._write_s), self._writing:
                if not self.response.prepared:
                    await self.response.prepare(self._request)
                await self.response.write(frame)
        except (ConnectionError, TimeoutError) as e:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ReaderGone from e


def _frame(make: Callable[[], Mapping[str, Any]]) -> bytes:
    return f"data: {json.dumps(make())}\n\n".encode()


async def stream_events(
    request: web.Request, send_all: Callable[[EventStream], Awaitable[None]], *, write_s: float = WRITE_S
) -> web.StreamResponse:
    """Answer with the events that `send_all` sends; an error after the first one is an event too.

    A client that has not taken an event after `write_s` is cut off.
    """
    stream = EventStream(request, write_s)
    try:
        try:
            await send_all(stream)
            await stream.close()
        except (ApiError, FewshotError) as e:
            if not stream.is_open:
                raise
            await stream.send((e if isinstance(e, ApiError) else explain(e)).body)
        except ReaderGone:
            raise
        except Exception as e:
            if not stream.is_open:
                raise
            await stream.send(unexpected(request, e).body)
    except ReaderGone:
        logger.info("a client went away before its answer was whole")
    return stream.response
