"""The check, inside each transaction that stores a person's words, that they did not ask not to be read."""

from typing import Final

from bot.errors import OptedOut
from bot.store.backend import Transaction

NOT_STORED: Final = "You asked not to be read, so nothing can be stored for you."


async def check_may_store(transaction: Transaction, platform: str, author_id: str | None) -> None:
    """Raise OptedOut if the person asked not to be read; None is nobody.

    An earlier read can't decide this: people opt out while their request waits or is answered.
    """
    if await transaction.execute("SELECT 1 FROM opted_out WHERE platform = ? AND author_id = ?", platform, author_id):
        raise OptedOut(NOT_STORED)
