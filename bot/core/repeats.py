"""Answers, and sentences of them, that say again what was said before."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Final, Literal

from bot.core.sentences import split_sentences

# At most about one word in ten differs.
_NEARLY_EQUAL: Final = 0.9
# A start that differs more than this from that of each earlier answer will not become nearly equal to one.
_STILL_NEAR: Final = 0.75
# A difference in fewer words says little.
_FIRST_WORDS: Final = 5
_MAX_WORDS: Final = 120  # of each answer are compared: the time is bounded by their square
_MIN_SENTENCE_WORDS: Final = 4  # "Yes, I do." may be said again
_WORD: Final = re.compile(r"\w+")

Words = tuple[str, ...]


def words_of(text: str) -> Words:
    """Return the words of `text` that a comparison sees: without case, marks and signs."""
    return tuple(_WORD.findall(text.casefold()))


def repeats_one(text: str, earlier: Sequence[Words]) -> bool:
    """Say whether `text` has the words of an answer in `earlier`, or nearly all of them in the same order."""
    words = words_of(text)
    return bool(words) and any(words == said or _ratio(words, said) >= _NEARLY_EQUAL for said in earlier)


def may_repeat(text: str, earlier: Sequence[Words]) -> bool:
    """Say whether `text`, the start of an answer, may still grow into one that repeats an answer in `earlier`."""
    words = words_of(text)
    if not text[-1:].isspace():
        words = words[:-1]  # the last word may still grow
    if len(words) < _FIRST_WORDS:
        return any(len(said) > len(words) or said == words for said in earlier)
    return any(_ratio(words, said[: len(words)]) >= _STILL_NEAR for said in earlier)


def sentences_of(answers: Iterable[str]) -> frozenset[Words]:
    """Return the words of all sentences of `answers` that are long enough to be recognised."""
    found = (words_of(answer[start:end]) for answer in answers for start, end in split_sentences(answer))
    return frozenset(words for words in found if len(words) >= _MIN_SENTENCE_WORDS)


def find_said_again(
    text: str, said: frozenset[Words], *, start: int = 0, last: Literal["whole", "open", "ignored"] = "whole"
) -> int | None:
    """Return where the first sentence of `text` from `start` on begins that is one of `said`, None if none is.

    The last sentence is whole, or it may still grow: then it counts if it may become one of `said` ("open"), or it is
    ignored. A sentence that announces more ("Here is an example:") and code never count.
    """
    for begin, end in split_sentences(text) if said else ():
        words = words_of(text[begin:end])
        if begin < start or not words or (end == len(text) and last == "ignored"):
            continue
        if end == len(text) and last == "open":
            is_again = _may_become(words, said)
        else:
            is_again = words in said and not text[:end].rstrip().endswith(":")
        if is_again:
            return begin
    return None


def _may_become(words: Words, said: frozenset[Words]) -> bool:
    *whole, last = words
    at = len(whole)
    return any(len(one) > at and one[:at] == (*whole,) and one[at].startswith(last) for one in said)


def _ratio(words: Words, said: Words) -> float:
    """Return how much of both is equal, from 0 to 1."""
    most = 2 * min(len(words), len(said)) / max(1, len(words) + len(said))
    if most < _STILL_NEAR:
        return most
    return SequenceMatcher(None, words[:_MAX_WORDS], said[:_MAX_WORDS], autojunk=False).ratio()
