"""The address where a running bot is watched: GET /metrics for Prometheus, GET /health for the command `health`."""

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.errors import SetupError
from bot.monitoring.figures import CONTENT_TYPE, BotFigures
from bot.monitoring.hosts import is_loopback, name_of

_CLOSE_S: Final = 2.0

# A bound address, on which nothing listens yet.
HeldPort = socket.socket
FindFaults = Callable[[], Awaitable[Sequence[str]]]


def hold_port(host: str, port: int) -> HeldPort:
    """Return the bound address, on which nothing listens yet; port 0 takes any. Raises SetupError."""
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host.strip("[]"), port))
    except OSError as e:
        held.close()
        if e.errno == errno.EADDRINUSE:
            raise SetupError(f"Port {port} is in use. Set METRICS_PORT to another one.") from e
        reason = (e.strerror or str(e)).lower()
        raise SetupError(
            f"The figures can't be served at {host}, port {port}: {reason}. Set METRICS_HOST or METRICS_PORT to another"
            " one."
        ) from e
    return held


@asynccontextmanager
async def serve_figures(held: HeldPort, figures: BotFigures, find_faults: FindFaults) -> AsyncIterator[str]:
    """Serve the figures and the health at the address for a block; yield its URL."""
    host, port = held.getsockname()[:2]
    app = web.Application(middlewares=[_check_name] if is_loopback(host) else [])

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=figures.render(), headers={"Content-Type": CONTENT_TYPE})

    async def health(_: web.Request) -> web.Response:
        faults = list(await find_faults())
        return web.json_response(
            {"status": "unavailable" if faults else "ok", "faults": faults}, status=503 if faults else 200
        )

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/health", health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_S, handler_cancellation=True)
    await runner.setup()
    try:
        await web.SockSite(runner, held).start()
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()


@web.middleware
async def _check_name(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a page of another site that makes its own name lead to this machine."""
    if not is_loopback(name_of(request.host)):
        raise web.HTTPForbidden(text="Only requests to 127.0.0.1 or localhost are answered here.\n")
    return await handler(request)
