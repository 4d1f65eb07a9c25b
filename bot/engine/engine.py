"""The async interface of the model, the only one that the rest of the program uses."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bot.background import keep_running
from bot.core.chat_prompt import PromptTools
from bot.core.ending import EndRule
from bot.core.engine import MAX_QUEUE_S, NOBODY, Asker, Priority
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.request_counts import RequestCounts
from bot.core.results import (
    Delta,
    DrawnText,
    DrawnTokens,
    EngineStats,
    ModelInfo,
    NextTokens,
    ScoredToken,
    SketchedScores,
    Timings,
    TokenScore,
    WordProbability,
)
from bot.core.sampling_params import SamplingParams
from bot.core.watch import BatchFigures
from bot.engine.requests.work import Job, QuickWork, Work
from bot.engine.scheduler import Scheduler
from bot.engine.stream import LocalGeneration
from bot.errors import Unavailable
from bot.trace import note_step

if TYPE_CHECKING:  # these import torch, which only the model thread does at run time
    from bot.engine.language_model import LanguageModel
    from bot.engine.requests.generation import GenerationResult

    PlanGeneration = Callable[[LanguageModel, Callable[[Delta], None]], Job[GenerationResult]]

ResultT = TypeVar("ResultT")

logger = logging.getLogger(__name__)

MAX_PASS_S: Final = 120.0  # a longer pass counts as hanging
_WATCH_S: Final = 1.0


class LocalEngine:
    """The model. Open it once and use it from one event loop; every call is one request in its queue.

    If the model thread dies or hangs, its requests fail with Unavailable, and a new thread loads the model.
    """

    def __init__(
        self,
        start: "Callable[[], Scheduler[LanguageModel]]",
        *,
        hang_s: float,
        on_answer: Callable[[Timings], None] | None = None,
    ) -> None:
        self._start = start
        self._hang_s = hang_s
        self._scheduler = start()
        self._statistics = RequestCounts(time.perf_counter(), on_answer)
        self.num_restarts = 0
        self.info: ModelInfo  # set when opened

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        *,
        name: str,
        device: str = "auto",
        precision: str = "auto",
        max_waiting: int = 64,
        num_threads: int | None = None,
        kv_cache_mb: int = 512,
        models_dir: Path | None = None,
        max_running_per_person: int = 1,
        hang_s: float = MAX_PASS_S,
        on_answer: Callable[[Timings], None] | None = None,
    ) -> AsyncIterator["LocalEngine"]:
        """Load the model in `folder`; at the end cancel all requests and free it.

        `device` is auto, cpu, cuda, cuda:N or mps; `precision` is auto, float32, bfloat16, float16 or int8; at most
        `max_waiting` requests wait; `num_threads` is the number for a pass on the CPU; `kv_cache_mb` is the size of the
        KV cache in MiB; what is measured of the model is saved in `models_dir` (None: beside the model); a pass
        longer than `hang_s` counts as hanging; `on_answer` is given the timings of each generation. Several models may
        be open: each has its thread, and their passes run one at a time. Raises ModelError.
        """

        def open_model() -> "AbstractContextManager[LanguageModel]":
            from bot.engine.language_model import open_language_model  # imports torch, in the model thread

            return open_language_model(
                folder,
                name=name,
                device=device,
                precision=precision,
                num_threads=num_threads,
                kv_cache_mb=kv_cache_mb,
                models_dir=models_dir,
            )

        def start() -> "Scheduler[LanguageModel]":
            return Scheduler(open_model, max_waiting=max_waiting, max_running_per_person=max_running_per_person)

        engine = cls(start, hang_s=hang_s, on_answer=on_answer)
        watching: asyncio.Task[None] | None = None
        try:
            engine.info = (await engine._scheduler.open()).info
            watching = keep_running(engine._watch, "watching the model")
            yield engine
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await engine._close()

    async def _close(self) -> None:
        try:
            await asyncio.wait_for(self._scheduler.close(), self._hang_s)
        except TimeoutError:
            logger.error("The model has not stopped within %.0f s; it is abandoned.", self._hang_s)
            self._scheduler.abandon()

    async def _watch(self) -> None:
        """Restart the model when its thread has died or hangs; try until it works."""
        pause_s = _WATCH_S
        while True:
            await asyncio.sleep(pause_s)
            scheduler = self._scheduler
            if scheduler.stalled_s > self._hang_s:
                logger.error("One pass has taken %.0f s; the model is restarted.", scheduler.stalled_s)
                scheduler.abandon()
            elif not scheduler.has_died:
                pause_s = _WATCH_S
                continue
            self.num_restarts += 1
            self._scheduler = self._start()
            try:
                self.info = (await self._scheduler.open()).info
                logger.warning("The model was restarted.")
            except Exception as e:
                logger.error("The model could not be restarted: %s", e)
                pause_s = min(60.0, pause_s * 2)

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        heal: bool = False,
        is_word_whole: bool = False,
        end_at: EndRule | None = None,
        end_from: int = 0,
        timeout_s: float = MAX_QUEUE_S,
        asker: Asker = NOBODY,
        priority: Priority = "chat",
        is_alone: bool = False,
    ) -> LocalGeneration:
        """Return a generation of `params.n` continuations; it starts when it is entered.

        `heal` completes a half-typed last word (token healing); with `is_word_whole` it is complete, and the first
        token does not go on with it. `end_at` is a rule, called in the model thread with each continuation's text
        after each token; it returns the index at which the text ends ("stop"), or None.
        With `end_from` it is called from that number of tokens on, near the limit, and an end counts as "length".
        After `timeout_s` a waiting generation is refused, and a running one ends with its text so far ("length").
        `asker` is the conversation and person it is for: conversations take turns, and the priority "chat" goes before
        "scoring". With `is_alone` it starts when nothing else runs, and others wait a moment for its end, so that in
        any precision the result depends on nothing but its input, if it `was_alone`.
        """
        params = params.with_seed()
        return LocalGeneration(
            self._scheduler,
            self._statistics,
            lambda model, emit: model.generate(
                prompt,
                params,
                heal=heal,
                is_word_whole=is_word_whole,
                end_at=end_at,
                end_from=end_from,
                emit=emit,
            ),
            params,
            num_completions=params.n,
            timeout_s=timeout_s,
            asker=asker,
            priority=priority,
            is_alone=is_alone,
        )

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        params: Sequence[SamplingParams],
        *,
        heal: bool = False,
        is_word_whole: bool = False,
        end_at: EndRule | None = None,
        timeout_s: float = MAX_QUEUE_S,
        asker: Asker = NOBODY,
    ) -> LocalGeneration:
        """Return a generation of one continuation for each of `prompts`, in one batch; otherwise it is like `generate`.

        Completion k equals that of `generate` for prompt k with the options `params[k]`. The prompts' common prefix is
        read once. `timeout_s` is for the batch: the continuations that are being written then end with their
        text so far ("length"), and those that the cache has not let begin by then stay empty ("cancelled"). Raises
        ValueError without a prompt, without options for each, or if an `n` is not 1.
        """
        given, options = tuple(prompts), tuple(one.with_seed() for one in params)
        if not given or len(options) != len(given) or any(one.n != 1 for one in options):
            raise ValueError("A batch needs at least one prompt, options for each prompt, and n = 1.")
        return LocalGeneration(
            self._scheduler,
            self._statistics,
            lambda model, emit: model.generate_batch(
                given, options, heal=heal, is_word_whole=is_word_whole, end_at=end_at, emit=emit
            ),
            options[0],
            num_completions=len(given),
            timeout_s=timeout_s,
            asker=asker,
            priority="chat",
        )

    async def score(
        self,
        text: str,
        *,
        num_expected: int = 0,
        asker: Asker = NOBODY,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[TokenScore, ...]:
        """Return the log-probability of each token of `text`, and the `num_expected` likeliest tokens at its position.

        Long texts are scored with rolling windows; `on_progress` is called with the number of tokens scored so far, and
        of all. Cancelling the call ends the scoring. Raises RequestError for a text without tokens, Unavailable.
        """
        report = None if on_progress is None else partial(self._scheduler.post, on_progress)
        return await self._ask(lambda model: model.score(text, num_expected=num_expected, report=report), asker)

    async def score_tokens(
        self,
        prompt: Prompt,
        new_ids: Sequence[int] = (),
        *,
        num_likeliest: int = 0,
        with_prompt: bool = True,
        asker: Asker = NOBODY,
    ) -> tuple[ScoredToken, ...]:
        """Return the tokens of `prompt` and the tokens `new_ids` behind it, each with its log-probability.

        Each has the `num_likeliest` likeliest tokens in its place. What the tokenizer puts before a prompt is read, but
        not returned. Without `with_prompt` only `new_ids` are returned. They are computed in float32. Raises
        RequestError, PromptTooLong, Unavailable.
        """
        given = tuple(new_ids)
        return await self._ask(
            lambda model: model.score_tokens(prompt, given, num_likeliest=num_likeliest, with_prompt=with_prompt), asker
        )

    async def score_continuations(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> tuple[float, ...]:
        """Return the total log-probability (nats) of each continuation after `prompt`.

        Raises RequestError for an empty continuation, PromptTooLong, Unavailable.
        """
        texts = tuple(continuations)
        return await self._ask(lambda model: model.score_continuations(prompt, texts), asker)

    async def score_and_sketch(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> SketchedScores:
        """Return what `score_continuations` does, and a sketch of what the model expects after `prompt`.

        Raises as `score_continuations` does.
        """
        texts = tuple(continuations)
        return await self._ask(lambda model: model.score_and_sketch(prompt, texts), asker)

    async def score_drawn(
        self,
        prompt: Prompt,
        text: str,
        params: SamplingParams,
        *,
        leads: Sequence[str] = ("",),
        drawn: DrawnTokens | None = None,
        asker: Asker = NOBODY,
    ) -> DrawnText:
        """Return the tokens of the answer `text` with the probabilities with which `params` draw them after `prompt`.

        They are computed in the precision of decoding. Without the tokens that were `drawn` the text is encoded;
        `leads` are the kinds of white space that may have come before it and are not part of it. Raises RequestError,
        PromptTooLong, Unavailable.
        """
        given = tuple(leads)
        return await self._ask(lambda model: model.score_drawn(prompt, text, params, leads=given, drawn=drawn), asker)

    async def next_tokens(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the `num` likeliest next tokens at temperature 1. Raises PromptTooLong, Unavailable."""
        return await self._ask(lambda model: model.next_tokens(prompt, num=num), asker)

    async def drawn_tokens(
        self, prompt: Prompt, params: SamplingParams, *, num: int, asker: Asker = NOBODY
    ) -> NextTokens:
        """Return the `num` likeliest next tokens with the probability with which `params` draw each.

        Raises PromptTooLong, Unavailable, and GenerationError if the options exclude every token.
        """
        return await self._ask(lambda model: model.drawn_tokens(prompt, params, num=num), asker)

    async def next_words(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the `num` likeliest next words; their probabilities sum to at most 1.

        Raises PromptTooLong, Unavailable.
        """
        return await self._ask(lambda model: model.next_words(prompt, num=num), asker)

    async def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return the number of tokens of each prompt, without waiting for generations. Raises Unavailable."""
        given = tuple(prompts)
        return await self._ask_quick(lambda model: model.prompt_tools().count_tokens(given))

    async def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` in the model's own chat markup, ready for its answer, without waiting for generations.

        Contents stay plain text. Raises ModelError for a model without a chat template (see info.has_chat_template).
        """
        given = tuple(turns)
        return await self._ask_quick(lambda model: model.prompt_tools().render_chat(given))

    def pinned(self) -> "LocalEngine":
        """Return this engine: its model stays the same."""
        return self

    async def make_prompt(self, make: Callable[[PromptTools], ResultT]) -> ResultT:
        """Return the result of `make`, a pure function of the model's tokenizer and chat markup.

        The model thread calls it once, between two passes, so it waits for no generation, and counting and rendering
        many times takes one trip to the thread. Raises Unavailable, and the errors of `make`.
        """
        return await self._ask_quick(lambda model: make(model.prompt_tools()))

    def stats(self) -> EngineStats:
        """Return counts, rates and percentiles since the engine was opened."""
        return self._statistics.snapshot(
            num_waiting=self._scheduler.num_waiting,
            num_running=self._scheduler.num_running,
            num_restarts=self.num_restarts,
            now=time.perf_counter(),
        )

    def batch_figures(self) -> BatchFigures:
        """Return what the steps do now, and have done since the model was started last."""
        return self._scheduler.batch_figures

    async def _ask(self, plan: "Callable[[LanguageModel], Job[ResultT]]", asker: Asker) -> ResultT:
        work: Work[LanguageModel, ResultT] = Work(plan, priority="scoring", asker=asker)
        work.future.add_done_callback(self._statistics.count_end)
        num_waiting = self._scheduler.num_waiting
        self._submit(work)
        note_step(asker.request_id, "queued", waiting=num_waiting)
        result = await self._scheduler.result(work, timeout_s=MAX_QUEUE_S)
        note_step(asker.request_id, "scored", queue_ms=work.queue_ms)
        return result

    async def _ask_quick(self, call: "Callable[[LanguageModel], ResultT]") -> ResultT:
        work = QuickWork(call)
        self._submit(work)
        return await self._scheduler.result(work, timeout_s=MAX_QUEUE_S)

    def _submit(self, work: "Work[LanguageModel, Any] | QuickWork[LanguageModel, Any]") -> None:
        try:
            self._scheduler.submit(work)
        except Unavailable as e:
            work.future.set_exception(e)
            raise
