"""Parts of sentences that people read: shortened texts, quotations, lists of words."""

from collections.abc import Sequence
from typing import Final

from bot.core.safe_text import cut_text

MAX_QUOTED: Final = 41  # 40 characters and …
MAX_CELL: Final = 60  # of a table with many rows
MAX_PATH: Final = 61  # a model's name, its folder, or a problem in its files


def shorten(text: str, limit: int) -> str:
    """Return `text` cut to at most `limit` characters, with … at the end if it was longer."""
    return text if len(text) <= limit else cut_text(text, max(0, limit - 1)) + "…"


def quote(text: str, limit: int = MAX_QUOTED) -> str:
    """Return `text` in quotes, shortened, with line breaks and other control characters escaped."""
    return repr(shorten(text, limit))


def list_words(words: Sequence[str], last: str = "and") -> str:
    """Return `words` (at least one) as a list in a sentence: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
