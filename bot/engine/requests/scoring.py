"""Log-probabilities of given texts: of each token of a text, and of continuations of a prompt."""

from collections.abc import Sequence
from typing import Final

import torch

from bot.core.perplexity import rolling_windows
from bot.core.prompt_parts import Prompt
from bot.core.results import Expected, TokenScore
from bot.engine.loaded_model import LoadedModel
from bot.engine.paged_cache import count_blocks, count_blocks_of_branches
from bot.engine.requests.work import Feed, Job, Steps
from bot.engine.sampler.log_sums import log_sums
from bot.engine.tokens.tokenizing import EncodedText, replace_surrogates
from bot.errors import PromptTooLong, RequestError

_MAX_BRANCHES: Final = 16  # continuations of one prompt in one pass


def plan_score_text(model: LoadedModel, text: str, *, num_expected: int) -> Job[tuple[TokenScore, ...]]:
    """Return the job that scores every token of `text` after BOS (else EOS; without either the first stays unscored).

    Equals lm-evaluation-harness `loglikelihood_rolling`. Raises RequestError for a text without tokens.
    """
    text = replace_surrogates(text)
    encoded = model.tokenizer.encode_text(text)
    if not encoded.ids:
        raise RequestError("There is nothing to score. Give at least one word.")
    num_blocks = count_blocks(min(len(encoded.ids) + 1, model.info.context_length))
    return Job(_score_text(model, text, encoded, num_expected), model.scoring, 1, num_blocks)


def _score_text(
    model: LoadedModel, text: str, encoded: EncodedText, num_expected: int
) -> Steps[tuple[TokenScore, ...]]:
    start_id = model.tokenizer.start_id
    fed = encoded.ids if start_id is None else (start_id, *encoded.ids)  # the first one is never a target
    logprobs: list[float | None] = [None] * (start_id is None)
    expected: list[tuple[Expected, ...]] = [()] * (start_id is None)
    with model.scoring.cache.rows() as rows:
        for window in rolling_windows(len(fed) - 1, model.info.context_length):
            inputs = fed[window.context_start + 1 : window.end]
            targets = fed[window.start + 1 : window.end + 1]

            def take(first: int, logits: torch.Tensor, targets: Sequence[int] = targets) -> None:
                gained = _score_piece(logits, targets[first : first + logits.shape[0]], num_expected, model)
                logprobs.extend(gained[0])
                expected.extend(gained[1])

            # No other text is likely to start like this one, so its blocks are not cached.
            row = rows.open(inputs, is_remembered=False)
            yield [Feed(row, take=take, num_logits=len(targets))]
            rows.close(row)
    return _join_scores(model, text, encoded, logprobs, expected)


def _score_piece(
    logits: torch.Tensor, targets: Sequence[int], num_expected: int, model: LoadedModel
) -> tuple[list[float], list[tuple[Expected, ...]]]:
    """Return each target's log-probability and the likeliest tokens in its place, from logits (len(targets), vocab)."""
    wanted = torch.tensor(list(targets), device=logits.device)
    totals = log_sums(logits)
    found = (logits.gather(1, wanted[:, None])[:, 0] - totals).tolist()
    if not num_expected:
        return found, [()] * len(found)
    best, best_ids = logits.topk(min(num_expected, logits.shape[1]), dim=-1)
    best = best - totals[:, None]
    token_text = model.vocabulary.token_text
    rows = zip(best.tolist(), best_ids.tolist(), strict=True)
    return found, [tuple(Expected(token_text(i), p) for p, i in zip(*row, strict=True)) for row in rows]


def _join_scores(
    model: LoadedModel,
    text: str,
    encoded: EncodedText,
    logprobs: list[float | None],
    expected: list[tuple[Expected, ...]],
) -> tuple[TokenScore, ...]:
    return tuple(
        TokenScore(token_id, text[start:end] or model.vocabulary.token_text(token_id), start, end, logprob, likeliest)
        for token_id, (start, end), logprob, likeliest in zip(
            encoded.ids, encoded.offsets, logprobs, expected, strict=True
        )
    )


def plan_score_continuations(
    model: LoadedModel, prompt: Prompt, continuations: Sequence[str]
) -> Job[tuple[float, ...]]:
    """Return the job that scores whole continuations (nats) of `prompt`, which is read once.

    Raises RequestError for a continuation without tokens, PromptTooLong if one does not fit after the prompt.
    """
    prompt_ids = model.tokenizer.encode_prompt(prompt).ids
    tails = [model.tokenizer.encode_continuation(prompt, prompt_ids, text) for text in continuations]
    if not all(tails):
        raise RequestError("There is nothing to score. Every continuation needs at least one word.")
    longest = max((len(tail) for tail in tails), default=0)
    if len(prompt_ids) + longest > model.info.context_length:
        raise PromptTooLong(num_tokens=len(prompt_ids) + longest, max_tokens=model.info.context_length)
    num_blocks = count_blocks_of_branches(len(prompt_ids), min(len(tails), _MAX_BRANCHES), longest)
    return Job(_score_tails(model, prompt_ids, tails), model.scoring, len(tails), num_blocks)


def _score_tails(
    model: LoadedModel, prompt_ids: Sequence[int], tails: Sequence[Sequence[int]]
) -> Steps[tuple[float, ...]]:
    if not tails:
        return ()
    with model.scoring.cache.rows() as rows:
        prompt = rows.open(prompt_ids)
        logits = (yield [Feed(prompt)])[0]
        firsts = logits[torch.tensor([tail[0] for tail in tails], device=logits.device)] - log_sums(logits[None])
        totals = firsts.tolist()
        longer = [at for at, tail in enumerate(tails) if len(tail) > 1]
        for start in range(0, len(longer), _MAX_BRANCHES):
            feeds = []
            for at in longer[start : start + _MAX_BRANCHES]:
                tail = tails[at]
                branch = rows.fork(prompt, tail[:-1])

                def take(first: int, logits: torch.Tensor, at: int = at, tail: Sequence[int] = tail) -> None:
                    targets = torch.tensor(tail[first + 1 : first + 1 + logits.shape[0]], device=logits.device)
                    found = logits.gather(1, targets[:, None])[:, 0] - log_sums(logits)
                    # Added one by one, so that the sum does not depend on where passes end.
                    for logprob in found.tolist():
                        totals[at] += logprob

                feeds.append(Feed(branch, take=take, num_logits=len(tail) - 1))
            yield feeds
            for feed in feeds:
                rows.close(feed.row)
    return tuple(totals)
