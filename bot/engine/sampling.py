"""How the next tokens are chosen from logits: transformers' processors in transformers' order, and one random draw."""

from collections.abc import Sequence
from typing import Final

import torch
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from bot.core.sampling import SamplingParams
from bot.errors import GenerationError

# Below this a temperature divides logits beyond float32; the likeliest token has all the mass long before.
_COLDEST: Final = 1e-5


def make_penalties(params: SamplingParams) -> LogitsProcessorList:
    """Return what changes logits by what was said before: repetition penalty, then repeated n-grams."""
    processors = LogitsProcessorList()
    if params.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    if params.no_repeat_ngram_size > 0:
        processors.append(NoRepeatNGramLogitsProcessor(params.no_repeat_ngram_size))
    return processors


def _make_warpers(params: SamplingParams) -> LogitsProcessorList:
    processors = LogitsProcessorList()
    if params.temperature != 1.0:
        processors.append(TemperatureLogitsWarper(params.temperature))
    if params.top_k != 0:
        processors.append(TopKLogitsWarper(params.top_k))
    if params.top_p < 1.0:
        processors.append(TopPLogitsWarper(params.top_p))
    return processors


def restrict(logits: torch.Tensor, row: int, allowed_ids: Sequence[int]) -> None:
    """Make all tokens but `allowed_ids` impossible in one row of `logits` (num_rows, vocab), in place."""
    allowed = torch.tensor(allowed_ids, dtype=torch.long, device=logits.device)
    kept = logits[row, allowed]
    logits[row] = float("-inf")
    logits[row, allowed] = kept


class TokenChooser:
    """Choose the next token of each of the n continuations of one request, greedily or by its own random generator.

    Each step draws for all n rows, finished or not, as transformers does: so the k-th continuation does not depend on
    when the others end.
    """

    def __init__(self, params: SamplingParams, device: torch.device) -> None:
        self._num_rows = params.n
        self._penalties = make_penalties(params)
        self._is_sampled = params.is_sampled and params.temperature >= _COLDEST
        self._warpers = _make_warpers(params) if self._is_sampled else LogitsProcessorList()
        self._generator = torch.Generator(device)
        self._generator.manual_seed(params.seed if params.seed is not None else 0)

    def choose(
        self, ids: torch.Tensor, logits: torch.Tensor, rows: Sequence[int], allowed: Sequence[Sequence[int] | None]
    ) -> torch.Tensor:
        """Return one token for each of the continuations `rows`, (len(rows),).

        `ids` (len(rows), length) are their tokens so far, `logits` (len(rows), vocab) what the model says;
        `allowed` lists, per row, the only tokens that may come (None: any). Raises GenerationError.
        """
        scores = self._penalties(ids, logits)
        for at, allowed_ids in enumerate(allowed):
            if allowed_ids is not None:
                # What is typed already is no repetition: the penalties don't count here.
                scores = scores.clone() if scores is logits else scores
                scores[at] = logits[at]
                restrict(scores, at, allowed_ids)
        if not self._is_sampled:
            self._check_choice(scores.amax(dim=-1))
            return torch.argmax(scores, dim=-1)
        probabilities = torch.softmax(self._warpers(ids, scores), dim=-1)
        self._check_choice(probabilities.amax(dim=-1))
        # The same numbers as torch.multinomial(probabilities, 1), without the finished rows' probabilities.
        draws = torch.empty(self._num_rows, probabilities.shape[1], device=probabilities.device)
        draws.exponential_(1, generator=self._generator)
        own_draws = draws[torch.tensor(list(rows), device=draws.device)]
        return torch.argmax(probabilities / own_draws, dim=-1)

    @staticmethod
    def _check_choice(best: torch.Tensor) -> None:
        if not bool(torch.isfinite(best).all()):
            raise GenerationError("The options leave the model no token to choose; lower no_repeat_ngram_size.")
