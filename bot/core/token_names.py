"""Tokens as people read them: white space by its name, and pieces of a word told from whole words."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from bot.core.word_spans import is_unspaced

_WHITE_SPACE: Final = {"\n": "line break", " ": "space", "\t": "tab"}
_GOES_ON: Final = "…"  # before a piece of a word
_APOSTROPHES: Final = "'’"


def with_signs(text: str) -> str:
    """Return `text` with visible signs for line breaks, tabs and other characters that show nothing."""
    text = text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", "⇥").strip(" ")
    # A joiner or a variation selector is part of an emoji or a letter; alone it would be an empty place.
    seen_alone = not all(map(_is_unseen_alone, text))
    return "".join(f"⟨U+{ord(c):04X}⟩" if _is_unseen(c) or not (seen_alone or c == " ") else c for c in text)


def _is_unseen(character: str) -> bool:
    return character != " " and (character.isspace() or unicodedata.category(character) == "Cc")


def _is_unseen_alone(character: str) -> bool:
    return (
        character == " "
        or _is_unseen(character)
        or unicodedata.category(character) in ("Cf", "Co", "Cs", "Cn")
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


def token_name(text: str, *, follows_word: bool) -> str:
    """Return the name of the token `text`: its own text, with `…` before a piece that goes on with the word before it.

    With `follows_word` it stands directly behind a letter or digit.
    """
    text = text.replace("\r\n", "\n")
    if all(c in _WHITE_SPACE for c in text):
        return " and ".join(_counted(c, text.count(c)) for c in dict.fromkeys(text)) or "nothing"
    name = with_signs(text)
    letter = text.lstrip(_APOSTROPHES)[:1]
    return f"{_GOES_ON}{name}" if follows_word and letter.isalnum() and not is_unspaced(letter) else name


def add_up(named: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Return (name, probability) pairs with the probabilities of equal names added up, the likeliest first."""
    total: defaultdict[str, float] = defaultdict(float)
    for name, probability in named:
        total[name] += probability
    return tuple(sorted(total.items(), key=lambda pair: -pair[1]))


def _counted(character: str, num: int) -> str:
    name = _WHITE_SPACE[character]
    return f"a {name}" if num == 1 else f"{num} {name}s"
