"""The probabilities with which an answer was drawn are those of transformers after all sampling options."""

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from bot.core.prompt_parts import Prompt
from bot.core.results import DrawnTokens
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.errors import PromptTooLong, RequestError

PROMPT = Prompt.document("The cat sat")
OPTIONS = (
    SamplingParams(seed=11, max_new_tokens=20),
    SamplingParams(seed=4, max_new_tokens=20, temperature=1.4, top_k=0, top_p=0.7, min_p=0.05, no_repeat_ngram_size=2),
    SamplingParams(seed=5, max_new_tokens=20, temperature=0, repetition_penalty=1.5),
)


@pytest.fixture(params=["gpt2", "llama", "openai_gpt"])
async def engine(request: pytest.FixtureRequest, tiny_model: Callable[[str], Path]) -> AsyncIterator[LocalEngine]:
    folder = tiny_model(request.param)
    async with LocalEngine.open(folder, name=request.param, device="cpu", num_threads=1, precision="float32") as opened:
        yield opened


async def written(engine: LocalEngine, params: SamplingParams) -> tuple[str, tuple[int, ...], float]:
    async with engine.generate(PROMPT, params) as generation:
        async for _ in generation:
            pass
    (completion,) = generation.completions
    return completion.text, completion.token_ids, completion.logprob


@pytest.mark.parametrize("params", OPTIONS, ids=["normal", "wild", "greedy"])
async def test_each_token_has_the_probability_with_which_transformers_draws_it(
    engine: LocalEngine, params: SamplingParams
) -> None:
    text, token_ids, _ = await written(engine, params)
    found = await engine.score_drawn(PROMPT, text, params, drawn=DrawnTokens(token_ids, heal=False))
    scores = found.scores
    assert found.is_exact
    assert tuple(score.token_id for score in scores) == token_ids[: len(scores)]
    assert all(math.isfinite(score.drawn_logprob) for score in scores)
    assert "".join(text[score.start : score.end] for score in scores if score.start < score.end).strip() == text.strip()
    model = AutoModelForCausalLM.from_pretrained(engine.info.folder, dtype=torch.float32).eval()
    ids = await _ids_of(engine, [score.token_id for score in scores])
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0]
    start = len(ids) - len(scores)
    processors = model._get_logits_processor(_config(model, params), input_ids_seq_length=start)
    for i, score in enumerate(scores):
        at = start + i
        processed = processors(torch.tensor([ids[:at]]), logits[at - 1][None].clone())[0].log_softmax(-1)
        assert score.drawn_logprob == pytest.approx(float(processed[score.token_id]), abs=1e-3)
        assert score.logprob == pytest.approx(float(logits[at - 1].log_softmax(-1)[score.token_id]), abs=1e-3)


async def _ids_of(engine: LocalEngine, tail: list[int]) -> list[int]:
    """Return the tokens of the prompt, as the engine reads it, and `tail`."""
    from bot.engine.language_model import LanguageModel

    def read(model: LanguageModel) -> list[int]:
        return [*model._loaded.tokenizer.encode_prompt(PROMPT).ids, *tail]

    return await engine._ask_quick(read)


def _config(model: object, params: SamplingParams) -> object:
    config = model.generation_config  # type: ignore[attr-defined]
    for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "no_repeat_ngram_size"):
        setattr(config, name, getattr(params, name) or None)
    config.do_sample = params.is_sampled
    return config


async def test_the_tokens_cover_the_answer_and_the_likeliest_white_space_before_it_is_not_part_of_it(
    tiny_gpt2: Path,
) -> None:
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1, precision="float32") as engine:
        for lead in ("", " ", "\n"):
            scores = (await engine.score_drawn(PROMPT, "naïve 日本", OPTIONS[0], leads=(lead,))).scores
            assert scores[0].start == 0
            assert scores[-1].end == len("naïve 日本")
            assert all(one.start <= one.end for one in scores)
            assert [one.start for one in scores] == sorted(one.start for one in scores)
        alone = [await engine.score_drawn(PROMPT, "on", OPTIONS[0], leads=(lead,)) for lead in ("", " ", "\n")]
        means = [sum(one.logprob for one in found.scores) / len(found.scores) for found in alone]
        best = await engine.score_drawn(PROMPT, "on", OPTIONS[0], leads=("", " ", "\n"))
        assert best == alone[means.index(max(means))]


async def test_a_half_typed_word_is_scored_with_its_end(tiny_gpt2: Path) -> None:
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1, precision="float32") as engine:
        whole = await engine.score_drawn(Prompt.document("The c"), "at sat", OPTIONS[0])
        assert (
            "".join("The cat sat"[len("The c") + one.start : len("The c") + one.end] for one in whole.scores)
            == "at sat"
        )


async def test_an_answer_without_words_and_one_that_does_not_fit_are_refused(tiny_gpt2: Path) -> None:
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1, precision="float32") as engine:
        with pytest.raises(RequestError, match="nothing to score"):
            await engine.score_drawn(PROMPT, "", OPTIONS[0])
        with pytest.raises(PromptTooLong):
            await engine.score_drawn(PROMPT, "word " * 2000, OPTIONS[0])


async def test_the_tokens_of_a_finished_word_and_of_a_stop_text_are_told_from_the_answer_s(tiny_gpt2: Path) -> None:
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1, precision="float32") as engine:
        prompt = Prompt.document("The ca")
        async with engine.generate(prompt, OPTIONS[0], heal=True) as generation:
            async for _ in generation:
                pass
        (completion,) = generation.completions
        tokens = DrawnTokens(completion.token_ids, heal=True)
        found = await engine.score_drawn(prompt, completion.text, OPTIONS[0], drawn=tokens)
        assert found.is_exact
        assert found.scores[0].start == 0
        assert found.scores[-1].end == len(completion.text)
        part = await engine.score_drawn(prompt, completion.text[:5].strip(), OPTIONS[0], drawn=tokens)
        assert part.scores[-1].end == len(completion.text[:5].strip())
        # Of another text it is not exact.
        assert not (await engine.score_drawn(prompt, "something", OPTIONS[0], drawn=tokens)).is_exact
