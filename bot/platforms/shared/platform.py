"""What a platform supplies beside the places where answers are shown: other channels, and what an earlier run left."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from bot.core.cards import Card
from bot.core.messages import Message, Scope
from bot.platforms.shared.streaming import Outlet
from bot.services.ledger import Accepted


@dataclass(frozen=True, slots=True)
class Reopened:
    """The place of an answer that an earlier run began, and whether it shows the whole stored answer already."""

    outlet: Outlet
    is_whole: bool = False


class Platform(ABC):
    """One platform, as the shared road asks things of it. What it can't do now or ever is one of bot.errors."""

    @abstractmethod
    async def reopen(self, request: Accepted) -> Reopened:
        """Return the place where the answer to `request` goes on; it knows what is visible there already."""

    @abstractmethod
    async def post_notice(self, channel_id: str, notice: Card, cause: Message, notice_id: str) -> None:
        """Show `notice`, which `cause` led to, in another channel of its server; sent twice it appears once.

        Raises MissingPermission for a channel that is none of the server's: nothing leaves a server.
        """

    @abstractmethod
    async def delete(self, scope: Scope, sent_id: str) -> None:
        """Take one of the bot's own messages away; one that is gone already is as good."""
