"""The interface of a platform apart from its outlets: other channels, and answers that a restart interrupted."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from bot.core.cards import Card
from bot.core.messages import Message, Scope
from bot.platforms.shared.streaming import Outlet
from bot.services.ledger import Accepted


@dataclass(frozen=True, slots=True)
class Reopened:
    """The place of an answer from before a restart, and whether it already shows the whole stored answer.

    `message` is what is answered, as it is now if it was edited meanwhile; None if it is unchanged or unknown.
    """

    outlet: Outlet
    is_whole: bool = False
    message: Message | None = None


class Platform(ABC):
    """One platform. Every method raises an error of bot.errors if the platform can't do it."""

    @abstractmethod
    async def reopen(self, request: Accepted) -> Reopened:
        """Return the place where the answer to `request` is continued, with the messages that are visible there.

        Raises MessageGone if what is answered was deleted meanwhile.
        """

    @abstractmethod
    async def post_notice(self, channel_id: str, notice: Card, cause: Message, notice_id: str) -> None:
        """Post `notice` about `cause` in another channel of the same server; sent twice, it appears once.

        Raises MissingPermission for a channel outside the server: nothing leaves a server.
        """

    @abstractmethod
    async def delete(self, scope: Scope, sent_id: str) -> None:
        """Delete one of the bot's own messages; do nothing if it is already gone."""
