"""Guesses of the next tokens from what stands in the text already: prompts and conversations repeat themselves."""

from collections.abc import Sequence
from typing import Final

_NGRAM: Final = 3  # so many last tokens must have stood there before …
_SHORT_NGRAM: Final = 2  # … or so many, where the longer n-gram has not stood there before
MAX_DRAFTS: Final = 3
_TRUSTED: Final = 0.3  # share of right guesses below which only every so many steps are guessed
_PAUSE_STEPS: Final = 8
_MEMORY: Final = 0.8  # how much of the share stays when one more guess is known


class PromptLookup:
    """What followed the last few tokens when they last stood in the text.

    A guess costs a wider pass, so one that is often wrong is made less often.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._after: dict[tuple[int, ...], int] = {}  # n-gram -> the place after its last occurrence
        self._num_indexed = 0
        self._share_right = 0.5
        self._num_paused = 0
        self._index(ids)

    def guess(self, ids: Sequence[int], max_guesses: int) -> tuple[int, ...]:
        """Return guesses of the tokens after `ids`, a text that has grown; none where there is no good one."""
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
        """Take note of what came where `guessed` was expected; tokens that nobody knows yet say nothing."""
        num_known = min(len(guessed), len(chosen))
        for guess, token_id in zip(guessed[:num_known], chosen, strict=False):
            is_right = guess == token_id
            self._share_right = _MEMORY * self._share_right + (1 - _MEMORY) * is_right
            if not is_right:
                return

    def _index(self, ids: Sequence[int]) -> None:
        """Remember every n-gram of `ids` that is new, but for one at the very end: nothing follows it yet."""
        for end in range(max(self._num_indexed, _SHORT_NGRAM), len(ids)):
            for size in (_NGRAM, _SHORT_NGRAM):
                if end >= size:
                    self._after[tuple(ids[end - size : end])] = end
        self._num_indexed = len(ids)
