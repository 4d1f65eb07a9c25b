"""Trying again to store what a platform says only once, while the database is busy or can't be read."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from bot.errors import Unavailable

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 30.0


async def until_available(
    store: Callable[[], Awaitable[None]], what: str, *, gives_up: Callable[[], bool] = lambda: False
) -> None:
    """Call `store` until it does not raise Unavailable, with growing pauses, or until `gives_up` says so.

    The log warns once that `what` could not be stored.
    """
    pause_s, level = FIRST_PAUSE_S, logging.WARNING
    while True:
        try:
            await store()
            return
        except Unavailable as e:
            logger.log(level, "could not store %s yet: %s", what, e)
            level = logging.INFO
        if gives_up():
            return
        await asyncio.sleep(pause_s)
        pause_s = min(_MAX_PAUSE_S, 2 * pause_s)
