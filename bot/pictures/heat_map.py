"""The heat map: a picture of a text in which the background of a word is darker the more it surprised the model."""

from collections.abc import Sequence
from typing import Final

from PIL.ImageFont import FreeTypeFont

from bot.pictures.canvas import QUIET_INK, Canvas
from bot.pictures.layout import Layout, lay_out
from bot.pictures.page import (
    BOX_PADDING,
    FONT_SIZE,
    FOOT_LINE_HEIGHT,
    FOOT_SIZE,
    LINE_HEIGHT,
    MARGIN,
    MAX_HEIGHT,
    STEP,
    STEP_GAP,
    STEP_RADIUS,
    WIDTH,
    boxes_note,
    draw_notes,
    draw_word,
    drawing,
    fonts,
    is_scored,
    notes_of,
)
from bot.pictures.picture import Picture, add_items, named
from bot.pictures.tints import MAX_BITS, NUM_TINTS, tint_of

_MAX_LINES: Final = (MAX_HEIGHT - 3 * MARGIN - 3 * FOOT_LINE_HEIGHT) // LINE_HEIGHT
_MAX_NAMED: Final = 10


def draw_heat_map(pieces: Sequence[tuple[str, float | None]], *, max_alt_characters: int) -> Picture:
    """Return the picture of a text in `pieces`, each with its bits (None: not scored, so without a tint).

    Joined, the pieces are the text with its white space and line breaks. Words beyond MAX_HEIGHT are not drawn but
    counted below the text, as are characters without a font. Safe to call from several threads, which take turns.
    Pillow joins letters, and words of right-to-left scripts are put in order; mixed directions within a word may come
    out wrong. The alt text has at most `max_alt_characters` (at least 150).
    """
    with drawing:
        layout = lay_out(pieces, fonts(FONT_SIZE), width=WIDTH - 2 * MARGIN, padding=BOX_PADDING, max_lines=_MAX_LINES)
        png = _draw(layout).png()
    return Picture(png, heat_map_alt_text(pieces, layout.num_boxes, max_characters=max_alt_characters), "heat-map")


def heat_map_alt_text(pieces: Sequence[tuple[str, float | None]], num_boxes: int = 0, *, max_characters: int) -> str:
    """Return the alt text: what the picture shows, and the most surprising words, the first word only if alone."""
    worded = [(bits, piece) for piece, bits in pieces if piece.strip()]
    scored = [(bits, piece) for bits, piece in worded if bits is not None and is_scored(bits)]
    if len(scored) > 1 and scored[0] == worded[0]:
        del scored[0]  # its bits are those of the text's start
    scored.sort(key=lambda item: -item[0])
    text = "Heat map of the text: the darker the background of a word, the more it surprised the model."
    if num_boxes:
        text += f" {boxes_note(num_boxes)}."
    if not scored:
        return f"{text} No word was scored."
    most = (f"{named(piece)} {bits:.1f} bits" for bits, piece in scored[:_MAX_NAMED])
    return add_items(text, " Most surprising: ", most, max_characters=max_characters)


def _draw(layout: Layout) -> Canvas:
    top = MARGIN + len(layout.lines) * LINE_HEIGHT
    notes = notes_of(layout)
    canvas = Canvas(WIDTH, top + 2 * MARGIN + FOOT_LINE_HEIGHT * (1 + len(notes)))
    for i, line in enumerate(layout.lines):
        for x, word in line.placed(WIDTH - 2 * MARGIN):
            tint = tint_of(word.bits) if word.bits is not None and is_scored(word.bits) else None
            draw_word(canvas, MARGIN + x, MARGIN + i * LINE_HEIGHT, word, tint)
    small = fonts(FOOT_SIZE).main
    _draw_legend(canvas, draw_notes(canvas, top, notes, small) + MARGIN // 2, small)
    return canvas


def _draw_legend(canvas: Canvas, top: int, font: FreeTypeFont) -> None:
    left = MARGIN + BOX_PADDING
    canvas.line(left, WIDTH - left, top)
    baseline = top + MARGIN + round(FOOT_SIZE * 0.8)
    x = left
    canvas.text((x, baseline), "0 bits", font, QUIET_INK)
    x += round(font.getlength("0 bits")) + STEP_GAP * 3
    width, height = STEP
    step_top = baseline - round(FOOT_SIZE * 0.36) - height // 2
    for tint in range(1, NUM_TINTS, 2):
        canvas.box(x, step_top, x + width, step_top + height, tint, STEP_RADIUS)
        x += width + STEP_GAP
    canvas.text((x + STEP_GAP * 2, baseline), f"{MAX_BITS:.0f}+ bits", font, QUIET_INK)
    canvas.text((WIDTH - left, baseline), "darker = more surprising", font, QUIET_INK, "rs")
