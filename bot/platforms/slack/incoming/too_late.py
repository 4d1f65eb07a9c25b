"""Messages that are too old to be answered when the bot is back: one notice in each conversation."""

import logging
from typing import Final

from bot.core.cards import Card, Text
from bot.core.messages import Message
from bot.errors import FewshotError
from bot.platforms.slack.ids import Address
from bot.platforms.slack.outgoing.rendering import render
from bot.platforms.slack.outgoing.sender import Sender

logger = logging.getLogger(__name__)

# After a long outage the other conversations get no notice, so that the bot does not flood a workspace.
_MAX_TOLD: Final = 20
_DEADLINE_S: Final = 8.0


class TooLate:
    """Collects the messages that came too late, until their conversations are told."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._missed: dict[Address, set[str]] = {}

    def note(self, message: Message) -> None:
        """Add a message that was for the bot; a message that is read back twice counts once."""
        self._missed.setdefault(Address.of(message.id, message.scope), set()).add(message.id)

    async def tell(self) -> None:
        """Post the number of missed messages in each conversation, the newest first."""
        places = sorted(self._missed.items(), key=lambda place: max(place[1]), reverse=True)
        self._missed.clear()
        for address, message_ids in places[:_MAX_TOLD]:
            rendering = render(Card(blocks=(Text(_sentence(len(message_ids))),)))
            try:
                # A run that crashed after posting finds its notice by this id.
                request_id = f"{max(message_ids)}.late"
                if await self._sender.find(address, request_id) is None:
                    await self._sender.post(address, rendering, request_id=request_id, deadline_s=_DEADLINE_S)
            except FewshotError as e:
                logger.info("could not post a notice about missed messages: %s", type(e).__name__)


def _sentence(num: int) -> str:
    if num == 1:
        return "I was away and missed a message that is now too old to answer. Please ask again."
    return f"I was away and missed {num:,} messages that are now too old to answer. Please ask again."
