"""How likely the model finds what is given: a text's tokens, and continuations of a prompt."""

from collections.abc import Sequence
from typing import Final

import torch

from bot.core.perplexity import rolling_windows
from bot.core.prompt_parts import Prompt
from bot.core.results import Expected, TokenScore
from bot.engine.loading import LoadedModel
from bot.engine.model_thread import Steps
from bot.engine.sequences import Sequences
from bot.engine.tokenizing import EncodedText, replace_surrogates
from bot.errors import PromptTooLong, RequestError

_SLICE_TOKENS: Final = 128  # over these at once the logits (tokens, vocab) are summed: bounds memory


def score_text(model: LoadedModel, text: str, *, num_expected: int) -> Steps[tuple[TokenScore, ...]]:
    """Score every token of `text` after BOS (else EOS; without either the first token stays unscored).

    Equals lm-evaluation-harness `loglikelihood_rolling`. Raises RequestError for a text without tokens.
    """
    text = replace_surrogates(text)
    encoded = model.tokenizer.encode_text(text)
    if not encoded.ids:
        raise RequestError("There is nothing to score: give at least one word.")
    start_id = model.tokenizer.start_id
    fed = encoded.ids if start_id is None else (start_id, *encoded.ids)  # the first of them is never a target
    logprobs: list[float | None] = [None] * (start_id is None)
    expected: list[tuple[Expected, ...]] = [()] * (start_id is None)
    for window in rolling_windows(len(fed) - 1, model.info.context_length):
        inputs = fed[window.context_start + 1 : window.end]
        targets = fed[window.start + 1 : window.end + 1]
        skipped = len(inputs) - len(targets)  # predictions of tokens that an earlier window counted
        for first, logits in Sequences(model, inputs).read_chunks():
            wanted = logits[max(skipped - first, 0) :]
            own_targets = targets[max(first - skipped, 0) :][: wanted.shape[0]]
            for at in range(0, len(own_targets), _SLICE_TOKENS):
                piece = slice(at, at + _SLICE_TOKENS)
                gained = _score_slice(wanted[piece], own_targets[piece], num_expected, model)
                logprobs += gained[0]
                expected += gained[1]
            yield
    return _join_scores(model, text, encoded, logprobs, expected)


def _score_slice(
    logits: torch.Tensor, targets: Sequence[int], num_expected: int, model: LoadedModel
) -> tuple[list[float], list[tuple[Expected, ...]]]:
    """Return the log-probability of each target, and the likeliest tokens there, from logits (len(targets), vocab)."""
    wanted = torch.tensor(list(targets), device=logits.device)
    logprobs = logits.log_softmax(dim=-1)
    found = logprobs.gather(1, wanted[:, None])[:, 0].tolist()
    if not num_expected:
        return found, [()] * len(found)
    best, best_ids = logprobs.topk(min(num_expected, logprobs.shape[1]), dim=-1)
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


def score_continuations(model: LoadedModel, prompt: Prompt, continuations: Sequence[str]) -> Steps[tuple[float, ...]]:
    """Return the log-probability (nats) of each whole continuation after `prompt`, which is read once.

    Raises RequestError for one without tokens, PromptTooLong when one does not fit behind the prompt.
    """
    prompt_ids = model.tokenizer.encode_prompt(prompt).ids
    tails = [model.tokenizer.encode_continuation(prompt, prompt_ids, text) for text in continuations]
    if not tails:
        return ()
    if not all(tails):
        raise RequestError("There is nothing to score: every continuation needs at least one word.")
    longest = len(prompt_ids) + max(len(tail) for tail in tails)
    if longest > model.info.context_length:
        raise PromptTooLong(num_tokens=longest, max_tokens=model.info.context_length)
    sequences = Sequences(model, prompt_ids)
    logits = yield from sequences.prefill()
    first = logits[0].log_softmax(dim=-1)
    totals = [float(first[tail[0]]) for tail in tails]
    longer = [at for at, tail in enumerate(tails) if len(tail) > 1]
    num_at_once = sequences.num_copies_at_once(max(len(tail) for tail in tails))
    for start in range(0, len(longer), num_at_once):
        yield
        batch = longer[start : start + num_at_once]
        for at, logprob in zip(batch, _score_rest(sequences, [tails[at] for at in batch]), strict=True):
            totals[at] += logprob
    return tuple(totals)


def _score_rest(sequences: Sequences, tails: Sequence[Sequence[int]]) -> list[float]:
    """Return the log-probability of each tail's tokens from the second on; shorter rows are filled up behind."""
    device = sequences.ids.device
    width = max(len(tail) for tail in tails) - 1
    inputs = torch.tensor([[*tail[:-1], *[0] * (width + 1 - len(tail))] for tail in tails], device=device)
    targets = torch.tensor([[*tail[1:], *[0] * (width + 1 - len(tail))] for tail in tails], device=device)
    lengths = torch.tensor([len(tail) - 1 for tail in tails], device=device)
    rows = sequences.copy(torch.zeros(len(tails), dtype=torch.long, device=device))
    logits = rows.extend_by(inputs)
    found = logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(dim=-1)
    is_real = torch.arange(width, device=device)[None] < lengths[:, None]
    totals: list[float] = found.where(is_real, 0.0).sum(dim=1).tolist()
    return totals
