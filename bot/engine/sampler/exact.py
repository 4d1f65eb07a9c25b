"""The exact sampler, step by step as in transformers, for the rows where the faster ones can't prove the result."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
import transformers  # loads its processors only when they are used: that takes two seconds, and few requests need them

from bot.core.sampling_params import OptionRole, SamplingParams
from bot.engine.sampler.rows import OpenRow

# Every option of the two roles, in the order in which transformers' generate applies them.
_PROCESSORS: Final[Mapping[str, str]] = {
    "repetition_penalty": "RepetitionPenaltyLogitsProcessor",
    "no_repeat_ngram_size": "NoRepeatNGramLogitsProcessor",
}
_WARPERS: Final[Mapping[str, str]] = {
    "temperature": "TemperatureLogitsWarper",
    "top_k": "TopKLogitsWarper",
    "top_p": "TopPLogitsWarper",
    "min_p": "MinPLogitsWarper",
}


def choose_as_transformers(logits: torch.Tensor, row: OpenRow, log_sum: torch.Tensor) -> torch.Tensor:
    """Choose for one row as transformers does, step by step, without waiting for the device.

    `log_sum` () is that of `logits` (vocab,). The result is a tensor (4,): the token's id, its logit, `log_sum`, and a
    number that is finite if there was a token to choose.
    """
    scores = _restrict(logits, row.choice.ids, row.params, row.choice.allowed, row.choice.excluded)
    best = scores if row.draws is None else torch.softmax(_make_warpers(row.params)(None, scores), dim=-1)
    reason = best.amax(dim=-1)[0]
    if row.draws is not None:
        best = best / row.draws.row(row.choice.index)
    token_id = best.argmax(dim=-1)[0]
    return torch.stack([token_id.float(), logits[token_id], log_sum, reason])


def log_probabilities(
    logits: torch.Tensor,
    ids: Sequence[int],
    params: SamplingParams,
    *,
    allowed: Sequence[int] | None = None,
    excluded: Sequence[int] = (),
) -> torch.Tensor:
    """Return the log-probabilities (vocab,) with which the token after `ids` is drawn from `logits` (vocab,).

    `allowed` and `excluded` are as in Choice.
    """
    scores = _restrict(logits, ids, params, allowed, excluded)
    if params.is_sampled:
        scores = _make_warpers(params)(None, scores)
    return torch.log_softmax(scores[0], dim=-1)


def draw_probabilities(logits: torch.Tensor, ids: Sequence[int], params: SamplingParams) -> torch.Tensor:
    """Return the probability (vocab,) with which `params` draw each token after `ids`, from its logits (vocab,).

    A greedy choice has probability 1. Without a token that the options allow, the result is nan.
    """
    drawn = log_probabilities(logits, ids, params).exp()
    if params.is_sampled:
        return drawn
    chosen = torch.zeros_like(drawn)
    chosen[drawn.argmax()] = 1.0
    return chosen


def _restrict(
    logits: torch.Tensor,
    ids: Sequence[int],
    params: SamplingParams,
    allowed: Sequence[int] | None,
    excluded: Sequence[int],
) -> torch.Tensor:
    """Return the scores (1, vocab) of the tokens after `ids` before a draw changes them: minus infinity where none."""
    scores: torch.Tensor = make_penalties(params)(_as_row(ids, logits), logits[None])
    if excluded:
        scores = scores.clone()  # without penalties they are the logits, which stay as they are
        scores[0, torch.tensor(excluded, device=logits.device)] = float("-inf")
    if allowed is not None:
        only = torch.tensor(allowed, dtype=torch.long, device=logits.device)
        scores = torch.full_like(scores, float("-inf"))
        scores[0, only] = logits[only]
    return scores


def _as_row(ids: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
    return torch.tensor([list(ids)], dtype=torch.long, device=logits.device)


def make_penalties(params: SamplingParams) -> Any:
    """Return the logits processors that depend on earlier tokens: repetition penalty, then repeated n-grams."""
    return _make("processor", _PROCESSORS, params)


def _make_warpers(params: SamplingParams) -> Any:
    return _make("warper", _WARPERS, params)


def _make(role: OptionRole, classes: Mapping[str, str], params: SamplingParams) -> Any:
    """Return the processors of the active options. Raises NotImplementedError for an option without one."""
    active = params.list_active(role)
    if unknown := active - classes.keys():
        raise NotImplementedError(f"No processor is known for {', '.join(sorted(unknown))}.")
    made = [getattr(transformers, classes[name])(getattr(params, name)) for name in classes if name in active]
    return transformers.LogitsProcessorList(made)
