"""Serve the page on the loopback: its files under the bot's security policy, and its socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from tests.servers.page.cards import Json
from tests.servers.page.windows import Page, Window

STATIC: Final = Path(__file__).resolve().parents[3] / "bot" / "platforms" / "web" / "static"
_POLICY: Final = (
    "default-src 'self'; connect-src 'self' {socket}; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'"
)


@asynccontextmanager
async def serve_page(port: int = 0) -> AsyncIterator[Page]:
    """Serve the page until the end; `port` 0 takes a free one."""
    page = Page()
    app = web.Application(middlewares=[_protected])
    app.router.add_get("/", _index)

    async def talk(request: web.Request) -> web.StreamResponse:
        return await _talk(page, request)

    app.router.add_get("/socket", talk)
    app.router.add_static("/static", STATIC)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        address = runner.addresses[0]
        page.address = f"http://127.0.0.1:{address[1]}"
        yield page
    finally:
        await page.close()
        await runner.cleanup()


@web.middleware
async def _protected(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers["Content-Security-Policy"] = _POLICY.format(socket=f"ws://{request.host}")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
    return response


async def _index(_: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "index.html")


async def _talk(page: Page, request: web.Request) -> web.StreamResponse:
    if page.refuses_connections:
        raise web.HTTPServiceUnavailable
    socket = web.WebSocketResponse(max_msg_size=page.max_frame_bytes)
    await socket.prepare(request)
    if not page.is_open:
        await socket.close(code=page.refusal)
        return socket
    window = Window(page, socket)
    page.windows.append(window)
    try:
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                asked: Json = frame.json()
                page.spawn(window.answer(asked))
    finally:
        page.windows.remove(window)
    return socket
