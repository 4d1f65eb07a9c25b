"""Log-probabilities of given texts: of each token of a text, and of continuations of a prompt."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

import torch

from bot.core.perplexity import rolling_windows
from bot.core.prompt_parts import Prompt
from bot.core.results import Expected, SketchedScores, TokenScore
from bot.core.safe_text import replace_lone_surrogates
from bot.engine.loaded_model import LoadedModel
from bot.engine.paged_cache import count_blocks, count_blocks_of_branches
from bot.engine.requests.sketching import sketch_logits
from bot.engine.requests.work import Feed, Job, ResultT, Steps
from bot.engine.sampler.log_sums import log_sums
from bot.engine.tokens.tokenizing import EncodedText
from bot.engine.tokens.vocabulary import BROKEN_CHARACTER
from bot.errors import PromptTooLong, RequestError

_MAX_BRANCHES: Final = 16  # continuations of one prompt in one pass
_Place = tuple[int | None, tuple[Expected, ...]]  # the rank of a token, and the likeliest tokens in its place
_UNSEEN: Final[_Place] = (None, ())
_NUM_SPARE: Final = 13  # likely tokens looked at beyond the wanted ones, as some are parts of a character


def plan_score_text(
    model: LoadedModel, text: str, *, num_expected: int, report: Callable[[int, int], None] | None = None
) -> Job[tuple[TokenScore, ...]]:
    """Return the job that scores every token of `text`; without a start token of plain text the first stays unscored.

    `report` is called in the model thread with the number of tokens scored so far, and of all.
    Equals lm-evaluation-harness `loglikelihood_rolling`. Raises RequestError for a text without tokens, or
    with one that the model does not have.
    """
    text = replace_lone_surrogates(text)
    encoded = model.tokenizer.encode_text(text)
    if not encoded.ids:
        raise RequestError("There is nothing to score. Give at least one word.")
    model.tokenizer.check_known(encoded.ids)
    num_blocks = count_blocks(min(len(encoded.ids) + 1, model.info.context_length))
    return Job(_score_text(model, text, encoded, num_expected, report), model.scoring, 1, num_blocks)


def _score_text(
    model: LoadedModel,
    text: str,
    encoded: EncodedText,
    num_expected: int,
    report: Callable[[int, int], None] | None,
) -> Steps[tuple[TokenScore, ...]]:
    prefix = model.tokenizer.document_prefix
    fed = (*prefix, *encoded.ids)  # the first one is never a target
    logprobs: list[float | None] = [None] * (not prefix)
    places: list[_Place] = [_UNSEEN] * (not prefix)
    with model.scoring.cache.rows() as rows:
        for window in rolling_windows(len(fed) - 1, model.info.context_length):
            inputs = fed[window.context_start + 1 : window.end]
            targets = fed[window.start + 1 : window.end + 1]

            def take(first: int, logits: torch.Tensor, targets: Sequence[int] = targets) -> None:
                gained = _score_piece(logits, targets[first : first + logits.shape[0]], num_expected, model)
                logprobs.extend(gained[0])
                places.extend(gained[1])
                if report is not None:
                    report(len(logprobs), len(encoded.ids))

            # No other text is likely to start like this one, so its blocks are not cached.
            row = rows.open(inputs, is_remembered=False)
            yield [Feed(row, take=take, num_logits=len(targets))]
            rows.close(row)
    return _join_scores(model, text, encoded, logprobs, places)


def _score_piece(
    logits: torch.Tensor, targets: Sequence[int], num_expected: int, model: LoadedModel
) -> tuple[list[float], list[_Place]]:
    """Return each target's log-probability, and its rank with the likeliest tokens there: logits (targets, vocab)."""
    wanted = torch.tensor(list(targets), device=logits.device)[:, None]
    totals = log_sums(logits)
    own = logits.gather(1, wanted)
    found = (own[:, 0] - totals).tolist()
    if not num_expected:
        return found, [_UNSEEN] * len(found)
    ranks = ((logits > own).sum(dim=-1) + 1).tolist()
    best, best_ids = logits.topk(min(num_expected + _NUM_SPARE, logits.shape[1]), dim=-1)
    best = best - totals[:, None]
    rows = zip(best.tolist(), best_ids.tolist(), strict=True)
    likeliest = (_readable(zip(*row, strict=True), num_expected, model) for row in rows)
    return found, list(zip(ranks, likeliest, strict=True))


def _readable(likeliest: Iterable[tuple[float, int]], num: int, model: LoadedModel) -> tuple[Expected, ...]:
    """Return the first `num` of the tokens that a person can read: parts of a character are left out."""
    texts = ((model.vocabulary.token_text(token_id), logprob) for logprob, token_id in likeliest)
    return tuple(islice((Expected(text, logprob) for text, logprob in texts if BROKEN_CHARACTER not in text), num))


