"""One generation, step by step: plan, prefill, decode, emit text, end each continuation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from bot.core.ending import EndRule
from bot.core.prompt_parts import Prompt
from bot.core.results import Completion, Delta, FinishReason
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.paged_cache import Row, Rows, count_blocks_of_branches
from bot.engine.requests.beams import search_beams
from bot.engine.requests.healing import Healing, Way, back_off, inside_last_word, weigh
from bot.engine.requests.prompt_lookup import PromptLookup
from bot.engine.requests.work import Feed, Job, Steps, WorkCancelled
from bot.engine.sampler.sampler import Choice, TokenChooser
from bot.engine.tokens.detokenizing import Detokenizer, StopMatcher
from bot.errors import PromptTooLong


@dataclass(frozen=True, slots=True)
class Plan:
    """The input of a generation: the prompt's `ids`, and what its first tokens must repeat (healing).

    `end_at` gets a continuation's text after each token, from the `end_from`-th one on; it returns the index at which
    the text ends, or None.
    """

    ids: tuple[int, ...]
    healing: Healing
    is_space_due: bool
    max_new_tokens: int
    end_at: EndRule | None = None
    end_from: int = 0

    @property
    def max_num_own(self) -> int:
        """Return the most tokens that one continuation puts into the cache behind the prompt."""
        return max(self.max_new_tokens, len(self.healing.typed_ids))


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """The result of a generation; times are in milliseconds, without the queue.

    `prompt_lengths` are the numbers of tokens of the prompts. `parts` are the results of a batch's members, each timed
    from its own start, with the prefill of what all share.
    """

    completions: tuple[Completion, ...]
    prefill_ms: float
    decode_ms: float
    prompt_lengths: tuple[int, ...]
    parts: "tuple[GenerationResult, ...]" = ()


def plan_generation(
    model: LoadedModel,
    prompt: Prompt,
    params: SamplingParams,
    *,
    heal: bool,
    is_word_whole: bool = False,
    end_at: EndRule | None = None,
    end_from: int = 0,
) -> Plan:
    """Encode `prompt` and find how many tokens may follow it. Raises RequestError, PromptTooLong."""
    encoded = model.tokenizer.encode_prompt(prompt)
    model.tokenizer.check_known(encoded.ids)
    room = model.info.context_length - len(encoded.ids)
    if room < 1:
        raise PromptTooLong(num_tokens=len(encoded.ids), max_tokens=model.info.context_length - 1)
    ids, healing = back_off(encoded, model) if heal else (encoded.ids, Healing())
    if is_word_whole:
        healing = replace(healing, inside_ids=inside_last_word(encoded, model))
    is_space_due = (
        model.vocabulary.style == "word_end"
        and not healing.typed
        and not encoded.ends_in_space
        and model.vocabulary.token_bytes(ids[-1]).endswith(b" ")
    )
    # What repeats the typed word counts as one token, as if some token were the word.
    max_new_tokens = min(params.max_new_tokens, room) + max(0, len(healing.typed_ids) - 1)
    return Plan(ids, healing, is_space_due, max_new_tokens, end_at, end_from)


class Continuation:
    """One growing continuation: its tokens, its text, and its end."""

    def __init__(self, index: int, model: LoadedModel, plan: Plan, params: SamplingParams) -> None:
        self.index = index
        self.token_ids: list[int] = []
        self.completion: Completion | None = None
        self._eos_ids = model.eos_ids
        self._max_new_tokens = params.max_new_tokens
        self._room = plan.max_new_tokens
        self._num_new = 0  # those that do more than repeat a part of the typed word
        self._end_at = plan.end_at
        self._end_from = plan.end_from
        self._detokenizer = Detokenizer(model.vocabulary, typed=plan.healing.typed, is_space_due=plan.is_space_due)
        self._stops = StopMatcher(params.stop)
        self._shown: list[str] = []
        self._logprob = 0.0
        # Of the tokens that do more than repeat the typed word: what follows a stop string counts here too.
        self._logprobs: list[float] = []
        self._ends: list[int] = []

    def push(self, token_id: int, logprob: float) -> Delta | None:
        """Add one token with its log-probability; return the delta, None if there is nothing to show yet."""
        self.token_ids.append(token_id)
        self._logprob += logprob
        if token_id in self._eos_ids:
            return self.finish("stop")
        is_repeating = self._detokenizer.is_repeating
        decoded = self._detokenizer.push(token_id)
        if decoded or not is_repeating:
            self._logprobs.append(logprob)
            self._ends.append((self._ends[-1] if self._ends else 0) + len(decoded))
        text = self._stops.push(decoded)
        self._num_new += not self._detokenizer.is_repeating
        if self._stops.is_matched:
            return self.finish("stop", text)
        num_kept = self._num_kept(text)
        if num_kept is not None:
            self._stops = StopMatcher(())
            return self.finish("length" if self._end_from else "stop", text[:num_kept])
        if self._num_new >= self._max_new_tokens or len(self.token_ids) >= self._room:
            return self.finish("length", text)
        if not text:
            return None
        self._shown.append(text)
        return Delta(self.index, text)

    def _num_kept(self, text: str) -> int | None:
        """Return how many characters of the new `text` to keep if the continuation has ended, None if it has not."""
        if self._end_at is None or len(self.token_ids) < self._end_from:
            return None
        num_shown = sum(map(len, self._shown))
        end = self._end_at("".join(self._shown) + text)
        return None if end is None else max(0, end - num_shown)

    def finish(self, reason: FinishReason, text: str = "") -> Delta:
        """End it; return the last delta, with `text` and the text held back as a possible start of a stop string."""
        text += self._stops.flush()
        self._shown.append(text)
        shown = "".join(self._shown)
        ends = tuple(min(end, len(shown)) for end in self._ends)
        self.completion = Completion(
            self.index, shown, tuple(self.token_ids), self._logprob, reason, tuple(self._logprobs), ends
        )
        return Delta(self.index, text, self.completion)


def plan_job(
    model: LoadedModel, plan: Plan, params: SamplingParams, emit: Callable[[Delta], None]
) -> Job[GenerationResult]:
    """Return the job that runs `plan` on the model's lane for writing."""
    num_rows = max(params.n, params.num_beams)
    num_blocks = count_blocks_of_branches(len(plan.ids), num_rows, plan.max_num_own)
    return Job(generate(model, plan, params, emit), model.writing, num_rows, num_blocks)


