"""A finished picture and its alt text, and alt texts that fit into a limit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bot.core.safe_text import clean_model_text, one_line
from bot.core.wording import shorten

_MAX_NAMED_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, what it shows in words, and the name of its file without the ending."""

    png: bytes
    alt: str
    name: str


def named(word: str) -> str:
    """Return a word in quotes as an alt text may hold it."""
    return f"“{shorten(one_line(clean_model_text(word)), _MAX_NAMED_CHARACTERS)}”"


def add_items(text: str, start: str, items: Iterable[str], *, max_characters: int) -> str:
    """Return `text`, `start`, and as many of `items` as fit, separated by commas, with a full stop at the end.

    `max_characters` counts UTF-16 code units, which are never fewer than characters. Without room for an item, `start`
    is left out too.
    """
    for item in items:
        # One unit is reserved for the full stop.
        if len((text + start + item).encode("utf-16-le", "replace")) // 2 >= max_characters:
            break
        text += start + item
        start = ", "
    return text if text.endswith(".") else text + "."