def _join_scores(
    model: LoadedModel,
    text: str,
    encoded: EncodedText,
    logprobs: list[float | None],
    places: list[_Place],
) -> tuple[TokenScore, ...]:
    return tuple(
        TokenScore(
            token_id, text[start:end] or model.vocabulary.token_text(token_id), start, end, logprob, likeliest, rank
        )
        for token_id, (start, end), logprob, (rank, likeliest) in zip(
            encoded.ids, encoded.offsets, logprobs, places, strict=True
        )
    )


def plan_score_continuations(
    model: LoadedModel, prompt: Prompt, continuations: Sequence[str]
) -> Job[tuple[float, ...]]:
    """Return the job that scores whole continuations (nats) of `prompt`, which is read once.

    Raises RequestError for a continuation without tokens, or with one that the model does not have, PromptTooLong if
    one does not fit after the prompt.
    """
    prompt_ids, tails = _encode(model, prompt, continuations)
    return _job(model, prompt_ids, tails, _score_tails(model, prompt_ids, tails))


def plan_score_and_sketch(model: LoadedModel, prompt: Prompt, continuations: Sequence[str]) -> Job[SketchedScores]:
    """Return the job that also sketches what the model expects after `prompt`. Raises as plan_score_continuations."""
    prompt_ids, tails = _encode(model, prompt, continuations)
    return _job(model, prompt_ids, tails, _score_and_sketch(model, prompt_ids, tails))


def _encode(
    model: LoadedModel, prompt: Prompt, continuations: Sequence[str]
) -> tuple[Sequence[int], list[Sequence[int]]]:
    prompt_ids = model.tokenizer.encode_prompt(prompt).ids
    tails: list[Sequence[int]] = [
        model.tokenizer.encode_continuation(prompt, prompt_ids, text) for text in continuations
    ]
    if not all(tails):
        raise RequestError("There is nothing to score. Every continuation needs at least one word.")
    model.tokenizer.check_known([*prompt_ids, *(token_id for tail in tails for token_id in tail)])
    longest = _longest(tails)
    if len(prompt_ids) + longest > model.info.context_length:
        raise PromptTooLong(num_tokens=len(prompt_ids) + longest, max_tokens=model.info.context_length)
    return prompt_ids, tails


def _longest(tails: Sequence[Sequence[int]]) -> int:
    return max((len(tail) for tail in tails), default=0)


def _job(
    model: LoadedModel, prompt_ids: Sequence[int], tails: Sequence[Sequence[int]], steps: Steps[ResultT]
) -> Job[ResultT]:
    num_blocks = count_blocks_of_branches(len(prompt_ids), min(len(tails), _MAX_BRANCHES), _longest(tails))
    return Job(steps, model.scoring, len(tails), num_blocks)


def _score_and_sketch(
    model: LoadedModel, prompt_ids: Sequence[int], tails: Sequence[Sequence[int]]
) -> Steps[SketchedScores]:
    sketch: list[float] = []
    totals = yield from _score_tails(model, prompt_ids, tails, take=lambda logits: sketch.extend(sketch_logits(logits)))
    return SketchedScores(totals, tuple(sketch))


def _score_tails(
    model: LoadedModel,
    prompt_ids: Sequence[int],
    tails: Sequence[Sequence[int]],
    take: Callable[[torch.Tensor], None] | None = None,
) -> Steps[tuple[float, ...]]:
    """Score the tails; `take` gets the logits after the prompt (vocab,)."""
    if not tails:
        return ()
    with model.scoring.cache.rows() as rows:
        prompt = rows.open(prompt_ids)
        logits = (yield [Feed(prompt)])[0]
        firsts = logits[torch.tensor([tail[0] for tail in tails], device=logits.device)] - log_sums(logits[None])
        totals = firsts.tolist()
        if take is not None:
            take(logits)
        longer = [at for at, tail in enumerate(tails) if len(tail) > 1]
        for start in range(0, len(longer), _MAX_BRANCHES):
            feeds = []
            for at in longer[start : start + _MAX_BRANCHES]:
                tail = tails[at]
                branch = rows.fork(prompt, tail[:-1])

                def add(first: int, logits: torch.Tensor, at: int = at, tail: Sequence[int] = tail) -> None:
                    targets = torch.tensor(tail[first + 1 : first + 1 + logits.shape[0]], device=logits.device)
                    found = logits.gather(1, targets[:, None])[:, 0] - log_sums(logits)
                    # Added one by one, so that the sum does not depend on where passes end.
                    for logprob in found.tolist():
                        totals[at] += logprob

                feeds.append(Feed(branch, take=add, num_logits=len(tail) - 1))
            yield feeds
            for feed in feeds:
                rows.close(feed.row)
    return tuple(totals)