def generate(
    model: LoadedModel,
    plan: Plan,
    params: SamplingParams,
    emit: Callable[[Delta], None],
    *,
    after: Row | None = None,
) -> Steps[GenerationResult]:
    """Generate `params.n` continuations of the plan's prompt; `emit` gets each delta right away, beams at the end.

    The prompt starts with the tokens of the open row `after` and shares its blocks. If cancelled, each continuation
    ends with its text so far. Raises GenerationError.
    """
    continuations = [Continuation(index, model, plan, params) for index in range(params.n)]
    clock = Clock()
    with model.writing.cache.rows() as rows:
        try:
            ways: tuple[Way | None, ...] = (None,) * params.n
            if plan.healing.typed and params.num_beams == 1:
                ways = yield from weigh(model, plan.ids, plan.healing, params, rows, after=after)
            prompt = rows.open(plan.ids, after=after)
            writer = _Writer(model, plan, params, continuations, ways, rows, prompt, clock, emit)
            yield from writer.write_beams() if params.num_beams > 1 else writer.write_sampled()
        except WorkCancelled as e:
            for continuation in continuations:
                if continuation.completion is None:
                    emit(continuation.finish(e.reason))
    completions = tuple(c.completion for c in continuations if c.completion is not None)
    return GenerationResult(completions, *clock.read_ms(), (len(plan.ids),))


