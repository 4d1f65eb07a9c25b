"""Messages to the bot that are too old to be answered when it is back: told once in each channel."""

import logging
from dataclasses import dataclass
from typing import Final

import discord

from bot.core.cards import Card, Text
from bot.errors import FewshotError
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender

logger = logging.getLogger(__name__)

# After a long time away on many servers: the rest is left untold rather than that the bot floods Discord.
_MAX_TOLD: Final = 50
_DEADLINE_S: Final = 8.0


@dataclass(slots=True)
class _Place:
    channel: discord.abc.Messageable
    message_ids: set[int]


class TooLate:
    """Keeps which messages came too late, until they are told of."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._places: dict[int, _Place] = {}

    def note(self, message: discord.Message) -> None:
        """Take a message that was for the bot; one that is read back twice counts once."""
        place = self._places.setdefault(message.channel.id, _Place(message.channel, set()))
        place.message_ids.add(message.id)

    async def tell(self) -> None:
        """Say in each channel how many there were, the channels with the latest ones first."""
        places = sorted(self._places.values(), key=lambda place: max(place.message_ids), reverse=True)
        self._places.clear()
        for place in places[:_MAX_TOLD]:
            # Told by a run that ended before it could note so, it is the same message to Discord.
            request_id = f"{max(place.message_ids)}.late"
            try:
                await self._sender.send(
                    place.channel,
                    render(Card(blocks=(Text(_sentence(len(place.message_ids))),))),
                    request_id=request_id,
                    deadline_s=_DEADLINE_S,
                )
            except FewshotError as e:
                logger.info("messages that came too late could not be told of: %s", type(e).__name__)


def _sentence(num: int) -> str:
    if num == 1:
        return "I was away; one message to me is too old to answer now, ask again."
    return f"I was away; {num:,} messages to me are too old to answer now, ask again."
