"""Messages that are too old to be answered when the bot is back: one notice in each channel."""

import logging
from dataclasses import dataclass
from typing import Final

import discord

from bot.core.cards import Card, Text
from bot.errors import FewshotError
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender

logger = logging.getLogger(__name__)

# After a long outage on many servers the other channels get no notice, so that the bot does not flood Discord.
_MAX_TOLD: Final = 50
_DEADLINE_S: Final = 8.0


@dataclass(slots=True)
class _Place:
    channel: discord.abc.Messageable
    message_ids: set[int]


class TooLate:
    """Collects the messages that came too late, until their channels are told."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._places: dict[int, _Place] = {}

    def note(self, message: discord.Message) -> None:
        """Add a message that was for the bot; a message that is read back twice counts once."""
        place = self._places.setdefault(message.channel.id, _Place(message.channel, set()))
        place.message_ids.add(message.id)

    async def tell(self) -> None:
        """Post the number of missed messages in each channel, the channels with the newest messages first."""
        places = sorted(self._places.values(), key=lambda place: max(place.message_ids), reverse=True)
        self._places.clear()
        for place in places[:_MAX_TOLD]:
            # A run that crashed after posting posts the same nonce again, so Discord shows the notice once.
            request_id = f"{max(place.message_ids)}.late"
            try:
                await self._sender.send(
                    place.channel,
                    render(Card(blocks=(Text(_sentence(len(place.message_ids))),))),
                    request_id=request_id,
                    deadline_s=_DEADLINE_S,
                )
            except FewshotError as e:
                logger.info("could not post a notice about missed messages: %s", type(e).__name__)


def _sentence(num: int) -> str:
    if num == 1:
        return "I was away and missed a message that is now too old to answer. Please ask again."
    return f"I was away and missed {num:,} messages that are now too old to answer. Please ask again."
