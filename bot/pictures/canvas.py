"""The canvas of a picture: a layer of tints and a layer of ink, joined into a PNG with 256 colours."""

import io
from collections.abc import Sequence
from functools import cache
from typing import Final

from PIL import Image, ImageChops, ImageDraw
from PIL.ImageFont import FreeTypeFont

from bot.pictures.tints import INK, NUM_INKS, NUM_TINTS, PALETTE, Color

# Lighter than INK: secondary text, and hairlines.
QUIET_INK: Final = 170
LINE_INK: Final = 34


class Canvas:
    """A picture to draw on. All colours are in one palette, so the PNG is small and quick to write."""

    def __init__(self, width: int, height: int, *, palette: Sequence[Color] = PALETTE, paper: int = 0) -> None:
        self._palette = palette
        self._tints = Image.new("L", (width, height), paper * NUM_INKS)
        self._inks = Image.new("L", (width, height), 0)
        self._tint_pen = ImageDraw.Draw(self._tints)
        self._ink_pen = ImageDraw.Draw(self._inks)

    def text(
        self, place: tuple[float, float], text: str, font: FreeTypeFont, ink: int = INK, anchor: str = "ls"
    ) -> None:
        """Write `text`; its baseline starts at `place`, ends there with the anchor "rs", is centred with "ms"."""
        self._ink_pen.text(place, text, ink, font, anchor)

    def line(self, left: float, right: float, y: float) -> None:
        """Draw a horizontal hairline."""
        self._ink_pen.line((left, y, right, y), LINE_INK, 2)

    def frame(self, left: float, top: float, right: float, bottom: float) -> None:
        """Draw the outline that stands for a character without a glyph."""
        self._ink_pen.rounded_rectangle((left, top, right, bottom), 3, outline=QUIET_INK, width=2)

    def box(self, left: int, top: int, right: int, bottom: int, tint: int, radius: int) -> None:
        """Fill a box with round corners, which blend with the tint around it."""
        radius = min(radius, (right - left - 1) // 2)
        value = tint * NUM_INKS
        self._tint_pen.rectangle((left + radius, top, right - radius - 1, bottom - 1), value)
        self._tint_pen.rectangle((left, top + radius, right - 1, bottom - radius - 1), value)
        for i, corner in enumerate(_corners(radius)):
            place = (left if i % 2 == 0 else right - radius, top if i < 2 else bottom - radius)
            self._tint_pen.bitmap(place, corner, value)

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        inks = self._inks.point([(value * (NUM_INKS - 1) + 127) // 255 for value in range(256)])
        tints = self._tints.point([min((value + 8) // NUM_INKS, NUM_TINTS - 1) * NUM_INKS for value in range(256)])
        picture = Image.frombytes("P", inks.size, ImageChops.add(tints, inks).tobytes())
        picture.putpalette([part for color in self._palette for part in color])
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=3)
        return file.getvalue()


@cache
def _corners(radius: int) -> tuple[Image.Image, ...]:
    """Return the masks of a box's corners: top left, top right, bottom left, bottom right."""
    if radius < 1:
        return ()
    disc = Image.new("L", (16 * radius, 16 * radius))
    ImageDraw.Draw(disc).ellipse((0, 0, 16 * radius - 1, 16 * radius - 1), fill=255)
    disc = disc.resize((2 * radius, 2 * radius), Image.Resampling.BOX)
    places = ((0, 0), (radius, 0), (0, radius), (radius, radius))
    return tuple(disc.crop((x, y, x + radius, y + radius)) for x, y in places)
