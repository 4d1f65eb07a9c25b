"""The page that all pictures share: its size, its fonts, and how words and notes are drawn on it."""

import logging
import math
import threading
from functools import cache
from typing import Final

from PIL.ImageFont import FreeTypeFont

from bot.pictures.canvas import QUIET_INK, Canvas
from bot.pictures.fonts import Fonts
from bot.pictures.layout import Layout, Word
from bot.pictures.tints import INK

logger = logging.getLogger(__name__)

# A phone shows this as 360 points of three pixels, which makes the text as large as chat text.
WIDTH: Final = 1080
MAX_HEIGHT: Final = 3000
MARGIN: Final = 42
FONT_SIZE: Final = 39
LINE_HEIGHT: Final = 66
BOX_HEIGHT: Final = 56
BOX_PADDING: Final = 7
BOX_RADIUS: Final = 11
FOOT_SIZE: Final = 29
FOOT_LINE_HEIGHT: Final = 45
_BASELINE: Final = 41  # below the top of a box
STEP: Final = (32, 28)
STEP_GAP: Final = 6
STEP_RADIUS: Final = 7

# FreeType is not thread-safe: hold this while text is measured or drawn.
drawing: Final = threading.Lock()


@cache
def fonts(size: int) -> Fonts:
    """Return the fonts at one size."""
    return Fonts(size)


def draw_word(canvas: Canvas, x: float, top: int, word: Word, tint: int | None) -> None:
    """Draw `word` in a box of `tint`; without one it is quiet and has no box."""
    if tint is not None:
        right = round(x + word.width) - 2  # a gap, so that two words without white space between them look separate
        canvas.box(round(x), top, right, top + BOX_HEIGHT, tint, BOX_RADIUS)
    x += BOX_PADDING
    baseline = top + _BASELINE
    for run in word.runs:
        if run.font is not None:
            canvas.text((x, baseline), run.text, run.font, QUIET_INK if tint is None else INK)
        else:
            step = run.width / len(run.text)
            for i in range(len(run.text)):
                left = x + i * step
                canvas.frame(left + 4, baseline - round(FONT_SIZE * 0.7), left + step - 4, baseline)
        x += run.width


def is_scored(bits: float | None) -> bool:
    """Return whether `bits` is a figure."""
    return bits is not None and not math.isnan(bits)


def notes_of(*layouts: Layout) -> list[str]:
    """Return the lines that say what the picture lacks: words without room, characters without a font."""
    notes = []
    if num_left_out := sum(layout.num_left_out for layout in layouts):
        notes.append(f"… {num_left_out:,} more {'word is' if num_left_out == 1 else 'words are'} not shown")
    if num_boxes := sum(layout.num_boxes for layout in layouts):
        notes.append(boxes_note(num_boxes))
        _tell_operator()
    return notes


@cache
def _tell_operator() -> None:
    """Log once that a font is missing."""
    logger.warning("Some characters have no font here, so pictures show boxes. README.md says which fonts to install.")


def boxes_note(num_boxes: int) -> str:
    """Return the line that says why there are boxes."""
    signs = "1 character is shown as a box" if num_boxes == 1 else f"{num_boxes:,} characters are shown as boxes"
    return f"{signs}: the bot has no font for {'it' if num_boxes == 1 else 'them'}"


def draw_notes(canvas: Canvas, top: int, notes: list[str], font: FreeTypeFont) -> int:
    """Draw quiet lines from `top` on; return where they end."""
    for note in notes:
        canvas.text((MARGIN + BOX_PADDING, top + round(FOOT_LINE_HEIGHT * 0.7)), note, font, QUIET_INK)
        top += FOOT_LINE_HEIGHT
    return top
