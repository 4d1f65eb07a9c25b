"""The words that a server's moderators don't allow in public answers, and where a text has one."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bot.core.safe_text import clean_model_text
from bot.core.word_spans import is_unspaced

BLOCKED_WORDS: Final = "blocked_words"  # what the stored setting of a server is called
MAX_WORDS: Final = 100
MAX_WORD_LENGTH: Final = 32
# Code points that one letter of a word may be written with.
_MAX_MARKS: Final = 5
_LONGEST: Final = MAX_WORD_LENGTH * _MAX_MARKS


def fold_word(text: str) -> str:
    """Return `text` as words are compared: NFKC without case; accents stay."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True, slots=True)
class WordList:
    """Folded `words`; without any, the list is off. A word is found only whole, so not within a longer one.

    Scripts that put no space between words have no whole words: there it is found anywhere.
    """

    words: tuple[str, ...] = ()
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        longest_first = sorted(self.words, key=len, reverse=True)
        object.__setattr__(self, "_pattern", re.compile("|".join(map(re.escape, longest_first)) or "(?!)"))

    @classmethod
    def stored(cls, value: str) -> "WordList":
        """Return the list that `to_stored` wrote."""
        return cls(tuple(value.split()))

    def to_stored(self) -> str:
        """Return the words with spaces between."""
        return " ".join(self.words)

    def __bool__(self) -> bool:
        return bool(self.words)

    def with_words(self, words: Iterable[str]) -> "WordList":
        """Return the list with more words, in order."""
        return WordList(tuple(sorted({*self.words, *words})))

    def without(self, words: Iterable[str]) -> "WordList":
        """Return the list without some words."""
        return WordList(tuple(word for word in self.words if word not in set(words)))

    def is_in(self, text: str, *, before: str = "") -> bool:
        """Say whether `text`, which goes on from `before`, has a word of the list, or ends one begun there."""
        if not self.words:
            return False
        before = before[-_LONGEST - 1 :]
        start = len(fold_word(clean_model_text(before)))
        whole = fold_word(clean_model_text(before + text))
        at = 0
        while found := self._pattern.search(whole, at):
            # A shorter word may begin at the same place, and be whole where the longer one is not.
            for word in self.words:
                end = found.start() + len(word)
                if end > start and whole.startswith(word, found.start()) and _is_whole(whole, found.start(), end):
                    return True
            at = found.start() + 1
        return False

    def completed(self, text: str) -> str:
        """Return the beginning of a growing `text` whose words are complete: none can become one of the list."""
        if not self.words:
            return text
        end = max(text.rfind(space) for space in (" ", "\n", "\t")) + 1
        return text[: max(end, len(text) - _LONGEST)].rstrip()


def _is_whole(text: str, start: int, end: int) -> bool:
    return _is_edge(text, start) and _is_edge(text, end)


def _is_edge(text: str, index: int) -> bool:
    """Say whether a word may begin or end before `text[index]`."""
    if not 0 < index < len(text):
        return True
    before, after = text[index - 1], text[index]
    if is_unspaced(before) or is_unspaced(after):
        return True
    return not (_is_of_word(before) and _is_of_word(after))


def _is_of_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"
