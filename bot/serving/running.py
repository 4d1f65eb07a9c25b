"""The life of the server: its address, serving, and the end."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from bot.core.engine import Engine
from bot.errors import SetupError
from bot.serving.app import make_app
from bot.serving.connections import Connections, most_connections
from bot.serving.context import Serving
from bot.serving.metrics import Metrics

_BACKLOG: Final = 128
GRACE_S: Final = 13.0  # for the answers that are being written when the server ends


@dataclass(frozen=True, slots=True)
class Address:
    """An address that is this program's, before and while it is served."""

    held: socket.socket

    @property
    def base(self) -> str:
        """Return the base address for clients."""
        host, port = self.held.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def hold_address(host: str, port: int) -> Address:
    """Return the bound address, on which nothing listens yet; port 0 takes any. Raises SetupError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host.strip("[]"), port))
    except (OSError, UnicodeError) as e:  # some names can't be looked up at all
        held.close()
        if isinstance(e, UnicodeError):
            raise SetupError(
                f"The server can't use {host}: that is no name of a machine. Set SERVE_HOST to another one."
            ) from e
        if e.errno == errno.EADDRINUSE:
            raise SetupError(f"Port {port} is in use. Set SERVE_PORT to another one, or to 0 for any free one.") from e
        reason = (e.strerror or str(e)).lower()
        raise SetupError(
            f"The server can't use {host}, port {port}: {reason}. Set SERVE_HOST or SERVE_PORT to another one."
        ) from e
    return Address(held)


@asynccontextmanager
async def serve_engine(
    engine: Engine, address: Address, *, key: str, timeout_s: float, grace_s: float = GRACE_S
) -> AsyncIterator[str]:
    """Serve `engine` at `address` for a block, and yield the base address.

    At the end no new request is accepted; those that are open have `grace_s` to end, then they are cut off.
    """
    serving = Serving(engine, Metrics(engine.stats), timeout_s)
    # A client that goes away cancels its handler, and with it the generation.
    runner = web.AppRunner(make_app(serving, key), shutdown_timeout=grace_s, handler_cancellation=True)
    await runner.setup()
    try:
        async with _listening(runner, address):
            yield address.base
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _listening(runner: web.AppRunner, address: Address) -> AsyncIterator[None]:
    """Take connections at `address` for a block."""
    if runner.server is None:
        raise RuntimeError("The application is not set up.")
    connections = Connections(runner.server, most=most_connections())
    listening = await asyncio.get_running_loop().create_server(connections.make, sock=address.held, backlog=_BACKLOG)
    try:
        yield
    finally:
        listening.close()


async def run_server(
    engine: Engine,
    address: Address,
    *,
    key: str,
    timeout_s: float,
    is_over: asyncio.Event,
    tell: Callable[[str], None],
) -> None:
    """Serve `engine` until `is_over`; open requests are finished."""
    async with serve_engine(engine, address, key=key, timeout_s=timeout_s) as base:
        tell(f"{engine.info.name} is served at {base}")
        await is_over.wait()
