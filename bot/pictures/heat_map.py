"""The heat map: a picture of a text in which the background of a word is darker the more it surprised the model."""

import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import Final

from PIL.ImageFont import FreeTypeFont

from bot.core.safe_text import clean_model_text, one_line
from bot.core.wording import shorten
from bot.pictures.canvas import QUIET_INK, Canvas
from bot.pictures.fonts import Fonts
from bot.pictures.layout import Layout, Word, lay_out
from bot.pictures.tints import INK, MAX_BITS, NUM_TINTS, tint_of

# A phone shows this as 360 points of three pixels, which makes the text as large as chat text.
WIDTH: Final = 1080
MAX_HEIGHT: Final = 3000

_MARGIN: Final = 42
_FONT_SIZE: Final = 39
_LINE_HEIGHT: Final = 66
_BOX_HEIGHT: Final = 56
_BOX_PADDING: Final = 7
_BOX_RADIUS: Final = 11
_BASELINE: Final = 41  # below the top of a box
_FOOT_SIZE: Final = 29
_FOOT_LINE_HEIGHT: Final = 45
_STEP: Final = (32, 28)
_STEP_GAP: Final = 6
_STEP_RADIUS: Final = 7
_MAX_LINES: Final = (MAX_HEIGHT - 3 * _MARGIN - 2 * _FOOT_LINE_HEIGHT) // _LINE_HEIGHT

_MAX_NAMED: Final = 10
_MAX_NAMED_CHARACTERS: Final = 40

_drawing = threading.Lock()


def draw_heat_map(pieces: Sequence[tuple[str, float | None]]) -> bytes:
    """Return the PNG of a text in `pieces`, each with its bits (None: not scored, so without a tint).

    Joined, the pieces are the text with its white space and line breaks. Words beyond MAX_HEIGHT are not drawn but
    counted below the text. Safe to call from several threads, which take turns. Pillow joins letters, and words of
    right-to-left scripts are put in order; mixed directions within a word may come out wrong.
    """
    with _drawing:
        fonts = _fonts(_FONT_SIZE)
        width = WIDTH - 2 * _MARGIN
        layout = lay_out(pieces, fonts, width=width, padding=_BOX_PADDING, max_lines=_MAX_LINES)
        return _draw(layout).png()


def heat_map_alt_text(pieces: Sequence[tuple[str, float | None]], *, max_characters: int) -> str:
    """Return the alt text: what the picture shows, and the most surprising words.

    It has at most `max_characters` (at least 150), counted in UTF-16 code units, which are never fewer than characters.
    """
    scored = [(bits, piece) for piece, bits in pieces if bits is not None and not math.isnan(bits) and piece.strip()]
    scored.sort(key=lambda item: -item[0])
    text = "Heat map of the text: the darker the background of a word, the more it surprised the model."
    if not scored:
        return f"{text} No word was scored."
    start = " Most surprising: "
    for bits, piece in scored[:_MAX_NAMED]:
        named = f"{start}“{_named(piece)}” {bits:.1f} bits"
        # One unit is reserved for the full stop.
        if len((text + named).encode("utf-16-le", "replace")) // 2 >= max_characters:
            break
        text += named
        start = ", "
    return text + "."


def _named(piece: str) -> str:
    return shorten(one_line(clean_model_text(piece)), _MAX_NAMED_CHARACTERS)


@cache
def _fonts(size: int) -> Fonts:
    return Fonts(size)


def _draw(layout: Layout) -> Canvas:
    top = _MARGIN + len(layout.lines) * _LINE_HEIGHT
    canvas = Canvas(WIDTH, top + 2 * _MARGIN + _FOOT_LINE_HEIGHT * (2 if layout.num_left_out else 1))
    for i, line in enumerate(layout.lines):
        for x, word in line.placed(WIDTH - 2 * _MARGIN):
            _draw_word(canvas, _MARGIN + x, _MARGIN + i * _LINE_HEIGHT, word)
    small = _fonts(_FOOT_SIZE).main
    if layout.num_left_out:
        unit = "word is" if layout.num_left_out == 1 else "words are"
        note = f"… {layout.num_left_out:,} more {unit} not shown"
        canvas.text((_MARGIN + _BOX_PADDING, top + round(_FOOT_LINE_HEIGHT * 0.7)), note, small, QUIET_INK)
        top += _FOOT_LINE_HEIGHT
    _draw_legend(canvas, top + _MARGIN // 2, small)
    return canvas


def _draw_word(canvas: Canvas, x: float, top: int, word: Word) -> None:
    is_scored = word.bits is not None and not math.isnan(word.bits)
    if word.bits is not None and is_scored:
        right = round(x + word.width) - 2  # a gap, so that two words without white space between them look separate
        canvas.box(round(x), top, right, top + _BOX_HEIGHT, tint_of(word.bits), _BOX_RADIUS)
    x += _BOX_PADDING
    baseline = top + _BASELINE
    for run in word.runs:
        if run.font is not None:
            canvas.text((x, baseline), run.text, run.font, INK if is_scored else QUIET_INK)
        else:
            step = run.width / len(run.text)
            for i in range(len(run.text)):
                left = x + i * step
                canvas.frame(left + 4, baseline - round(_FONT_SIZE * 0.7), left + step - 4, baseline)
        x += run.width


def _draw_legend(canvas: Canvas, top: int, font: FreeTypeFont) -> None:
    left = _MARGIN + _BOX_PADDING
    canvas.line(left, WIDTH - left, top)
    baseline = top + _MARGIN + round(_FOOT_SIZE * 0.8)
    x = left
    canvas.text((x, baseline), "0 bits", font, QUIET_INK)
    x += round(font.getlength("0 bits")) + _STEP_GAP * 3
    width, height = _STEP
    step_top = baseline - round(_FOOT_SIZE * 0.36) - height // 2
    for tint in range(1, NUM_TINTS, 2):
        canvas.box(x, step_top, x + width, step_top + height, tint, _STEP_RADIUS)
        x += width + _STEP_GAP
    canvas.text((x + _STEP_GAP * 2, baseline), f"{MAX_BITS:.0f}+ bits", font, QUIET_INK)
    canvas.text((WIDTH - left, baseline), "darker = more surprising", font, QUIET_INK, "rs")
