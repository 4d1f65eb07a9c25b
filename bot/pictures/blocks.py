"""The blocks of a card as pictures."""

from bot.core.cards import Bars, Contrast, TintedText
from bot.pictures.bar_chart import draw_bars
from bot.pictures.contrast import draw_contrast
from bot.pictures.heat_map import draw_heat_map
from bot.pictures.picture import Picture


def draw_block(block: TintedText | Contrast | Bars, *, max_alt_characters: int) -> Picture:
    """Return the picture of `block`, with an alt text of at most `max_alt_characters` UTF-16 units (at least 150)."""
    match block:
        case TintedText():
            return draw_heat_map(block.pieces, max_alt_characters=max_alt_characters)
        case Contrast():
            return draw_contrast(block, max_alt_characters=max_alt_characters)
        case Bars():
            return draw_bars(block, max_alt_characters=max_alt_characters)
