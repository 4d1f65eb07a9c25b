"""The life of the page: serving on this machine, draining and closing."""

import asyncio
import contextlib
import errno
import logging
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from bot.commands.bot import Bot
from bot.errors import SetupError
from bot.platforms.web.guard import Guard, recall_token
from bot.platforms.web.page import Page
from bot.platforms.web.server import make_app
from bot.platforms.web.traits import WEB
from bot.services.hosted_messages import Clock, HostedMessages
from bot.services.hosted_places import Places
from bot.services.ledger import Delivery

logger = logging.getLogger(__name__)

DRAIN_S: Final = 13.0
_CLOSE_S: Final = 3.0
LOOPBACK: Final = "127.0.0.1"


def hold_port(port: int) -> socket.socket:
    """Return a socket that listens on `port` of this machine only; 0 takes any. Raises SetupError."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((LOOPBACK, port))
    except OSError as e:
        held.close()
        if e.errno == errno.EADDRINUSE:
            raise SetupError(f"Port {port} is in use. Set WEB_PORT to another one, or to 0 for any free one.") from e
        raise SetupError(
            f"Port {port} can't be used: {(e.strerror or str(e)).lower()}. Set WEB_PORT to another one."
        ) from e
    return held


@asynccontextmanager
async def serve_page(
    bot: Bot, delivery: Delivery, held: socket.socket, *, first_name: str
) -> AsyncIterator[tuple[Page, str]]:
    """Serve the page on `held` for a block; yield it with the address that logs a browser in. Raises Unavailable."""
    messages = HostedMessages(bot.store, WEB.key)
    clock = Clock(await messages.start_of_clock())
    page = Page(bot, delivery, messages, Places(bot.store, WEB.key, clock, first_name=first_name), clock)
    port = held.getsockname()[1]
    guard = Guard(await recall_token(delivery), port)
    runner = web.AppRunner(make_app(page, guard), access_log=None, shutdown_timeout=_CLOSE_S)
    await page.open()
    try:
        await runner.setup()
        await web.SockSite(runner, held).start()
        yield page, f"http://{LOOPBACK}:{port}/?{guard.query}"
    finally:
        await page.close()
        await runner.cleanup()


async def run_web(
    bot: Bot,
    delivery: Delivery,
    held: socket.socket,
    *,
    first_name: str,
    opens: bool,
    is_over: asyncio.Event,
    tell: Callable[[str], None],
) -> None:
    """Serve the page until `is_over`; running answers are finished. With `opens` a browser is opened."""
    async with serve_page(bot, delivery, held, first_name=first_name) as (page, address):
        tell(f"The page is at {address}")
        if opens:
            with contextlib.suppress(Exception):  # whatever a desktop does, the address is printed
                await asyncio.to_thread(webbrowser.open, address)
        await is_over.wait()
        if page.answering.num_running:
            tell("Finishing the answers that are being written …")
        await page.drain(DRAIN_S)
