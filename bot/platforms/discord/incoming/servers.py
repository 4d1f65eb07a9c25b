"""The servers of the bot, remembered from run to run: a card when it joins one, all data erased when it leaves."""

import json
import logging
from collections.abc import Collection

import discord

from bot.commands.bot import Bot
from bot.core.messages import Scope
from bot.core.shards import Shards
from bot.errors import Unavailable
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.discord.outgoing.welcome import post_welcome
from bot.platforms.discord.starting import Application
from bot.platforms.discord.traits import DISCORD
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.trying import until_available
from bot.services.ledger import Delivery

logger = logging.getLogger(__name__)


class Servers:
    """Remembers the servers of one application; another application with the same database has other servers.

    With `shards` it remembers and erases the servers of these only: other programs have the others.
    """

    def __init__(
        self,
        bot: Bot,
        delivery: Delivery,
        answering: Answering,
        sender: Sender,
        application: Application,
        shards: Shards | None = None,
    ) -> None:
        self._shards = shards
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._sender = sender
        self._has_content = application.has_message_content
        self._note = f"servers_{application.id}"

    async def joined(self, guild: discord.Guild) -> None:
        """Post the welcome card."""
        await post_welcome(guild, self._bot, self._sender, has_content=self._has_content)
        await self._remember([str(guild.id)])

    async def left(self, guild: discord.Guild) -> None:
        """Erase a server that removed the bot, and cancel the answers being written there."""
        await self._answering.end_in(str(guild.id))
        await until_available(lambda: self._bot.left(DISCORD.key, str(guild.id)), "that the bot left a server")

    async def channel_gone(self, server_id: int, channel_id: int, thread_id: int | None = None) -> None:
        """Erase a channel with its threads, or a thread: Discord does not report the deletion of their messages."""
        scope = Scope(DISCORD.key, str(server_id), str(channel_id), str(thread_id or ""))
        await self._answering.end_in(scope.server, scope.channel, scope.thread)
        await until_available(lambda: self._bot.channel_gone(scope), "that a channel is gone")

    async def forget_left(self, present_ids: Collection[int]) -> None:
        """Erase the servers that the bot was on in the last run and has left since."""
        present = {str(server_id) for server_id in present_ids}
        erased = []
        try:
            for server in json.loads(await self._delivery.recall(self._note) or "[]"):
                if server not in present and self._is_mine(server):
                    await self._bot.left(DISCORD.key, server)
                    erased.append(server)
        except Unavailable as e:
            # They stay in the list, so the next start erases them.
            logger.warning("could not erase the servers that the bot has left: %s", e)
        else:
            await self._remember(present, erased)

    def _is_mine(self, server: str) -> bool:
        return self._shards is None or self._shards.has_server(int(server))

    async def _remember(self, present: Collection[str], erased: Collection[str] = ()) -> None:
        """Add to the list of the bot's servers those that it is on, and take out those that it has left.

        The others stay: other programs have stored them, or the bot has joined them since.
        """

        def changed(known: str | None) -> str:
            return json.dumps(sorted({*json.loads(known or "[]"), *present}.difference(erased)))

        try:
            await self._delivery.change(self._note, changed)
        except Unavailable as e:
            logger.warning("could not store the list of servers: %s", e)
