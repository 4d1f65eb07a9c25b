"""The page's server: its files, and one socket for each window."""

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from bot.background import run_in_background
from bot.platforms.web.guard import Guard
from bot.platforms.web.page import Page
from bot.platforms.web.session import Session, TooFast
from bot.platforms.web.windows import Window

logger = logging.getLogger(__name__)

STATIC: Final = Path(__file__).with_name("static")
MAX_FRAME: Final = 2 * 1024 * 1024
MAX_WINDOWS: Final = 200
NOT_LOGGED_IN: Final = 4001
CUT_OFF: Final = 4008
_PING_S: Final = 20.0


def make_app(page: Page, guard: Guard) -> web.Application:
    """Return the application that serves the page."""
    app = web.Application(middlewares=[guard.check])

    async def index(request: web.Request) -> web.StreamResponse:
        redirect = guard.log_in(request)
        if redirect is not None:
            return redirect
        if not guard.is_logged_in(request):
            raise web.HTTPUnauthorized(text="Open the address that the program printed when it started.")
        return web.FileResponse(STATIC / "index.html")

    async def socket(request: web.Request) -> web.StreamResponse:
        return await _serve_window(request, page, guard)

    app.router.add_get("/", index)
    app.router.add_get("/socket", socket)
    app.router.add_static("/static", STATIC)
    return app


async def _serve_window(request: web.Request, page: Page, guard: Guard) -> web.WebSocketResponse:
    """Serve one window from its first frame to its last."""
    socket = web.WebSocketResponse(max_msg_size=MAX_FRAME, heartbeat=_PING_S)
    await socket.prepare(request)
    if not guard.may_connect(request):
        await socket.close(code=NOT_LOGGED_IN, message=b"not logged in")
        return socket
    if len(page.windows) >= MAX_WINDOWS:
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too many windows")
        return socket
    window = Window(page.places.first_person)
    session = Session(page.bot, page.stage, page.intake, page.interactions, page.workbenches, page.writings, window)
    page.windows.add(window)
    sending = run_in_background(_send(socket, window), "sending to a window")
    try:
        await _listen(socket, session)
    except TooFast:
        logger.warning("a window was cut off: it sent too many frames")
        await socket.close(code=CUT_OFF, message=b"too fast")
    finally:
        page.windows.remove(window)
        window.close()
        await session.close()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return socket


async def _listen(socket: web.WebSocketResponse, session: Session) -> None:
    """Take frames until the window is closed. Raises TooFast."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            with suppress(ValueError, RecursionError):  # not one of the page's frames
                session.take(json.loads(message.data))
        elif message.type is WSMsgType.BINARY:
            raise TooFast


async def _send(socket: web.WebSocketResponse, window: Window) -> None:
    """Send what the window is to show, until it is closed."""
    while (text := await window.next_frame()) is not None:
        with suppress(ConnectionError):
            await socket.send_str(text)
    await socket.close(code=WSCloseCode.GOING_AWAY, message=b"closed by the program")
