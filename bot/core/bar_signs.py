"""Bars made of characters, for text: as fine as an eighth of a character."""

from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def bar_of(fraction: float, width: int) -> str:
    """Return a bar for `fraction` (0-1) of `width` characters, without what is empty; any fraction above 0 is seen."""
    eighths = round(8 * width * min(1.0, max(0.0, fraction)))
    if fraction > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
