"""The life of the bot on Discord: connecting, signals, draining, and the reason for its end."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import discord

from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.starting import CONNECTION_ERRORS, Application, explain_failure

logger = logging.getLogger(__name__)

# A service manager kills the process after 20 to 90 seconds; unfinished requests are answered after the restart.
DRAIN_S: Final = 13.0
_CLOSE_S: Final = 3.0
# After this time the process ends in any case: a DNS look-up can't be cancelled, and a normal exit would wait for it.
_END_S: Final = 19.0

ClientOf = Callable[[Application], FewshotClient]


async def run_discord(client_of: ClientOf, application: Application, token: str, tell: Callable[[str], None]) -> int:
    """Connect and answer until a signal ends it; return the exit status.

    SIGTERM and SIGINT end the process in under 20 seconds: running answers are finished, no new ones are started. A
    second signal ends it at once. Raises SetupError, one sentence, if the connection fails or is closed for good.
    """
    is_over = asyncio.Event()
    with _ended_by_signals(is_over):
        while True:
            try:
                await _run(client_of(application), token, is_over, tell)
            except discord.PrivilegedIntentsRequired as e:
                if not application.has_message_content:
                    raise explain_failure(e) from e
                # Discord had reported the intent as granted. Start without it: most features work.
                application = replace(application, has_message_content=False)
            except CONNECTION_ERRORS as e:
                raise explain_failure(e) from e
            else:
                return 0


@contextmanager
def _ended_by_signals(is_over: asyncio.Event) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT set `is_over`, and the second one end the process at once."""
    overdue = threading.Timer(_END_S, os._exit, (0,))
    overdue.daemon = True

    def end(number: int) -> None:
        if is_over.is_set():
            # As safe as a power cut: accepted requests are stored, and the next start answers them.
            os._exit(128 + number)
        is_over.set()
        overdue.start()

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _run(client: FewshotClient, token: str, is_over: asyncio.Event, tell: Callable[[str], None]) -> None:
    """Keep `client` connected until `is_over`. Raises the error if an error ended the connection."""
    connecting = asyncio.create_task(client.start(token, reconnect=True))
    waiting = asyncio.create_task(is_over.wait())
    try:
        await asyncio.wait({connecting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done() and client.answering.num_running:
            tell("Finishing the answers that are being written …")
        if not connecting.done():
            await client.drain(DRAIN_S)
    finally:
        waiting.cancel()
        # Closing the client first lets `connecting` end by itself.
        await _close(client)
        if not connecting.done():
            connecting.cancel()
        await asyncio.wait({connecting}, timeout=_CLOSE_S)
    if is_over.is_set() or not connecting.done() or connecting.cancelled():
        return
    if error := connecting.exception():
        raise error


async def _close(client: FewshotClient) -> None:
    """Close the connection; give up after _CLOSE_S."""
    closing = asyncio.create_task(client.close())
    await asyncio.wait({closing}, timeout=_CLOSE_S)
    if not closing.done():
        closing.cancel()
        logger.warning("the connection to Discord could not be closed in time")
    elif not closing.cancelled() and (error := closing.exception()):
        logger.warning("closing the connection to Discord failed: %s", type(error).__name__)
