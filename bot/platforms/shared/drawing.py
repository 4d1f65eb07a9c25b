"""The pictures of a card, for platforms that show pictures."""

import asyncio
import logging
from typing import TypeGuard

from bot.core.cards import Bars, Block, Card, Contrast, TintedText
from bot.pictures.picture import Picture

logger = logging.getLogger(__name__)


def is_drawn(block: Block) -> TypeGuard[TintedText | Contrast | Bars]:
    """Say whether a block is shown as a picture."""
    return isinstance(block, TintedText | Contrast) or (isinstance(block, Bars) and bool(block.what and block.items))


async def draw_pictures(card: Card, *, max_alt_characters: int) -> tuple[Picture, ...]:
    """Return the pictures of a finished card, drawn in a thread; none if drawing fails."""
    drawn = [block for block in card.blocks if is_drawn(block)]
    if not drawn or not card.is_final:
        return ()
    from bot.pictures.blocks import draw_block  # Pillow is loaded with the first picture

    try:
        return tuple(
            [await asyncio.to_thread(draw_block, block, max_alt_characters=max_alt_characters) for block in drawn]
        )
    except Exception:
        # The card can be shown without its picture.
        logger.exception("could not draw a picture")
        return ()
