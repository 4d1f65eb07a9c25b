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
    scores = make_penalties(row.params)(_as_row(row.choice.ids, logits), logits[None])
    if row.choice.allowed is not None:
        allowed = torch.tensor(row.choice.allowed, dtype=torch.long, device=logits.device)
        scores = torch.full_like(scores, float("-inf"))
        scores[0, allowed] = logits[allowed]
    best = scores if row.draws is None else torch.softmax(_make_warpers(row.params)(None, scores), dim=-1)
    reason = best.amax(dim=-1)[0]
    if row.draws is not None:
        best = best / row.draws.row(row.choice.index)
    token_id = best.argmax(dim=-1)[0]
    return torch.stack([token_id.float(), logits[token_id], log_sum, reason])


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