class Clock:
    """Measures the prefill and decode times of a generation."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._prefilled: float | None = None

    def mark_prefilled(self) -> None:
        """Record the end of the prefill; only the first call counts."""
        self._prefilled = self._prefilled or time.perf_counter()

    def read_ms(self) -> tuple[float, float]:
        """Return the prefill time, and the decode time up to now."""
        ended = time.perf_counter()
        prefilled = self._prefilled or ended
        return (prefilled - self._started) * 1000, (ended - prefilled) * 1000


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the continuations of one open prompt, in one of two ways."""

    model: LoadedModel
    plan: Plan
    params: SamplingParams
    continuations: list[Continuation]
    ways: tuple[Way | None, ...]
    rows: Rows
    prompt: Row
    clock: Clock
    emit: Callable[[Delta], None]

    def write_sampled(self) -> Steps[None]:
        """Choose each continuation's tokens on its own; show them right away."""
        chooser = TokenChooser(self.params, self.model.device)
        first = yield [Feed(self.prompt, [self._choose(chooser, c, self.prompt) for c in self.continuations])]
        self.clock.mark_prefilled()
        row_of = [self.prompt, *(self.rows.fork(self.prompt) for _ in self.continuations[1:])]
        lookup = PromptLookup(self.plan.ids) if self.params.n == 1 else None
        answers = [[chosen] for chosen in first[0]]
        running = list(self.continuations)
        while True:
            for continuation, answer in zip(running, answers, strict=True):
                row = row_of[continuation.index]
                for chosen in answer:
                    row.ids.append(chosen.token_id)
                    if delta := continuation.push(chosen.token_id, chosen.logprob):
                        self.emit(delta)
                    if continuation.completion is not None:
                        self.rows.close(row)
                        break
            running = [continuation for continuation in running if continuation.completion is None]
            if not running:
                return
            feeds = []
            for continuation in running:
                row = row_of[continuation.index]
                choice = self._choose(chooser, continuation, row)
                room = self.plan.max_new_tokens - len(continuation.token_ids) - 1
                drafts = lookup.guess(row.ids, room) if lookup is not None and choice.is_free else ()
                feeds.append(Feed(row, (choice,), drafts))
            answers = yield feeds
            if lookup is not None:
                lookup.learn(feeds[0].drafts, [chosen.token_id for chosen in answers[0]])

    def _choose(self, chooser: TokenChooser, continuation: Continuation, row: Row) -> Choice:
        way = self.ways[continuation.index]
        allowed = self.plan.healing.allowed_after(continuation.token_ids, way)
        excluded = self.plan.healing.excluded_after(continuation.token_ids)
        return Choice(chooser, continuation.index, row.ids, allowed, excluded)

    def write_beams(self) -> Steps[None]:
        """Search for the likeliest continuations; show them at the end."""
        logits = (yield [Feed(self.prompt)])[0]
        self.clock.mark_prefilled()
        found, cancelled = yield from search_beams(
            self.rows,
            self.prompt,
            logits,
            params=self.params,
            max_new_tokens=self.plan.max_new_tokens,
            eos_ids=self.model.eos_ids,
            healing=self.plan.healing,
        )
        for continuation, beam in zip(self.continuations, found, strict=False):
            pieces = []
            for token_id, logprob in zip(beam.token_ids, beam.logprobs, strict=True):
                delta = continuation.push(token_id, logprob)
                pieces.append(delta.text if delta else "")
                if continuation.completion is not None:
                    break
            if continuation.completion is None:
                pieces.append(continuation.finish(cancelled.reason if cancelled else "length").text)
            if cancelled is not None and continuation.completion is not None:
                # A finished beam is no final result as long as the search goes on.
                continuation.completion = replace(continuation.completion, finish_reason=cancelled.reason)
            self.emit(Delta(continuation.index, "".join(pieces), continuation.completion))
