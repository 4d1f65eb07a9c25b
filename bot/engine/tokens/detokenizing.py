"""Streaming detokenization: text from tokens, without half characters, healed bytes or stop strings."""

import codecs
from typing import Final

from bot.engine.tokens.vocabulary import Vocabulary

# A "word_end" vocabulary has a space between words, except on these sides of these marks (don't, it's).
_GLUED_TO_THE_LEFT: Final = frozenset(b".,!?;:')]}%")
_GLUED_TO_THE_RIGHT: Final = frozenset({b"' ", b"( ", b"[ ", b"{ "})


class Detokenizer:
    """Turns the tokens of one continuation into text; each call returns the text that can no longer change.

    Bytes that can't become a character are shown as U+FFFD; an incomplete last character is dropped. `typed` are the
    bytes of the prompt that the tokens repeat (token healing); they are left out. `is_space_due` says that the prompt's
    last token ended a word without showing the space (style "word_end").
    """

    def __init__(self, vocabulary: Vocabulary, *, typed: bytes = b"", is_space_due: bool = False) -> None:
        self._vocabulary = vocabulary
        self._num_typed = len(typed)
        self._is_space_due = is_space_due
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_repeating(self) -> bool:
        """Say whether the next token still repeats typed bytes."""
        return self._num_typed > 0

    def push(self, token_id: int) -> str:
        """Return the characters that `token_id` completes."""
        shown = self._vocabulary.token_bytes(token_id)
        if self._vocabulary.style == "word_end":
            shown = self._join_word(shown)
        if self._num_typed:
            skipped = min(self._num_typed, len(shown))
            self._num_typed -= skipped
            shown = shown[skipped:]
        return self._decoder.decode(shown)

    def _join_word(self, shown: bytes) -> bytes:
        """Return `shown` with a space before it, if one is due; a space at its end is removed and becomes due."""
        if not shown:
            return shown
        is_glued = shown[0] in _GLUED_TO_THE_LEFT
        joined = b" " + shown if self._is_space_due and not is_glued else shown
        self._is_space_due = shown.endswith(b" ")
        if shown in _GLUED_TO_THE_RIGHT:
            self._is_space_due = False
        return joined.removesuffix(b" ") if shown.endswith(b" ") else joined


class StopMatcher:
    """Finds the first stop string in a growing text, and holds back text that could become one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.is_matched = False

    def push(self, text: str) -> str:
        """Return the text that is safe to show now; "" once `is_matched`.

        The stop string that is complete first wins, however the text is split.
        """
        if self.is_matched:
            return ""
        self._held += text
        ends = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.is_matched = True
            return self._release(min(ends)[1])
        return self._release(len(self._held) - self._num_at_risk())

    def flush(self) -> str:
        """Return the text held back; call it at the end, when it can no longer become a stop string."""
        return "" if self.is_matched else self._release(len(self._held))

    def _release(self, length: int) -> str:
        safe, self._held = self._held[:length], self._held[length:]
        return safe

    def _num_at_risk(self) -> int:
        longest = min(max((len(stop) for stop in self._stops), default=1) - 1, len(self._held))
        for length in range(longest, 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0
