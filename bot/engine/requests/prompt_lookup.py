"""Prompt lookup decoding: guesses of the next tokens from earlier occurrences of the last few in the text."""

from collections.abc import Sequence
from typing import Final

_NGRAM: Final = 3  # the last tokens that must have occurred before …
_SHORT_NGRAM: Final = 2  # … or this many, if the longer n-gram has not occurred
MAX_DRAFTS: Final = 3
_TRUSTED: Final = 0.3  # below this share of right guesses, only every _PAUSE_STEPS-th step guesses
_PAUSE_STEPS: Final = 8
_MEMORY: Final = 0.8  # the weight of the old share when one more guess is judged


class PromptLookup:
    """Guesses the tokens that followed the last few tokens at their previous occurrence.

    A guess makes the pass wider, so guesses become rarer if they are often wrong.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._after: dict[tuple[int, ...], int] = {}  # n-gram -> the index after its last occurrence
        self._num_indexed = 0
        self._share_right = 0.5
        self._num_paused = 0
        self._index(ids)

    def guess(self, ids: Sequence[int], max_guesses: int) -> tuple[int, ...]:
        """Return guesses of the tokens after `ids`, the grown text; () if there are no good ones."""
        place = None
        for size in (_NGRAM, _SHORT_NGRAM):
            if place is None and len(ids) > size:
                place = self._after.get(tuple(ids[-size:]))
        self._index(ids)
        if place is None or max_guesses < 1:
            return ()
        if self._share_right < _TRUSTED:
            self._num_paused += 1
            if self._num_paused % _PAUSE_STEPS:
                return ()
        return tuple(ids[place : place + min(MAX_DRAFTS, max_guesses)])

    def learn(self, guessed: Sequence[int], chosen: Sequence[int]) -> None:
        """Update the share of right guesses with the tokens that were `chosen` where `guessed` were expected."""
        num_known = min(len(guessed), len(chosen))
        for guess, token_id in zip(guessed[:num_known], chosen, strict=False):
            is_right = guess == token_id
            self._share_right = _MEMORY * self._share_right + (1 - _MEMORY) * is_right
            if not is_right:
                return

    def _index(self, ids: Sequence[int]) -> None:
        """Index every new n-gram of `ids`, except at the very end, where nothing follows yet."""
        for end in range(max(self._num_indexed, _SHORT_NGRAM), len(ids)):
            for size in (_NGRAM, _SHORT_NGRAM):
                if end >= size:
                    self._after[tuple(ids[end - size : end])] = end
        self._num_indexed = len(ids)
