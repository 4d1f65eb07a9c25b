"""Measurement of a template's rows with the model: one by one, stored as numbers, resumed after an interruption."""

import asyncio
import copy
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.core.classification import content_free_prior
from bot.core.ending import UnlessExactly
from bot.core.engine import Asker, Engine
from bot.core.figures import measure_template
from bot.core.history import Turn
from bot.core.mentions import mention
from bot.core.prompt import (
    EXAMPLE_SPEAKER,
    build_chat_turns,
    build_content_free_prompts,
    build_prompt,
    build_transcript,
    continuation_of,
    label_continuations,
    speakers_of,
    stops_of,
)
from bot.core.prompt_parts import Prompt
from bot.core.reply_text import clean_reply
from bot.core.safe_text import one_line
from bot.core.sampling_params import OPTIONS, SamplingParams, apply_options
from bot.core.statistics import (
    ClassifyOutcome,
    CompleteOutcome,
    Figures,
    RowOutcome,
)
from bot.core.stopping import Stopper
from bot.core.templates.parsing import format_template
from bot.core.templates.template import Example, PromptTemplate
from bot.errors import PromptTooLong, RequestError
from bot.services.outcome_numbers import from_numbers, list_of, to_numbers
from bot.services.queueing import ask_patiently
from bot.store.row_outcomes import Outcome
from bot.store.store import Store

OnProgress = Callable[[int, int], None]
OnOutcome = Callable[[int, RowOutcome], None]

_SAVE_EVERY_S: Final = 1.0
_MAX_PRIORS_KEPT: Final = 1_000
_MAX_NEW_TOKENS: Final = int(OPTIONS["max_new_tokens"].highest)


@dataclass(frozen=True, slots=True)
class TokenCost:
    """The token cost of a template: its prompt around a message of one letter, and the room left for a message.

    Room for the answer is reserved: the longest label, else `max_new_tokens` but at most half of the context.
    """

    num_prompt_tokens: int
    num_left_for_input: int
    context_length: int


@dataclass(frozen=True, slots=True)
class _Question:
    """One row for the model: the prompt, and the reference output as its continuation."""

    prompt: Prompt
    continuation: str
    stops: tuple[str, ...]


