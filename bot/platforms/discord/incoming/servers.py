"""The servers that the bot is on, from one run to the next: what it was taken out of while away is forgotten."""

import json
import logging
from collections.abc import Collection

from bot.commands.bot import Bot
from bot.errors import Unavailable
from bot.platforms.discord.incoming.reading import PLATFORM
from bot.services.ledger import Delivery

logger = logging.getLogger(__name__)


class Servers:
    """Remembers the servers of one application: another one with the same database has others."""

    def __init__(self, bot: Bot, delivery: Delivery, application_id: int) -> None:
        self._bot = bot
        self._delivery = delivery
        self._note = f"servers_{application_id}"

    async def forget_left(self, present_ids: Collection[int]) -> None:
        """Forget the servers that the bot was on last and is on no more."""
        present = {str(server_id) for server_id in present_ids}
        try:
            for server in json.loads(await self._delivery.recall(self._note) or "[]"):
                if server not in present:
                    await self._bot.left(PLATFORM, server)
        except Unavailable as e:
            # They stay in the note, so the next start forgets them.
            logger.warning("servers that were left can't be forgotten now: %s", e)
        else:
            await self.remember(present_ids)

    async def remember(self, present_ids: Collection[int]) -> None:
        """Note on which servers the bot is."""
        try:
            await self._delivery.remember(self._note, json.dumps(sorted(map(str, present_ids))))
        except Unavailable as e:
            logger.warning("the servers can't be noted now: %s", e)
