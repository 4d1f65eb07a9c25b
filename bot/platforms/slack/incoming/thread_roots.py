"""The message above a thread: what people talk about when they ask the bot something below it."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal

from bot.commands.bot import Bot
from bot.core.messages import Message
from bot.errors import FewshotError
from bot.platforms.slack.ids import SlackId
from bot.platforms.slack.incoming.message_reader import MessageReader
from bot.platforms.slack.incoming.people import People
from bot.platforms.slack.incoming.reading import Said, message_of, read_said
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.workspaces import Workspace

logger = logging.getLogger(__name__)


# Returns a message, which is what was said, with its pictures.
See = Callable[[Said, Message], Awaitable[Message]]


class ThreadRoots:
    """Stores the first message of a thread in which somebody asks the bot, as one that is replied to."""

    def __init__(self, bot: Bot, sender: Sender, people: People, reader: MessageReader) -> None:
        self._bot = bot
        self._sender = sender
        self._people = people
        self._reader = reader

    async def keep(
        self,
        said: Said,
        message: Message,
        workspace: Workspace,
        *,
        kind: Literal["chat", "command"] = "chat",
        see: See | None = None,
    ) -> SlackId | None:
        """Store the message above `said`, which is `message`; return its id, None unless a person wrote it.

        `see` adds the pictures that a model sees. Raises Unavailable.
        """
        root = await self._find(said, workspace)
        if root is None:
            return None
        author = await self._people.author(workspace, root.user_id)
        if author.is_bot:
            return None
        text = self._reader.text_of(root, workspace, await self._reader.names_in(root, workspace))
        read = replace(message_of(root, author, text=text, is_addressed=False), scope=message.scope)
        await self._bot.keep(read if see is None else await see(root, read), kind=kind)
        return root.id

    async def _find(self, said: Said, workspace: Workspace) -> Said | None:
        channel, ts = said.id.channel, said.thread_ts
        try:
            found = await self._sender.call(said.id.team, "conversations_replies", channel=channel, ts=ts, limit=1)
        except FewshotError as e:
            logger.info("could not read the message above a thread in channel %s: %s", channel, e)
            return None
        for one in found.get("messages") or ():
            if one.get("ts") == ts:
                return read_said(one, workspace, channel=channel)
        return None
