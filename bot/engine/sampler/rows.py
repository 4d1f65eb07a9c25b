"""The rows that need their next token: options, earlier tokens, and results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from bot.core.sampling_params import SamplingParams
from bot.engine.sampler.draws import Draws, DrawStream
from bot.errors import FewshotError, GenerationError

NO_NUMBERS: Final = "The model returned invalid numbers for this text. Try another text."
UNKNOWN_TOKEN: Final = "The model does not know a token of this text. Try another text."
_NO_MEMORY: Final = "The device does not have enough memory for this request; shorten the text."
_BROKEN: Final = "Choosing the next token failed. Try again."
NO_TOKEN: Final = "The options exclude every token; lower no_repeat_ngram_size."
# Below this temperature, divided logits exceed float32; the likeliest token has all the probability long before.
_COLDEST: Final = 1e-5

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Raise GenerationError for a token outside the vocabulary.

    Later code does not check again: C++ would write beyond its arrays, and a GPU error would end the whole process.
    """
    if len(ids) and not 0 <= min(ids) <= max(ids) < vocab_size:
        raise GenerationError(UNKNOWN_TOKEN)


def as_error(error: Exception) -> GenerationError:
    """Return the result of a row for which choosing a token raised `error`."""
    if isinstance(error, GenerationError):
        return error
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return GenerationError(_NO_MEMORY)
    result = GenerationError(str(error) if isinstance(error, FewshotError) else _BROKEN)
    result.__cause__ = error
    return result


class TokenChooser:
    """The sampler's state for one request: its options and its own random generator.

    Each step draws for all n rows, finished or not, as transformers does, so that the k-th continuation does not depend
    on when the others end.
    """

    def __init__(self, params: SamplingParams, device: torch.device) -> None:
        self.params = params
        # The options that a sampler must support for this request. Warpers do not change a greedy choice.
        self.active = params.list_active("processor", *(("warper",) if params.is_sampled else ()))
        is_sampled = params.is_sampled and params.temperature >= _COLDEST
        self.stream = DrawStream(params.seed or 0, params.n, device) if is_sampled else None
        self._rows: dict[int, RowMemory] = {}

    def remember(self, index: int, ids: Sequence[int], vocab_size: int) -> "RowMemory":
        """Return the memory of row `index`, updated with its tokens `ids`.

        Raises GenerationError for a token outside the vocabulary.
        """
        memory = self._rows.get(index)
        if memory is None or memory.vocab_size != vocab_size or not memory.is_start_of(ids):
            memory = self._rows[index] = RowMemory(self.params, vocab_size)
        memory.extend(ids)
        return memory


@dataclass(frozen=True, slots=True)
class Choice:
    """One row that needs its next token: continuation number `index` (0..n-1) of the chooser's request.

    `ids` are all tokens of the row so far, including the prompt: a list that only grows from call to call. `allowed`
    are the only possible tokens (token healing; without penalties), None: all. `excluded` are tokens that must not be
    chosen.
    """

    chooser: TokenChooser
    index: int
    ids: Sequence[int]
    allowed: Sequence[int] | None = None
    excluded: Sequence[int] = ()

    @property
    def is_free(self) -> bool:
        """Say whether any token may be chosen."""
        return self.allowed is None and not self.excluded


@dataclass(frozen=True, slots=True)
class Chosen:
    """The next token; `logprob` is in nats, at temperature 1 before any processor."""

    token_id: int
    logprob: float

    @classmethod
    def from_logit(cls, token_id: int, logit: float, log_sum: float) -> "Chosen":
        """Return the token with its log-probability, from its logit and its row's log-sum.

        The difference is rounded to float32, as in C++ and in scoring, so that all of them give the same bits.
        """
        return cls(token_id, float(np.float32(logit) - np.float32(log_sum)))


class RowMemory:
    """The earlier tokens of one row, indexed for the penalties; each new token is added once."""

    def __init__(self, params: SamplingParams, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._ngram_size = params.no_repeat_ngram_size
        self._num_known = 0
        self._last_id = -1
        self._followers: dict[tuple[int, ...], list[int]] = {}
        self.is_seen = np.zeros(vocab_size, np.bool_) if params.repetition_penalty != 1.0 else None
        self.banned: list[int] = []
        self.native: Any = None  # the data of compiled.py for the row

    def is_start_of(self, ids: Sequence[int]) -> bool:
        """Say whether `ids` can continue the tokens known so far."""
        known = self._num_known
        return known <= len(ids) and (known == 0 or ids[known - 1] == self._last_id)

    def extend(self, ids: Sequence[int]) -> None:
        """Add the new tokens of `ids`. Raises GenerationError for one outside the vocabulary."""
        known, size = self._num_known, self._ngram_size
        new = ids[known:]
        check_ids(new, self.vocab_size)
        if self.is_seen is not None:
            for token_id in new:
                self.is_seen[token_id] = True
        if size:
            for end in range(max(known, size - 1), len(ids)):
                self._followers.setdefault(tuple(ids[end - size + 1 : end]), []).append(ids[end])
            self.banned = self._followers.get(tuple(ids[len(ids) - size + 1 :]), [])
        if ids:
            self._num_known, self._last_id = len(ids), ids[-1]


@dataclass(slots=True)
class OpenRow:
    """One row without its token yet: its index `at` in the logits, its memory and its draws."""

    at: int
    choice: Choice
    memory: RowMemory
    draws: Draws | None = None  # of this step; None: greedy, or not drawn yet

    @property
    def params(self) -> SamplingParams:
        """Return the options of the row's request."""
        return self.choice.chooser.params

    @property
    def banned(self) -> Sequence[int]:
        """Return the tokens that must not be chosen."""
        excluded = self.choice.excluded
        return [*self.memory.banned, *excluded] if excluded else self.memory.banned

    @property
    def active(self) -> frozenset[str]:
        """Return the options that the choice depends on."""
        return self.choice.chooser.active

    @property
    def stream(self) -> DrawStream | None:
        """Return the stream of the row's draws, None if it is greedy."""
        return self.choice.chooser.stream
