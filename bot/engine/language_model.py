"""The operations of the model thread: planning a job for each request, and quick work without a pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from bot.core.ending import EndRule
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.results import (
    Delta,
    DrawnText,
    DrawnTokens,
    ModelInfo,
    NextTokens,
    ScoredToken,
    SketchedScores,
    TokenScore,
    WordProbability,
)
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.loading import load_model
from bot.engine.requests.batch import plan_batch
from bot.engine.requests.drawn import plan_score_drawn
from bot.engine.requests.generation import GenerationResult, plan_generation, plan_job
from bot.engine.requests.next_words import plan_expect_drawn, plan_expect_tokens, plan_expect_words
from bot.engine.requests.scoring import plan_score_and_sketch, plan_score_continuations, plan_score_text
from bot.engine.requests.token_scores import plan_score_tokens
from bot.engine.requests.work import Job
from bot.engine.tokens.chat_markup import render_turns
from bot.errors import RequestError


class LanguageModel:
    """A loaded model and its operations. Errors in a request are raised while planning, later errors by the job."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    @property
    def info(self) -> ModelInfo:
        """Return the facts about the model."""
        return self._loaded.info

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        heal: bool,
        is_word_whole: bool,
        end_at: EndRule | None,
        end_from: int,
        emit: Callable[[Delta], None],
    ) -> Job[GenerationResult]:
        """Continue `prompt`. Raises RequestError, PromptTooLong, GenerationError."""
        plan = plan_generation(
            self._loaded, prompt, params, heal=heal, is_word_whole=is_word_whole, end_at=end_at, end_from=end_from
        )
        return plan_job(self._loaded, plan, params, emit)

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        params: Sequence[SamplingParams],
        *,
        heal: bool,
        is_word_whole: bool,
        end_at: EndRule | None,
        emit: Callable[[Delta], None],
    ) -> Job[GenerationResult]:
        """Continue each of `prompts` with its own options. Raises RequestError, PromptTooLong, GenerationError."""
        plans = [
            plan_generation(self._loaded, prompt, one, heal=heal, is_word_whole=is_word_whole, end_at=end_at)
            for prompt, one in zip(prompts, params, strict=True)
        ]
        return plan_batch(self._loaded, plans, params, emit)

    def score(
        self, text: str, *, num_expected: int, report: Callable[[int, int], None] | None
    ) -> Job[tuple[TokenScore, ...]]:
        """Score each token of `text`. Raises RequestError."""
        return plan_score_text(self._loaded, text, num_expected=num_expected, report=report)

    def score_tokens(
        self, prompt: Prompt, new_ids: Sequence[int], *, num_likeliest: int, with_prompt: bool
    ) -> Job[tuple[ScoredToken, ...]]:
        """Score the tokens of a prompt and behind it. Raises RequestError, PromptTooLong."""
        return plan_score_tokens(self._loaded, prompt, new_ids, num_likeliest=num_likeliest, with_prompt=with_prompt)

    def score_continuations(self, prompt: Prompt, continuations: Sequence[str]) -> Job[tuple[float, ...]]:
        """Score whole continuations. Raises RequestError, PromptTooLong."""
        return plan_score_continuations(self._loaded, prompt, continuations)

    def score_and_sketch(self, prompt: Prompt, continuations: Sequence[str]) -> Job[SketchedScores]:
        """Return the job that also sketches what is expected after `prompt` (bot.engine.requests.scoring)."""
        return plan_score_and_sketch(self._loaded, prompt, continuations)

    def score_drawn(
        self,
        prompt: Prompt,
        text: str,
        params: SamplingParams,
        *,
        leads: Sequence[str],
        drawn: DrawnTokens | None,
    ) -> Job[DrawnText]:
        """Score the tokens of an answer as they are drawn. Raises RequestError, PromptTooLong."""
        return plan_score_drawn(self._loaded, prompt, text, params, leads=leads, drawn=drawn)

    def next_tokens(self, prompt: Prompt, *, num: int) -> Job[tuple[WordProbability, ...]]:
        """Return the likeliest next tokens. Raises RequestError, PromptTooLong."""
        return plan_expect_tokens(self._loaded, prompt, num=num)

    def drawn_tokens(self, prompt: Prompt, params: SamplingParams, *, num: int) -> Job[NextTokens]:
        """Return how likely `params` draw each of the likeliest next tokens. Raises RequestError, PromptTooLong."""
        return plan_expect_drawn(self._loaded, prompt, params, num=num)

    def next_words(self, prompt: Prompt, *, num: int) -> Job[tuple[WordProbability, ...]]:
        """Return the likeliest next words. Raises RequestError, PromptTooLong."""
        return plan_expect_words(self._loaded, prompt, num=num)

    def prompt_tools(self) -> "ModelPromptTools":
        """Return the tools to build one request's prompt."""
        return ModelPromptTools(self._loaded)


class ModelPromptTools:
    """Counts tokens and renders chat markup. It encodes each text of a prompt once, so keep it for one request only."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._known: dict[tuple[str, bool], tuple[int, ...]] = {}

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return how many tokens the model reads for each prompt; 0 for an empty one that it can't start from."""
        counts = []
        for prompt in prompts:
            try:
                counts.append(len(self._loaded.tokenizer.encode_prompt(prompt, known=self._known).ids))
            except RequestError:
                counts.append(0)
        return tuple(counts)

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Render `turns` with the model's own chat template. Raises ModelError if it has none."""
        return render_turns(self._loaded.chat_tokenizer, turns, model_name=self._loaded.info.name)


@contextmanager
def open_language_model(
    folder: Path,
    *,
    name: str,
    device: str,
    precision: str,
    num_threads: int | None,
    kv_cache_mb: int,
    models_dir: Path | None = None,
) -> Iterator[LanguageModel]:
    """Load a model and keep it, without gradients, until the context ends. Raises ModelError."""
    loaded = load_model(
        folder,
        name=name,
        device=device,
        precision=precision,
        num_threads=num_threads,
        kv_cache_mb=kv_cache_mb,
        models_dir=models_dir,
    )
    try:
        with torch.inference_mode():
            yield LanguageModel(loaded)
    finally:
        loaded.close()
