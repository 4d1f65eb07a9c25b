"""Tokens chosen step by step as transformers does: the way that decides what the quicker ones can't prove."""

from collections.abc import Sequence
from typing import Any

import torch
import transformers  # its processors are loaded where they are used: few need them, and it takes two seconds

from bot.core.sampling_params import SamplingParams
from bot.engine.sampler.rows import OpenRow


def choose_as_transformers(logits: torch.Tensor, row: OpenRow, log_sum: torch.Tensor) -> torch.Tensor:
    """Choose for one row as transformers does, step by step, without waiting for the device.

    `log_sum` () is that of `logits` (vocab,). Returns, in one tensor (4,), the token's id, its logit, `log_sum`, and a
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
    """Return what changes logits by what was said before: repetition penalty, then repeated n-grams."""
    processors = transformers.LogitsProcessorList()
    if params.repetition_penalty != 1.0:
        processors.append(transformers.RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    if params.no_repeat_ngram_size > 0:
        processors.append(transformers.NoRepeatNGramLogitsProcessor(params.no_repeat_ngram_size))
    return processors


def _make_warpers(params: SamplingParams) -> Any:
    processors = transformers.LogitsProcessorList()
    if params.temperature != 1.0:
        processors.append(transformers.TemperatureLogitsWarper(params.temperature))
    if params.top_k != 0:
        processors.append(transformers.TopKLogitsWarper(params.top_k))
    if params.top_p < 1.0:
        processors.append(transformers.TopPLogitsWarper(params.top_p))
    return processors
