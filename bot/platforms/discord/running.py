"""The life of the bot on Discord: connecting, draining, and the reason for its end."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import discord

from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.starting import CONNECTION_ERRORS, Application, explain_failure

logger = logging.getLogger(__name__)

# A service manager kills the process after 20 to 90 seconds; unfinished requests are answered after the restart.
DRAIN_S: Final = 13.0
_CLOSE_S: Final = 3.0

ClientOf = Callable[[Application], FewshotClient]


async def run_discord(
    client_of: ClientOf, application: Application, token: str, tell: Callable[[str], None], *, is_over: asyncio.Event
) -> None:
    """Connect and answer until `is_over`; then running answers are finished, and no new ones are started.

    Raises SetupError, one sentence, if the connection fails or is closed for good.
    """
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
            return


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
    if not connecting.done() or connecting.cancelled() or not (error := connecting.exception()):
        return
    if not is_over.is_set():
        raise error
    logger.error("the connection to Discord ended with an error", exc_info=error)


async def _close(client: FewshotClient) -> None:
    """Close the connection; give up after _CLOSE_S."""
    closing = asyncio.create_task(client.close())
    await asyncio.wait({closing}, timeout=_CLOSE_S)
    if not closing.done():
        closing.cancel()
        logger.warning("the connection to Discord could not be closed in time")
    elif not closing.cancelled() and (error := closing.exception()):
        logger.warning("closing the connection to Discord failed: %s", type(error).__name__)
