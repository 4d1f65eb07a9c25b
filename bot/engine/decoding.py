"""One generation, step by step: plan it, read the prompt, choose tokens, hand out text, end each continuation."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bot.core.prompt_parts import Prompt
from bot.core.results import Completion, Delta, FinishReason
from bot.core.sampling import SamplingParams
from bot.engine.beams import search_beams
from bot.engine.detokenizing import Detokenizer, StopMatcher
from bot.engine.healing import Healing, back_off
from bot.engine.loading import LoadedModel
from bot.engine.model_thread import Steps, WorkCancelled
from bot.engine.sampling import TokenChooser, make_penalties
from bot.engine.sequences import Sequences
from bot.errors import PromptTooLong

EndAt = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a generation feeds to the model: the prompt's `ids`, and what its first tokens must repeat.

    `end_at` looks at a continuation's text after each token and may say at which index it has ended.
    """

    ids: tuple[int, ...]
    healing: Healing
    is_space_due: bool
    max_new_tokens: int
    end_at: EndAt | None = None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What a generation hands back at its end; times in milliseconds, without the queue."""

    completions: tuple[Completion, ...]
    prefill_ms: float
    decode_ms: float
    num_prompt_tokens: int


def plan_generation(
    model: LoadedModel, prompt: Prompt, params: SamplingParams, *, heal: bool, end_at: EndAt | None = None
) -> Plan:
    """Encode `prompt` and see how many tokens may follow. Raises RequestError, PromptTooLong."""
    encoded = model.tokenizer.encode_prompt(prompt)
    room = model.info.context_length - len(encoded.ids)
    if room < 1:
        raise PromptTooLong(num_tokens=len(encoded.ids), max_tokens=model.info.context_length - 1)
    ids, typed = back_off(encoded, model) if heal else (encoded.ids, b"")
    is_space_due = (
        model.vocabulary.style == "word_end"
        and not typed
        and not encoded.ends_in_space
        and model.vocabulary.token_bytes(ids[-1]).endswith(b" ")
    )
    return Plan(ids, Healing(model.vocabulary, typed), is_space_due, min(params.max_new_tokens, room), end_at)


class Continuation:
    """One growing continuation: its tokens, its text, and how it ends."""

    def __init__(self, index: int, model: LoadedModel, plan: Plan, params: SamplingParams) -> None:
        self.index = index
        self.token_ids: list[int] = []
        self.completion: Completion | None = None
        self._eos_ids = model.eos_ids
        self._max_new_tokens = plan.max_new_tokens
        self._end_at = plan.end_at
        self._detokenizer = Detokenizer(model.vocabulary, typed=plan.healing.typed, is_space_due=plan.is_space_due)
        self._stops = StopMatcher(params.stop)
        self._shown: list[str] = []
        self._logprob = 0.0

    def push(self, token_id: int, logprob: float) -> Delta | None:
        """Take one token with its log-probability; return the delta, None while there is nothing to show."""
        self.token_ids.append(token_id)
        self._logprob += logprob
        if token_id in self._eos_ids:
            return self.finish("stop")
        text = self._stops.push(self._detokenizer.push(token_id))
        if self._stops.is_matched:
            return self.finish("stop", text)
        num_kept = self._num_kept(text)
        if num_kept is not None:
            self._stops = StopMatcher(())
            return self.finish("stop", text[:num_kept])
        if len(self.token_ids) >= self._max_new_tokens:
            return self.finish("length", text)
        if not text:
            return None
        self._shown.append(text)
        return Delta(self.index, text)

    def _num_kept(self, text: str) -> int | None:
        """Return how many characters of the new `text` stay where the continuation has ended; None where it has not."""
        if self._end_at is None:
            return None
        num_shown = sum(map(len, self._shown))
        end = self._end_at("".join(self._shown) + text)
        return None if end is None else max(0, end - num_shown)

    def finish(self, reason: FinishReason, text: str = "") -> Delta:
        """End it; return the last delta, with `text` and what was held back because it might become a stop string."""
        text += self._stops.flush()
        self._shown.append(text)
        self.completion = Completion(self.index, "".join(self._shown), tuple(self.token_ids), self._logprob, reason)
        return Delta(self.index, text, self.completion)


def generate(
    model: LoadedModel, plan: Plan, params: SamplingParams, emit: Callable[[Delta], None]
) -> Steps[GenerationResult]:
    """Write `params.n` continuations of the plan's prompt; `emit` gets each delta as it comes, beams at the end.

    Cancelled, it ends each continuation where it is, as "cancelled". Raises GenerationError.
    """
    continuations = [Continuation(index, model, plan, params) for index in range(params.n)]
    started = time.perf_counter()
    prefilled: float | None = None
    try:
        sequences = Sequences(model, plan.ids)
        logits = yield from sequences.prefill()
        prefilled = time.perf_counter()
        write = _write_beams if params.num_beams > 1 else _write_sampled
        yield from write(model, plan, params, continuations, sequences, logits, emit)
    except WorkCancelled:
        for continuation in continuations:
            if continuation.completion is None:
                emit(continuation.finish("cancelled"))
    ended = time.perf_counter()
    prefilled = prefilled or ended
    completions = tuple(c.completion for c in continuations if c.completion is not None)
    return GenerationResult(completions, (prefilled - started) * 1000, (ended - prefilled) * 1000, len(plan.ids))


def _write_sampled(
    model: LoadedModel,
    plan: Plan,
    params: SamplingParams,
    continuations: list[Continuation],
    sequences: Sequences,
    logits: torch.Tensor,
    emit: Callable[[Delta], None],
) -> Steps[None]:
    chooser = TokenChooser(params, model.device)
    running = continuations
    if params.n > 1:
        rows = torch.zeros(params.n, dtype=torch.long, device=model.device)
        sequences.select(rows)
        logits = logits[rows]
    while True:
        allowed = [plan.healing.allowed_after(c.token_ids) for c in running]
        tokens = chooser.choose(sequences.ids, logits, [c.index for c in running], allowed)
        logprobs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
        for continuation, token_id, logprob in zip(running, tokens.tolist(), logprobs.tolist(), strict=True):
            delta = continuation.push(token_id, logprob)
            if delta is not None:
                emit(delta)
        kept = [at for at, continuation in enumerate(running) if continuation.completion is None]
        if not kept:
            return
        if len(kept) < len(running):
            running = [running[at] for at in kept]
            rows = torch.tensor(kept, device=model.device)
            sequences.select(rows)
            tokens = tokens[rows]
        yield
        logits = sequences.extend(tokens)


def _write_beams(
    model: LoadedModel,
    plan: Plan,
    params: SamplingParams,
    continuations: list[Continuation],
    sequences: Sequences,
    logits: torch.Tensor,
    emit: Callable[[Delta], None],
) -> Steps[None]:
    found = yield from search_beams(
        sequences,
        logits,
        num_beams=params.num_beams,
        max_new_tokens=plan.max_new_tokens,
        eos_ids=model.eos_ids,
        penalties=make_penalties(params),
        healing=plan.healing,
    )
    for continuation, beam in zip(continuations, found, strict=False):
        pieces = []
        for token_id, logprob in zip(beam.token_ids, beam.logprobs, strict=True):
            delta = continuation.push(token_id, logprob)
            pieces.append(delta.text if delta else "")
            if continuation.completion is not None:
                break
        if continuation.completion is None:
            pieces.append(continuation.finish("cancelled").text)
        emit(Delta(continuation.index, "".join(pieces), continuation.completion))
