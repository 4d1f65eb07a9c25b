"""The picture of a comparison: texts one below the other, each word with its difference in bits from the first text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL.ImageFont import FreeTypeFont

from bot.core.cards import Contrast, ContrastedText
from bot.pictures.canvas import QUIET_INK, Canvas
from bot.pictures.layout import Captions, Layout, Word, lay_out
from bot.pictures.page import (
    BOX_HEIGHT,
    BOX_PADDING,
    FONT_SIZE,
    FOOT_LINE_HEIGHT,
    FOOT_SIZE,
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
from bot.pictures.tints import (
    DIFFERENCE_PALETTE,
    DIFFERENCE_PAPER,
    MAX_DIFFERENCE,
    NUM_TINTS,
    difference_tint,
)

_LINE_HEIGHT: Final = 104
_CAPTION_BASELINE: Final = BOX_HEIGHT + 30
_HEAD_HEIGHT: Final = 58
_GAP: Final = 30  # below a text
_FOOT_HEIGHT: Final = 3 * MARGIN + 4 * FOOT_LINE_HEIGHT
_MAX_NAMED: Final = 5
_SMALLEST: Final = 0.05  # rounds to 0.1


@dataclass(frozen=True, slots=True)
class _Section:
    text: ContrastedText
    head: str
    layout: Layout


def draw_contrast(contrast: Contrast, *, max_alt_characters: int) -> Picture:
    """Return the picture of at least two texts. The notes on `draw_heat_map` hold here too."""
    with drawing:
        small = fonts(FOOT_SIZE).main
        room = MAX_HEIGHT - MARGIN - _FOOT_HEIGHT - len(contrast.texts) * (_HEAD_HEIGHT + _GAP)
        max_lines = max(1, room // len(contrast.texts) // _LINE_HEIGHT)
        sections = [_section(contrast, i, small, max_lines) for i in range(len(contrast.texts))]
        png = _draw(sections, small).png()
        num_boxes = sum(section.layout.num_boxes for section in sections)
    return Picture(png, contrast_alt_text(contrast, num_boxes, max_characters=max_alt_characters), "comparison")


def contrast_alt_text(contrast: Contrast, num_boxes: int = 0, *, max_characters: int) -> str:
    """Return the alt text: what the picture shows, the totals, and each text's largest differences."""
    first, *others = contrast.texts
    text = (
        f"Comparison word by word with {first.name}, which takes {first.total_bits:.1f} bits: orange words take more"
        f" bits than in {first.name}, blue words fewer."
    )
    if num_boxes:
        text += f" {boxes_note(num_boxes)}."
    for at, other in enumerate(others, 1):
        share = len(text) + (max_characters - len(text)) * at // len(others)
        start = f" {_distance(other, first)}"
        largest = sorted(
            ((bits, piece) for piece, bits in other.pieces if bits is not None and is_scored(bits) and piece.strip()),
            key=lambda item: -abs(item[0]),
        )
        items = [f"{named(piece)} {bits:+.1f}" for bits, piece in largest[:_MAX_NAMED] if abs(bits) >= _SMALLEST]
        if len((text + start).encode("utf-16-le", "replace")) // 2 >= share:
            break
        text = add_items(text + start, ", most of it by ", items, max_characters=share)
    return text


def _distance(text: ContrastedText, first: ContrastedText) -> str:
    return f"{text.name} takes {text.total_bits - first.total_bits:.1f} bits more"


def _section(contrast: Contrast, at: int, small: FreeTypeFont, max_lines: int) -> _Section:
    text, first = contrast.texts[at], contrast.texts[0]
    head = f"{text.name} · {text.total_bits:,.1f} bits"
    if at:
        head += f", {text.total_bits - first.total_bits:,.1f} more than {first.name}"
    layout = lay_out(
        text.pieces,
        fonts(FONT_SIZE),
        width=WIDTH - 2 * MARGIN,
        padding=BOX_PADDING,
        max_lines=max_lines,
        captions=Captions(_signed if at else _unsigned, small),
    )
    return _Section(text, head, layout)


def _unsigned(bits: float | None) -> str:
    return f"{bits:.1f}" if bits is not None and is_scored(bits) else ""


def _signed(bits: float | None) -> str:
    # A minus sign is as wide as a plus.
    if bits is None or not is_scored(bits) or abs(bits) < _SMALLEST:
        return ""
    return f"{bits:+.1f}".replace("-", "−")


def _draw(sections: Sequence[_Section], small: FreeTypeFont) -> Canvas:
    notes = notes_of(*(section.layout for section in sections))
    height = MARGIN + sum(_HEAD_HEIGHT + len(one.layout.lines) * _LINE_HEIGHT + _GAP for one in sections)
    canvas = Canvas(
        WIDTH,
        height + 2 * MARGIN + FOOT_LINE_HEIGHT * (2 + len(notes)),
        palette=DIFFERENCE_PALETTE,
        paper=DIFFERENCE_PAPER,
    )
    top = MARGIN
    for at, section in enumerate(sections):
        canvas.text((MARGIN + BOX_PADDING, top + FOOT_SIZE), section.head, small, QUIET_INK)
        top += _HEAD_HEIGHT
        for line in section.layout.lines:
            for x, word in line.placed(WIDTH - 2 * MARGIN):
                _draw_word(canvas, MARGIN + x, top, word, small, is_difference=at > 0)
            top += _LINE_HEIGHT
        top += _GAP
    _draw_legend(canvas, draw_notes(canvas, top, notes, small) + MARGIN // 2, small, sections[0].text.name)
    return canvas


def _draw_word(canvas: Canvas, x: float, top: int, word: Word, small: FreeTypeFont, *, is_difference: bool) -> None:
    tint = None
    if word.bits is not None and is_scored(word.bits):
        tint = difference_tint(word.bits) if is_difference else DIFFERENCE_PAPER
    draw_word(canvas, x, top, word, tint)
    if word.caption:
        canvas.text((x + BOX_PADDING, top + _CAPTION_BASELINE), word.caption, small, QUIET_INK)


def _draw_legend(canvas: Canvas, top: int, font: FreeTypeFont, name: str) -> None:
    left = MARGIN + BOX_PADDING
    canvas.line(left, WIDTH - left, top)
    baseline = top + MARGIN + round(FOOT_SIZE * 0.8)
    x = left
    before, after = f"{MAX_DIFFERENCE:.0f}+ bits fewer", f"{MAX_DIFFERENCE:.0f}+ bits more"
    canvas.text((x, baseline), before, font, QUIET_INK)
    x += round(font.getlength(before)) + STEP_GAP * 3
    width, height = STEP
    step_top = baseline - round(FOOT_SIZE * 0.36) - height // 2
    for tint in range(2 * DIFFERENCE_PAPER - NUM_TINTS + 1, NUM_TINTS, 2):
        canvas.box(x, step_top, x + width, step_top + height, tint, STEP_RADIUS)
        x += width + STEP_GAP
    canvas.text((x + STEP_GAP * 2, baseline), f"{after} than in {name}", font, QUIET_INK)
    note = "more bits = less likely · [word] = missing here"
    canvas.text((left, baseline + FOOT_LINE_HEIGHT), note, font, QUIET_INK)
