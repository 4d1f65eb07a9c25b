"""The colours of pictures: tints of one hue for bits, of two hues for differences, and dark ink for the text."""

import colorsys
import math
from typing import Final

Color = tuple[int, int, int]

# Words with at least this many bits have the darkest tint.
MAX_BITS: Final = 20.0
# Tint 0 is the paper, tint 1 is for 0 bits.
NUM_TINTS: Final = 16
NUM_INKS: Final = 16
INK: Final = 255

_PAPER: Final[Color] = (255, 253, 250)
_INK_COLOR: Final[Color] = (28, 25, 23)
# Orange, as on the terminal: people who can't tell red from green see a range of yellows. Hue and saturation are
# constant and only the lightness shows the bits, so the picture is readable in grey too.
_HUE: Final = 27 / 360
_SATURATION: Final = 0.95
_LIGHTEST: Final = 0.955
_DARKEST: Final = 0.5


# Differences of at least this many bits have the darkest tints.
MAX_DIFFERENCE: Final = 10.0
# In DIFFERENCE_PALETTE the paper is in the middle, so that every tint blends with it through its own hue.
DIFFERENCE_PAPER: Final = 8
_NUM_DIFFERENCES: Final = NUM_TINTS - DIFFERENCE_PAPER - 1
# Blue against orange: nobody sees them as the same colour, and the figures have signs.
_LIKELIER_HUE: Final = 212 / 360
_DARKEST_LIKELIER: Final = 0.62


def tint_of(bits: float) -> int:
    """Return the number of the tint for a word of `bits`."""
    fraction = 0.0 if math.isnan(bits) else min(max(bits / MAX_BITS, 0.0), 1.0)
    return 1 + round((NUM_TINTS - 2) * fraction)


def difference_tint(bits: float) -> int:
    """Return the number of the tint in DIFFERENCE_PALETTE for a word of so many bits more or fewer."""
    fraction = 0.0 if math.isnan(bits) else min(max(bits / MAX_DIFFERENCE, -1.0), 1.0)
    return DIFFERENCE_PAPER + round(_NUM_DIFFERENCES * fraction)


def _color_of(tint: int) -> Color:
    return _PAPER if tint == 0 else _shade(_HUE, (tint - 1) / (NUM_TINTS - 2), _DARKEST)


def _difference_color(tint: int) -> Color:
    step = tint - DIFFERENCE_PAPER
    if step == 0:
        return _PAPER
    part = min(1.0, (abs(step) - 1) / (_NUM_DIFFERENCES - 1))
    return _shade(_HUE, part, _DARKEST) if step > 0 else _shade(_LIKELIER_HUE, part, _DARKEST_LIKELIER)


def _shade(hue: float, part: float, darkest: float) -> Color:
    red, green, blue = colorsys.hls_to_rgb(hue, _LIGHTEST + (darkest - _LIGHTEST) * part, _SATURATION)
    return round(red * 255), round(green * 255), round(blue * 255)


def _inked(paper: Color, ink: int) -> Color:
    part = ink / (NUM_INKS - 1)
    red, green, blue = (round(p + (i - p) * part) for p, i in zip(paper, _INK_COLOR, strict=True))
    return red, green, blue


# The color at `tint * NUM_INKS + ink`: every amount of ink (0 none, the last full) on every tint.
PALETTE: Final = tuple(_inked(_color_of(tint), ink) for tint in range(NUM_TINTS) for ink in range(NUM_INKS))
DIFFERENCE_PALETTE: Final = tuple(
    _inked(_difference_color(tint), ink) for tint in range(NUM_TINTS) for ink in range(NUM_INKS)
)
