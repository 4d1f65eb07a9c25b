"""The words that the model wrote on a branch of a text, each with the probability with which it was expected there."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.core.results import TokenScore
from bot.core.text_tree import BEGINNING, TextTree
from bot.core.word_spans import word_spans

_MAX_HALF_WORD: Final = 64
_HALF_WORD: Final = re.compile(r"\S*\Z")


@dataclass(frozen=True, slots=True)
class WrittenWord:
    """A word at `start` of the text of the branch `branch_id`, without punctuation marks after it.

    `option` is the number of the option that it belongs to, 0 for the text before all of them. `probability` is that
    of all its tokens.
    """

    text: str
    probability: float
    branch_id: int
    start: int
    option: int = 0

    @property
    def end(self) -> int:
        """Return where it ends in that text."""
        return self.start + len(self.text)


def words_here(tree: TextTree, given: str) -> tuple[WrittenWord, ...]:
    """Return the words before the present position, then those of each option, in order of reading.

    `given` is the text at the beginning. A word that it begins is a person's own, and is left out. Where options begin
    with the same words, the first of them has those.
    """
    at = tree.here.at
    num_before = len(tree.text_of(at))
    found = list(words_of_branch(tree, at, given))
    # The last word before may go on in several options; it is listed before them.
    listed = found[-1].start if found else -1
    seen: set[str] = set()
    for number, option in enumerate(tree.here.options, 1):
        text = tree.text_of(option)
        for word in words_of_branch(tree, option, given, since=num_before, option=number):
            up_to_it = text[: word.end]
            if word.start > listed and up_to_it not in seen:
                found.append(word)
                seen.add(up_to_it)
    return tuple(found)


def has_words(tree: TextTree) -> bool:
    """Say whether tokens of the text here, or of an option, are known, so that it may have words."""
    return any(branch.ends for branch_id in (tree.here.at, *tree.here.options) for branch, _ in tree.path(branch_id))


def words_of_branch(
    tree: TextTree, branch_id: int, given: str, *, since: int = 0, option: int = 0
) -> tuple[WrittenWord, ...]:
    """Return the words up to the end of a branch whose tokens are known, from the one that goes on at `since`."""
    if branch_id == BEGINNING:
        return ()
    whole = given + tree.text_of(branch_id)
    before = whole[: len(given) + since]
    half_word = _HALF_WORD.search(before[-_MAX_HALF_WORD:])
    skipped = len(before) - (len(half_word[0]) if half_word else 0)
    text = whole[skipped:]
    tokens = _tokens(tree, branch_id, len(given) - skipped, text)
    found = []
    at = 0
    for start, end in word_spans(text, tokens):
        is_spaced = whole[skipped + start - 1 : skipped + start] == " "
        while at < len(tokens) and tokens[at].end <= start - is_spaced:
            at += 1
        behind = at
        while behind < len(tokens) and tokens[behind].start < end:
            behind += 1
        own = tokens[at:behind]
        # Words of `given` are a person's own, and so is the one that goes on behind it.
        if skipped + start < len(given) or not own or own[0].start > start:
            continue
        shown = _without_marks(own, text, start, end)
        probability = math.exp(sum(one.logprob or 0.0 for one in shown))
        word_end = end if len(shown) == len(own) else shown[-1].end
        found.append(WrittenWord(text[start:word_end], probability, branch_id, skipped + start - len(given), option))
    return tuple(found)


def _without_marks(own: Sequence[TokenScore], text: str, start: int, end: int) -> Sequence[TokenScore]:
    """Return the tokens of a word without the punctuation marks at its end, all if it is nothing but marks."""
    num = len(own) if _has_letter(text[start:end]) else 0
    while num > 1 and not _has_letter(text[max(start, own[num - 1].start) : end]):
        num -= 1
    return own[:num] or own


def _has_letter(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _tokens(tree: TextTree, branch_id: int, offset: int, text: str) -> Sequence[TokenScore]:
    """Return the tokens up to the end of a branch, whose text begins at `offset` of `text`, where `text` has them.

    Those of one character are joined.
    """
    tokens = []
    for branch, kept in tree.path(branch_id):
        start, logprob = 0, 0.0
        for end, one in zip(branch.ends, branch.logprobs, strict=True):
            logprob += one
            if end == start:
                continue
            if end > kept:
                break
            if offset + end >= 0:  # a space alone before the text belongs to its first word
                first = max(0, offset + start)
                tokens.append(TokenScore(-1, text[first : offset + end], first, offset + end, logprob))
            start, logprob = end, 0.0
        offset += kept
    return tokens