class Measuring:
    """Measures templates on rows with the engine, at a lower priority than chat.

    The outcome of each row is stored under the prompt part of its template (all but tests, description and sampling),
    the model's `fingerprint` and the row, so that no row is measured twice and an interrupted measurement resumes.
    """

    def __init__(self, engine: Engine, store: Store, *, bot_name: str = "Fewshot") -> None:
        self._engine = engine
        self._store = store
        self._bot_name = bot_name
        self._priors: OrderedDict[tuple[str, str], tuple[float, ...]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}

    def on(self, engine: Engine) -> "Measuring":
        """Return the same with another model, whose outcomes are apart: they are kept under its fingerprint."""
        other = copy.copy(self)
        other._engine = engine
        return other

    @property
    def fingerprint(self) -> str:
        """Return the model's name and the digest of its files; it changes with the weights.

        Scores are always computed in float32, whatever the precision of generation.
        """
        info = self._engine.info
        return f"{info.name}@{info.weights_digest}" if info.weights_digest else info.name

    async def measure(
        self,
        template: PromptTemplate,
        rows: Sequence[Example],
        *,
        asker: Asker,
        on_progress: OnProgress | None = None,
        stopper: Stopper | None = None,
    ) -> Figures | None:
        """Return the figures of `template` on `rows`, for classify with calibrated probabilities; None when stopped.

        The template's kept examples are rows too. `on_progress` gets the number of finished rows and of all rows, at
        the start and after each. Raises RequestError without rows and for a row that does not fit the model's context,
        Unavailable if the queue stays full.
        """
        if not rows:
            raise RequestError(f"{template.name} has no rows to measure.")
        prior = await self.prior(template, asker=asker) if template.kind == "classify" else None
        asked = [*template.kept_examples, *rows]
        outcomes = await self.outcomes(template, asked, asker=asker, on_progress=on_progress, stopper=stopper)
        return None if outcomes is None else await asyncio.to_thread(measure_template, template, rows, outcomes, prior)

    async def cached(
        self, template: PromptTemplate, rows: Sequence[Example], *, is_swapped: bool = False
    ) -> Figures | None:
        """Return the figures if all of them are stored, else None; never asks the model.

        `is_swapped` rows are those of `outcomes`.
        """
        if not rows:
            return None
        prompt_key = self._prompt_key(template)
        prior = None
        if template.kind == "classify" and (prior := await self._known_prior(template, prompt_key)) is None:
            return None
        known = await self._known(template, prompt_key, [*template.kept_examples, *rows], is_swapped)
        if any(outcome is None for outcome in known):
            return None
        outcomes = [outcome for outcome in known if outcome is not None]
        return await asyncio.to_thread(measure_template, template, rows, outcomes, prior)

    async def outcomes(
        self,
        template: PromptTemplate,
        rows: Sequence[Example],
        *,
        asker: Asker,
        on_progress: OnProgress | None = None,
        stopper: Stopper | None = None,
        is_swapped: bool = False,
        on_outcome: OnOutcome | None = None,
    ) -> tuple[RowOutcome, ...] | None:
        """Return the outcome of each row; None when stopped before the last. Raises as `measure` does.

        `on_outcome` gets the index and the outcome of each row, in order, as soon as it is there.
        With `is_swapped` the inputs are of other rows than the outputs, so the model need not write any answer.
        """
        prompt_key, model = self._prompt_key(template), self.fingerprint
        outcomes = await self._known(template, prompt_key, rows, is_swapped)
        num_done = sum(outcome is not None for outcome in outcomes)
        unsaved: dict[str, Outcome] = {}
        saved_at = time.monotonic()
        try:
            for i, row in enumerate(rows):
                if on_progress:
                    on_progress(num_done, len(rows))
                if (known := outcomes[i]) is not None:
                    if on_outcome:
                        on_outcome(i, known)
                        await asyncio.sleep(0)  # others take their turns between a thousand stored rows
                    continue
                if stopper is not None and stopper.is_stopped:
                    return None
                outcomes[i] = outcome = await self._ask_row(template, row, i, asker, is_swapped)
                unsaved[self._row_key(template, row, is_swapped)] = to_numbers(outcome)
                num_done += 1
                if on_outcome:
                    on_outcome(i, outcome)
                if time.monotonic() - saved_at >= _SAVE_EVERY_S:
                    await self._store.put_row_outcomes(prompt_key, model, unsaved)
                    unsaved, saved_at = {}, time.monotonic()
        finally:
            if unsaved:
                await self._store.put_row_outcomes(prompt_key, model, unsaved)
        if on_progress:
            on_progress(len(rows), len(rows))
        return tuple(outcome for outcome in outcomes if outcome is not None)

    async def known_outcomes(self, template: PromptTemplate, rows: Sequence[Example]) -> list[RowOutcome | None]:
        """Return the stored outcome of each row, None for one that was not measured; never asks the model."""
        return await self._known(template, self._prompt_key(template), rows, False)

    async def known_prior(self, template: PromptTemplate) -> tuple[float, ...] | None:
        """Return what `prior` does, None if it is not stored; never asks the model."""
        return await self._known_prior(template, self._prompt_key(template))

    async def prompt_of(self, template: PromptTemplate, input: str) -> Prompt:
        """Return what the model reads of `template` before it answers `input`."""
        return (await self._question(template, Example(input, "a"))).prompt

    async def prior(self, template: PromptTemplate, *, asker: Asker) -> tuple[float, ...]:
        """Return the probability of each label of a classify template for content-free inputs, for calibration.

        The model is asked once per prompt. Raises PromptTooLong, Unavailable.
        """
        prompt_key = self._prompt_key(template)
        key = (prompt_key, self.fingerprint)
        # Concurrent callers ask the model only once.
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                prior = await self._known_prior(template, prompt_key)
                if prior is None:
                    prior = await self._ask_prior(template, asker)
                    await self._store.put_row_outcomes(*key, {_prior_key(template): {"prior": prior}})
                    self._keep_prior(key, prior)
                return prior
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    async def read(self, template: PromptTemplate, input: str, *, asker: Asker) -> ClassifyOutcome:
        """Return what the model says of one input of a classify template, with a sketch if it has `neighbours`.

        Nothing is stored. Raises PromptTooLong, Unavailable.
        """
        prompt, labels = build_prompt(template, input), label_continuations(template)
        if template.neighbours is None:
            return ClassifyOutcome(await self._score(prompt, labels, asker))
        scores = await ask_patiently(lambda: self._engine.score_and_sketch(prompt, labels, asker=asker))
        return ClassifyOutcome(scores.logprobs, scores.sketch)

    async def count_tokens(self, template: PromptTemplate) -> TokenCost:
        """Return the token cost of `template`. Raises RequestError if it leaves no room for a message."""
        prompt = (await self._question(template, Example("a", "a"))).prompt
        (num_tokens,) = await self._engine.count_tokens([prompt])
        context_length = self._engine.info.context_length
        if template.kind == "classify":
            labels = [Prompt.plain(continuation) for continuation in label_continuations(template)]
            num_reserved = max(await self._engine.count_tokens(labels))
        else:
            params = apply_options(SamplingParams(), template.sampling)
            num_reserved = min(params.max_new_tokens, context_length // 2)
        cost = TokenCost(num_tokens, context_length - num_reserved - num_tokens + 1, context_length)
        if cost.num_left_for_input < 1:
            raise RequestError(
                f"{template.name} takes {num_tokens:,} tokens and {num_reserved:,} for the answer, but the model's"
                f" context has {context_length:,}, so no message fits. Shorten it or remove examples."
                f"{_or_keep(template)}"
            )
        return cost

    def _prompt_key(self, template: PromptTemplate) -> str:
        """Return the digest of everything that the model reads before a row's answer."""
        examples = template.prompt_examples
        bare = replace(template, description="-", tests=(), sampling={}, model="", examples=examples, neighbours=None)
        who = ""
        if template.kind == "chat":
            who = f"{self._is_markup(template)} {self._bot_name}"
        return _digest(format_template(bare), who)

    def _row_key(self, template: PromptTemplate, row: Example, is_swapped: bool = False) -> str:
        # All labels are scored, whichever is right. Generated text depends on the precision, scores do not.
        if template.kind == "classify":
            return _digest("classify", row.input)
        if is_swapped:
            return _digest("swapped", row.input, row.output)
        return _digest(template.kind, row.input, row.output, self._engine.info.precision)

    async def _known(
        self, template: PromptTemplate, prompt_key: str, rows: Sequence[Example], is_swapped: bool
    ) -> list[RowOutcome | None]:
        keys = [self._row_key(template, row, is_swapped) for row in rows]
        stored = await self._store.get_row_outcomes(prompt_key, self.fingerprint, list(dict.fromkeys(keys)))
        known = await asyncio.to_thread(lambda: {key: from_numbers(numbers) for key, numbers in stored.items()})
        if template.neighbours is not None:
            known = {key: one for key, one in known.items() if isinstance(one, ClassifyOutcome) and one.sketch}
        return [known.get(key) for key in keys]

    async def _known_prior(self, template: PromptTemplate, prompt_key: str) -> tuple[float, ...] | None:
        key = (prompt_key, self.fingerprint)
        if key in self._priors:
            self._priors.move_to_end(key)
            return self._priors[key]
        row_key = _prior_key(template)
        known = await self._store.get_row_outcomes(*key, [row_key])
        if row_key not in known:
            return None
        prior = list_of(known[row_key], "prior")
        self._keep_prior(key, prior)
        return prior

    def _keep_prior(self, key: tuple[str, str], prior: tuple[float, ...]) -> None:
        self._priors[key] = prior
        while len(self._priors) > _MAX_PRIORS_KEPT:
            self._priors.popitem(last=False)

    async def _ask_prior(self, template: PromptTemplate, asker: Asker) -> tuple[float, ...]:
        labels = label_continuations(template)
        scored: list[tuple[float, ...]] = []
        problem: PromptTooLong | None = None
        for prompt in build_content_free_prompts(template):
            try:
                scored.append(await self._score(prompt, labels, asker))
            except PromptTooLong as e:  # messages may be shorter than this input
                problem = e
        if problem is not None and not scored:
            raise problem
        return content_free_prior(scored)

    async def _ask_row(
        self, template: PromptTemplate, row: Example, index: int, asker: Asker, is_swapped: bool
    ) -> RowOutcome:
        try:
            if template.kind == "classify":
                return await self.read(template, row.input, asker=asker)
            question = await self._question(template, row)
            (logprob,) = await self._score(question.prompt, (question.continuation,), asker)
            is_exact = None
            if not is_swapped and "\n" not in row.output:
                is_exact = await self._is_exact(template, question, row.output, asker)
        except PromptTooLong as e:
            is_kept = row in template.kept_examples
            name = f"Example {template.examples.index(row) + 1}" if is_kept else f"Row {index + 1}"
            raise RequestError(f"{name} is too long to measure: {e}") from e
        return CompleteOutcome(-logprob, len(row.output.encode()), is_exact)

    async def _question(self, template: PromptTemplate, row: Example) -> _Question:
        if template.kind != "chat":
            prompt = build_prompt(template, row.input)
            return _Question(prompt, continuation_of(template, row.output), template.stop)
        turns = [Turn(EXAMPLE_SPEAKER, is_me=False, text=row.input, message_ids=())]
        stops = stops_of(template, speakers_of(template, turns, bot_name=self._bot_name))
        if self._is_markup(template):
            chat_turns = build_chat_turns(template, turns, bot_name=self._bot_name)
            return _Question(await self._engine.render_chat(chat_turns), row.output, stops)
        prompt = build_transcript(template, turns, bot_name=self._bot_name)
        return _Question(prompt, f" {one_line(row.output)}", stops)

    def _is_markup(self, template: PromptTemplate) -> bool:
        return template.markup == "auto" and self._engine.info.has_chat_template

    async def _score(self, prompt: Prompt, continuations: Sequence[str], asker: Asker) -> tuple[float, ...]:
        return await ask_patiently(lambda: self._engine.score_continuations(prompt, continuations, asker=asker))

    async def _is_exact(self, template: PromptTemplate, question: _Question, output: str, asker: Asker) -> bool:
        """Say whether greedy decoding writes exactly `output`."""
        params = SamplingParams(
            n=1,
            max_new_tokens=min(_MAX_NEW_TOKENS, len(output.encode()) + 8),  # no token is shorter than a byte
            temperature=0,
            repetition_penalty=1.0,
            stop=question.stops,
        )

        async def write() -> str:
            generation = self._engine.generate(
                question.prompt, params, end_at=UnlessExactly(output), asker=asker, priority="scoring"
            )
            async with generation:
                async for _ in generation:
                    pass
            return generation.completions[0].text

        text = await ask_patiently(write)
        if template.kind == "chat":
            text = clean_reply(text, names=[self._bot_name])
        return text.strip() == output


def _or_keep(template: PromptTemplate) -> str:
    """Return the way to have more examples than fit, "" if there is none."""
    if template.kind != "classify" or template.neighbours is not None:
        return ""
    on = mention(f"prompt neighbours --take yes on {template.name}")
    return f" To use more examples than fit the prompt, give {on} before you add them."


def _prior_key(template: PromptTemplate) -> str:
    return _digest("content-free prior", *template.labels)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogatepass")).hexdigest()
