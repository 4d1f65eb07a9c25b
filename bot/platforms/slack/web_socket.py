"""One websocket of Slack's Socket Mode, from its opening to its end; a socket that has ended is never opened again."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.slack.moments import Moment
from bot.platforms.slack.outgoing.calls import error_code, retry_after_s

logger = logging.getLogger(__name__)

_UNREACHABLE: Final = (SlackApiError, SlackClientError, aiohttp.ClientError, OSError, TimeoutError)


class _Client(SocketModeClient):
    """The SDK's client of one websocket.

    By itself it would open another one wherever it sees an end, and try one address for ever even if that has expired;
    here that is the work of the socket's supervisor.
    """

    def __init__(self, app_token: str, web_client: AsyncWebClient, *, ping_s: float, ended: asyncio.Event) -> None:
        super().__init__(app_token, web_client=web_client, ping_interval=ping_s)
        self._ended = ended

    async def issue_new_wss_url(self) -> str:
        """Ask for an address, with one try: the SDK's own way sleeps as long as Slack says, and stumbles over HTML."""
        answer = await self.web_client.apps_connections_open(app_token=self.app_token)
        return str(answer.get("url") or "")

    async def connect(self) -> None:
        """Connect to the address, with one try."""
        self.current_session = await self.aiohttp_client_session.ws_connect(
            str(self.wss_uri),
            autoping=False,
            heartbeat=self.ping_interval,
            proxy=self.proxy,
            ssl=self.web_client.ssl if self.web_client.ssl is not None else True,
        )
        self.current_session_monitor = asyncio.ensure_future(self.monitor_current_session())
        self.message_receiver = asyncio.ensure_future(self.receive_messages())

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Note that the websocket has ended, or that Slack asks for another one."""
        self._ended.set()


class WebSocket:
    """One websocket. Every envelope is passed to `app`, whose acknowledgement goes back on the same websocket."""

    def __init__(self, app: AsyncApp, app_token: str, client: AsyncWebClient, *, ping_s: float, close_s: float) -> None:
        self._app = app
        self._close_s = close_s
        self._ended = asyncio.Event()
        self._has_hello = asyncio.Event()
        self._last_sign = Moment()
        self._last_pong: float | None = None
        # How long Slack asks to wait before the next try.
        self.retry_after_s = 0.0
        self._on_event: Callable[[], None] = lambda: None
        self._client = _Client(app_token, client, ping_s=ping_s, ended=self._ended)
        self._client.message_listeners.append(self._heard)
        self._client.socket_mode_request_listeners.append(self._handle)

    @property
    def is_over(self) -> bool:
        """Say whether the websocket has ended, or is to be replaced."""
        return self._ended.is_set() or self.is_closed

    @property
    def is_closed(self) -> bool:
        """Say whether the connection is closed."""
        session = self._client.current_session
        return session is not None and session.closed

    @property
    def silent_s(self) -> float:
        """Return for how many seconds nothing came, no pong and no message."""
        if self._client.last_ping_pong_time != self._last_pong:
            self._last_pong = self._client.last_ping_pong_time
            self._last_sign = Moment()
        return self._last_sign.age_s

    async def open(self, timeout_s: float, *, on_event: Callable[[], None]) -> bool:
        """Connect, and wait until Slack says hello; return whether it did. `on_event` is called at each envelope."""
        self._on_event = on_event
        try:
            async with asyncio.timeout(timeout_s):
                self._client.wss_uri = await self._client.issue_new_wss_url()
                await self._client.connect()
                waiting = [asyncio.ensure_future(event.wait()) for event in (self._has_hello, self._ended)]
                try:
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for one in waiting:
                        one.cancel()
        except _UNREACHABLE as e:
            self.retry_after_s = retry_after_s(e) or 0.0
            logger.warning("a socket to Slack could not be opened: %s", error_code(e) or type(e).__name__)
            return False
        return self._has_hello.is_set()

    async def wait_until_over(self, timeout_s: float) -> None:
        """Wait until the websocket has ended, at most for `timeout_s`."""
        try:
            await asyncio.wait_for(self._ended.wait(), timeout_s)
        except TimeoutError:
            return

    def end(self) -> None:
        """Say that the websocket is to be replaced."""
        self._ended.set()

    async def close(self) -> None:
        """Close the websocket within a few seconds: the SDK's way can take for ever, and then its tasks are cancelled.

        Acknowledgements that are on their way still leave.
        """
        try:
            await self._close()
        finally:
            await self._client.aiohttp_client_session.close()

    async def _close(self) -> None:
        client = self._client
        closing = asyncio.ensure_future(client.close())  # type: ignore[no-untyped-call]
        await asyncio.wait({closing}, timeout=self._close_s)
        if not closing.done():
            logger.info("a socket to Slack could not be closed in time")
        tasks = [closing, client.message_processor, client.current_session_monitor, client.message_receiver]
        running = [task for task in tasks if task is not None and not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=self._close_s)
        if closing.done() and not closing.cancelled():
            closing.exception()  # a broken connection can't be closed properly

    async def _heard(self, _: object, message: dict[str, Any], __: str | None = None) -> None:
        self._last_sign = Moment()
        if message.get("type") == "hello":
            self._has_hello.set()
        elif message.get("type") == "events_api":
            self._on_event()

    async def _handle(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Let the app acknowledge an envelope, and handle it in the background."""
        self._last_sign = Moment()
        started = time.time()
        response = await run_async_bolt_app(self._app, request)
        try:
            await send_async_response(client, request, response, started)
        except OSError as e:
            # Slack sends the envelope again.
            logger.info("an acknowledgement could not be sent: %s", type(e).__name__)
