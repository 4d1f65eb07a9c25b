"""The authors of messages read over REST, which come without their roles: each is asked for once."""

import asyncio
import logging
import time
from typing import Final

import discord

logger = logging.getLogger(__name__)

# Two readings of one gap, such as that of a server that appears late, share what was found.
_KEPT_S: Final = 60.0


class MissedAuthors:
    """The members who wrote missed messages: one request for each person of a server in a minute, also if it fails."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, int], tuple[float, asyncio.Task[discord.Member | None]]] = {}

    async def find(self, guild: discord.Guild, author_id: int) -> discord.Member | None:
        """Return the member with the roles, None if Discord does not give it."""
        now = time.monotonic()
        self._asked = {key: asked for key, asked in self._asked.items() if asked[0] > now - _KEPT_S}
        key = (guild.id, author_id)
        if key not in self._asked:
            self._asked[key] = (now, asyncio.create_task(_fetch(guild, author_id)))
        # Another message of the same author may wait for it too.
        return await asyncio.shield(self._asked[key][1])


async def _fetch(guild: discord.Guild, author_id: int) -> discord.Member | None:
    try:
        return await guild.fetch_member(author_id)
    except Exception as e:
        logger.info("could not read the roles of an author in server %s: %s", guild.id, type(e).__name__)
        return None
