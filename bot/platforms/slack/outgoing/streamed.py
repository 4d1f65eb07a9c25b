"""The words of an answer in a stream: those that are already there, and those that are added."""

import logging
from collections.abc import Sequence
from typing import Final

from bot.core.cards import Card, Text
from bot.core.safe_text import clean_model_text
from bot.errors import DeliveryFailed, SendRefused
from bot.pictures.picture import Picture
from bot.platforms.slack.ids import SlackId
from bot.platforms.slack.interactions.items import item_blocks
from bot.platforms.slack.outgoing.escaping import closing_of, escape_model_text
from bot.platforms.slack.outgoing.sender import Sender, metadata_of

logger = logging.getLogger(__name__)

# Slack ends a stream five minutes after its start, even while words are added.
MAX_STREAM_S: Final = 230.0
# Slack takes 12,000 characters in a call, and escapes count.
_MAX_STREAMED: Final = 11_000


class StreamedWords:
    """Words that are added to one message. What Slack refuses is shown by an update of the message instead."""

    def __init__(self, sender: Sender, sent: SlackId, words: str) -> None:
        self._sender = sender
        self._sent = sent
        self._words = words
        self._started = self._sender.streams.now()
        self._may_append = True

    async def show(self, card: Card) -> bool:
        """Add the new words of a snapshot; return False if the message has to be updated from now on.

        A snapshot that changes what is already there is left out: the next one may not.
        """
        if not self._may_append or self._is_too_old():
            await self._sender.streams.stop(self._sent)
            return False
        words = words_of(card)
        if words is None or not words.startswith(self._words) or words == self._words:
            return True
        self._may_append = False  # until it is known what became of the words
        try:
            await self._sender.streams.append(self._sent, words[len(self._words) :])
        except SendRefused:
            return True
        self._words, self._may_append = words, True
        return True

    async def end(self, card: Card, pictures: Sequence[Picture], request_id: str) -> bool:
        """End the stream with the finished `card`; return False if the message has to be updated instead."""
        words = words_of(card)
        streams = self._sender.streams
        if self._may_append and not self._is_too_old() and not pictures and words and words.startswith(self._words):
            try:
                metadata = metadata_of(request_id)
                last = words[len(self._words) :] + closing_of(words)
                await streams.finish(self._sent, last, item_blocks(card), metadata)
                return True
            except (SendRefused, DeliveryFailed) as e:
                logger.info("a stream in channel %s is ended by an update: %s", self._sent.channel, e)
        await streams.stop(self._sent)
        return False

    def _is_too_old(self) -> bool:
        return self._sender.streams.now() - self._started > MAX_STREAM_S


def words_of(card: Card) -> str | None:
    """Return the markdown of a card that is nothing but the model's words, None for any other."""
    blocks = [block for block in card.blocks if not isinstance(block, Text) or not block.is_blank]
    if card.error is not None or card.file is not None or len(blocks) != 1:
        return None
    (block,) = blocks
    if not isinstance(block, Text) or not block.is_model_text or len(block.text) > _MAX_STREAMED:
        return None
    # White space at the end may be cut from the next snapshot.
    markdown = escape_model_text(clean_model_text(block.text).rstrip())
    return markdown if 0 < len(markdown) <= _MAX_STREAMED else None
