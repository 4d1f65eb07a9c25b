"""Parts of the sentences that people read: a text cut to fit, a quotation, a list of words."""

from collections.abc import Sequence
from typing import Final

from bot.core.safe_text import cut_text

MAX_QUOTED: Final = 41  # 40 characters and the sign that there are more
MAX_CELL: Final = 60  # of a table that many rows share
MAX_PATH: Final = 61  # a model's name, its folder, or what is wrong in its files


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, with … in place of what does not fit."""
    return text if len(text) <= limit else cut_text(text, max(0, limit - 1)) + "…"


def quote(text: str, limit: int = MAX_QUOTED) -> str:
    """Return `text` in quotes, with line breaks and other controls escaped, short enough for a sentence."""
    return repr(shorten(text, limit))


def list_words(words: Sequence[str], last: str = "and") -> str:
    """Return `words`, of which there is at least one, as a sentence lists them: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
