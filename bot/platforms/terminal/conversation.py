"""What both forms of the terminal share: a typed line as a message, and the bot's cards that answer it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bot.commands.dispatch import Bot
from bot.core.cards import Card
from bot.core.messages import Author, Message, Scope
from bot.core.stopping import Stopper

PLATFORM = "terminal"


@dataclass(frozen=True, slots=True)
class Conversation:
    """One person in one channel of the terminal."""

    bot: Bot
    scope: Scope
    author: Author

    @classmethod
    def of(cls, bot: Bot, *, server: str, channel: str, name: str, is_moderator: bool) -> "Conversation":
        """Return the conversation of the person `name` in `channel` of `server`."""
        author = Author(id=name, name=name, is_moderator=is_moderator)
        return cls(bot, Scope(PLATFORM, server, channel), author)

    def say(self, text: str, stopper: Stopper) -> AsyncIterator[Card]:
        """Send `text` and return the snapshots of the answer."""
        message = Message(uuid.uuid4().hex, self.scope, self.author, text)
        return self.bot.answer(message, stopper, types_actions=True)
