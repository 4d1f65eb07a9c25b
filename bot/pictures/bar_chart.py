"""The picture of fractions as bars, whose lengths tell one percent from four."""

from typing import Final

from bot.core.cards import Bars
from bot.core.wording import shorten
from bot.pictures.canvas import Canvas
from bot.pictures.layout import Layout, lay_out
from bot.pictures.page import (
    BOX_HEIGHT,
    BOX_PADDING,
    FONT_SIZE,
    FOOT_LINE_HEIGHT,
    FOOT_SIZE,
    LINE_HEIGHT,
    MARGIN,
    WIDTH,
    boxes_note,
    draw_notes,
    draw_word,
    drawing,
    fonts,
    notes_of,
)
from bot.pictures.picture import Picture, add_items, named
from bot.pictures.tints import INK

_MAX_NAME_WIDTH: Final = 520
_MAX_NAME_CHARACTERS: Final = 60
_BAR_GAP: Final = 18
_BAR_MARGIN: Final = 8  # above and below a bar
_BAR_RADIUS: Final = 7
_MIN_BAR: Final = 4
_BAR_TINT: Final = 12
_NAME_TINT: Final = 0  # the paper: a name without a box


def draw_bars(bars: Bars, *, max_alt_characters: int) -> Picture:
    """Return the picture of at least one bar; the longest bar fills the width. Safe to call from several threads."""
    with drawing:
        names = [_name(name) for name, _ in bars.items]
        png = _draw(bars, names).png()
        num_boxes = sum(name.num_boxes for name in names)
    return Picture(png, bars_alt_text(bars, num_boxes, max_characters=max_alt_characters), "bars")


def bars_alt_text(bars: Bars, num_boxes: int = 0, *, max_characters: int) -> str:
    """Return the alt text: what the bars show, and the names with their percentages."""
    text = bars.what
    if num_boxes:
        text += f" ({boxes_note(num_boxes)})"
    items = [f"{named(name)} {_percent(fraction)}" for name, fraction in bars.items]
    if bars.rest_name:
        items.append(f"{bars.rest_name} {_percent(bars.rest)}")
    return add_items(text, ": ", items, max_characters=max_characters)


def _name(name: str) -> Layout:
    """Return the name on one line, cut where there is no room."""
    for limit in range(_MAX_NAME_CHARACTERS, 0, -1):
        shown = shorten(name, limit)
        layout = lay_out([(shown, 0.0)], fonts(FONT_SIZE), width=_MAX_NAME_WIDTH, padding=0, max_lines=1)
        if not layout.num_left_out:
            break
    return layout


def _percent(fraction: float) -> str:
    return "<0.1%" if 0 < fraction < 0.0005 else f"{fraction:.1%}"


def _draw(bars: Bars, names: list[Layout]) -> Canvas:
    notes = notes_of(*names)
    if bars.rest_name:
        notes.insert(0, f"{_percent(bars.rest)} {bars.rest_name}")
    top = MARGIN + len(names) * LINE_HEIGHT
    canvas = Canvas(WIDTH, top + MARGIN + FOOT_LINE_HEIGHT * len(notes))
    font = fonts(FONT_SIZE).main
    percents = [_percent(fraction) for _, fraction in bars.items]
    left = MARGIN + BOX_PADDING + max(round(name.lines[0].width) for name in names) + _BAR_GAP
    longest = WIDTH - left - MARGIN - _BAR_GAP - max(font.getlength(percent) for percent in percents)
    largest = max(fraction for _, fraction in bars.items) or 1.0
    for i, (name, percent, (_, fraction)) in enumerate(zip(names, percents, bars.items, strict=True)):
        y = MARGIN + i * LINE_HEIGHT
        for x, word in name.lines[0].placed(name.lines[0].width):
            draw_word(canvas, MARGIN + x, y, word, _NAME_TINT)
        right = left + max(_MIN_BAR, round(longest * fraction / largest))
        canvas.box(left, y + _BAR_MARGIN, right, y + BOX_HEIGHT - _BAR_MARGIN, _BAR_TINT, _BAR_RADIUS)
        canvas.text((right + _BAR_GAP, y + BOX_HEIGHT - 15), percent, font, INK)
    draw_notes(canvas, top + MARGIN // 3, notes, fonts(FOOT_SIZE).main)
    return canvas
