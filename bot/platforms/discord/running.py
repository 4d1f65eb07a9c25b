"""The bot on Discord from the first connection to the last: signals, draining, and why it ended."""

import asyncio
import logging
import signal
from collections.abc import Callable

import discord

from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.starting import CONNECTION_ERRORS, explain_failure

logger = logging.getLogger(__name__)

# A service manager kills after 20 to 90 seconds; what is not answered by then is answered after the restart.
DRAIN_S = 14.0
_CLOSE_S = 4.0


async def run_discord(client: FewshotClient, token: str, tell: Callable[[str], None]) -> int:
    """Connect and answer until a signal ends it; return the exit status.

    SIGTERM and SIGINT end it in under 20 seconds: running answers are finished, nothing new is begun. Raises
    SetupError, one sentence, for a connection that can't be made or was ended for good.
    """
    is_over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, is_over.set)
    try:
        async with client:
            try:
                await client.login(token)
            except CONNECTION_ERRORS as e:
                raise explain_failure(e) from e
            await _connected(client, is_over, tell)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return 0


async def _connected(client: FewshotClient, is_over: asyncio.Event, tell: Callable[[str], None]) -> None:
    connecting = asyncio.create_task(client.connect(reconnect=True))
    waiting = asyncio.create_task(is_over.wait())
    try:
        await asyncio.wait({connecting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            tell("Finishing the answers that are being written …")
            await client.drain(DRAIN_S)
            await _close(client)
    finally:
        waiting.cancel()
        if not connecting.done():
            connecting.cancel()
        await asyncio.wait({connecting})
    if not is_over.is_set() and not connecting.cancelled() and (error := connecting.exception()):
        if isinstance(error, CONNECTION_ERRORS):
            raise explain_failure(error) from error
        raise error


async def _close(client: discord.Client) -> None:
    """Close the connection; a network that hangs does not keep the program."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await client.close()
    except TimeoutError:
        logger.warning("the connection to Discord could not be closed in time")
