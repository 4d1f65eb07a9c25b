"""Log-probabilities of the tokens of a prompt, and of tokens behind it, with the likeliest tokens in each place."""

from collections.abc import Sequence

import torch

from bot.core.prompt_parts import Prompt
from bot.core.results import LikelyToken, ScoredToken
from bot.engine.loaded_model import LoadedModel
from bot.engine.paged_cache import count_blocks
from bot.engine.requests.work import Feed, Job, Steps
from bot.engine.sampler.log_sums import log_sums
from bot.errors import PromptTooLong

_Place = tuple[float | None, tuple[LikelyToken, ...]]  # the log-probability of a token, and the likeliest in its place
_UNSEEN: _Place = (None, ())


def plan_score_tokens(
    model: LoadedModel, prompt: Prompt, new_ids: Sequence[int], *, num_likeliest: int, with_prompt: bool
) -> Job[tuple[ScoredToken, ...]]:
    """Return the job that scores the tokens of `prompt` and the `new_ids` behind it, in float32.

    What the tokenizer adds in front is read, but not scored. Without `with_prompt` only `new_ids` are scored, and what
    is remembered of the prompt is not read again. Raises RequestError, PromptTooLong.
    """
    encoded = model.tokenizer.encode_prompt(prompt)
    ids = (*encoded.ids, *new_ids)
    model.tokenizer.check_known(ids)
    if len(ids) > model.info.context_length:
        raise PromptTooLong(num_tokens=len(ids), max_tokens=model.info.context_length)
    first = encoded.num_added if with_prompt else len(encoded.ids)
    return Job(_score(model, ids, first, num_likeliest), model.scoring, 1, count_blocks(len(ids)))


def _score(model: LoadedModel, ids: Sequence[int], first: int, num_likeliest: int) -> Steps[tuple[ScoredToken, ...]]:
    """Score the tokens from index `first` on. The very first token has nothing before it, so it stays unscored."""
    targets = ids[max(first, 1) :]
    places: list[_Place] = [_UNSEEN] * (len(ids) - first - len(targets))

    def take(at: int, logits: torch.Tensor) -> None:
        places.extend(_score_piece(model, logits, targets[at : at + len(logits)], num_likeliest))

    if targets:
        with model.scoring.cache.rows() as rows:
            row = rows.open(ids[:-1], num_unread=len(targets))
            yield [Feed(row, take=take, num_logits=len(targets))]
    shown = (model.vocabulary.shown_bytes(token_id) for token_id in ids[first:])
    return tuple(
        ScoredToken(token_id, data, logprob, likeliest)
        for token_id, data, (logprob, likeliest) in zip(ids[first:], shown, places, strict=True)
    )


def _score_piece(model: LoadedModel, logits: torch.Tensor, targets: Sequence[int], num_likeliest: int) -> list[_Place]:
    """Return the place of each of `targets` (k,) in `logits` (k, vocab)."""
    totals = log_sums(logits)
    wanted = torch.tensor(list(targets), device=logits.device)[:, None]
    own = (logits.gather(1, wanted)[:, 0] - totals).tolist()
    if not num_likeliest:
        return [(logprob, ()) for logprob in own]
    best, best_ids = logits.topk(min(num_likeliest, logits.shape[1]), dim=-1)
    likeliest = (
        tuple(
            LikelyToken(token_id, model.vocabulary.shown_bytes(token_id), logprob)
            for logprob, token_id in zip(*row, strict=True)
        )
        for row in zip((best - totals[:, None]).tolist(), best_ids.tolist(), strict=True)
    )
    return list(zip(own, likeliest, strict=True))
