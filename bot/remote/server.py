"""A server with OpenAI's API: requests and streams as plain JSON values, with one kind of error."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeVar

import httpx2
from openai import AsyncOpenAI, AsyncStream

from bot.remote.choice import RemoteChoice
from bot.remote.failures import FOREIGN, ServerFailure, took_too_long, translate

ResultT = TypeVar("ResultT")
Body = dict[str, Any]

COMPLETIONS: Final = "/completions"
CHAT: Final = "/chat/completions"
_CONNECT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.1
_MAX_PAUSE_S: Final = 8.0
# How long a request is sent again before a person is told; who measures asks again after that.
_PATIENCE_S: Final = 15.0


class Server:
    """The server of a model. Every method raises ServerFailure."""

    def __init__(self, choice: RemoteChoice) -> None:
        self.choice = choice
        # The client demands a key; a server that wants none reads none.
        self._client = AsyncOpenAI(
            api_key=choice.api_key or "none",
            base_url=choice.api_base,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=_CONNECT_S),
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, choice: RemoteChoice) -> AsyncIterator["Server"]:
        """Open the connections; close them at the end."""
        server = cls(choice)
        try:
            yield server
        finally:
            await server._client.close()

    def beside(self, path: str) -> str:
        """Return the address of `path` beside the API's version, where servers have what OpenAI's API lacks."""
        return self.choice.api_base.removesuffix("/v1") + path

    async def get(self, path: str) -> Any:
        """Return the JSON value at `path`."""
        try:
            return await self._client.get(path, cast_to=object)
        except FOREIGN as e:
            raise self._failure(e) from e

    async def post(self, path: str, body: Body) -> Any:
        """Return the JSON answer to `body`."""
        try:
            return await self._client.post(path, cast_to=object, body=body)
        except FOREIGN as e:
            raise self._failure(e) from e

    async def stream(self, path: str, body: Body) -> AsyncGenerator[Any, None]:
        """Yield the JSON values of the streamed answer to `body`; closing the generator ends the request."""
        try:
            stream = await self._client.post(
                path, cast_to=object, body={**body, "stream": True}, stream=True, stream_cls=AsyncStream[object]
            )
            async with stream, aclosing(stream.__aiter__()) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk
        except FOREIGN as e:
            raise self._failure(e) from e

    def _failure(self, error: Exception) -> ServerFailure:
        return translate(error, model=self.choice.model, key=self.choice.api_key)


def next_pause(failure: ServerFailure, num_tried: int, deadline: float) -> float:
    """Return how many seconds to wait before the request is sent again, for the `num_tried`th time (from 1).

    Raises the failure's own error if it will not pass, or not before `deadline` (of time.perf_counter).
    """
    pause_s = failure.retry_after_s
    if pause_s is None:
        pause_s = min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2 ** (num_tried - 1))
    if not failure.may_pass or time.perf_counter() + pause_s >= deadline:
        raise failure.error from failure
    return pause_s


async def ask_again(ask: Callable[[], Awaitable[ResultT]], *, timeout_s: float) -> ResultT:
    """Return the result of `ask`, asked again while its failure may pass.

    Raises FewshotError when it will not pass within some seconds, or there is no answer after `timeout_s`.
    """
    deadline = time.perf_counter() + min(timeout_s, _PATIENCE_S)
    num_tried = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await ask()
                except ServerFailure as failure:
                    num_tried += 1
                    await asyncio.sleep(next_pause(failure, num_tried, deadline))
    except TimeoutError as e:
        raise took_too_long(timeout_s) from e
