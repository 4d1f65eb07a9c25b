"""Where the words of a scored text are: between white space, and within scripts and strings that have none."""

import re
from collections.abc import Sequence
from typing import Final

from bot.core.results import TokenScore
from bot.core.safe_text import is_inside_character

# A longer run without white space is an address, a path or a line of code: as one word it would hide its own parts.
MAX_WORD_CHARACTERS: Final = 24

_MAX_CHARACTER: Final = 64  # code points looked at for the start of what a reader sees as one character
_RUN: Final = re.compile(r"\S+")
_ADDRESS: Final = re.compile(r"\w+://")
# Scripts that put no space between words: Thai, Lao, Tibetan, Myanmar, Khmer, Tai, Kana, Bopomofo, Han.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u2e80-\u2fff\u3000-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff00-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


def word_spans(text: str, scores: Sequence[TokenScore]) -> list[tuple[int, int]]:
    """Return the (start, end) of each word of `text`, in order.

    A word is a run without white space. Scripts without spaces between words, addresses, and runs above
    MAX_WORD_CHARACTERS are cut where a token starts, never inside what a reader sees as one character.
    """
    starts = sorted({_first_visible(text, score) for score in scores})
    spans: list[tuple[int, int]] = []
    at = 0
    for run in _RUN.finditer(text):
        while at < len(starts) and starts[at] <= run.start():
            at += 1
        begin = run.start()
        is_cut_anywhere = len(run[0]) > MAX_WORD_CHARACTERS or _ADDRESS.match(run[0]) is not None
        while at < len(starts) and starts[at] < run.end():
            cut = starts[at]
            at += 1
            if not (is_cut_anywhere or _UNSPACED.match(text[cut]) or _UNSPACED.match(text[cut - 1])):
                continue
            near = max(begin, cut - _MAX_CHARACTER)
            if not is_inside_character(text[near : cut + 1], cut - near):
                spans.append((begin, cut))
                begin = cut
        spans.append((begin, run.end()))
    return spans


def is_unspaced(character: str) -> bool:
    """Say whether `character` is of a script that puts no space between words."""
    return _UNSPACED.match(character) is not None


def _first_visible(text: str, score: TokenScore) -> int:
    """Return where the token's first character other than white space is."""
    piece = text[score.start : score.end]
    return score.start + len(piece) - len(piece.lstrip())
