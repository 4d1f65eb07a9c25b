"""The tokens of a prompt, given as text or as ids, are scored as a plain forward pass scores exactly these tokens."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from bot.core.prompt_parts import Prompt, PromptPart
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.errors import PromptTooLong, RequestError

TEXT = "The cat sat on the mat and looked at 日本 😀."


@pytest.fixture(params=["gpt2", "llama2", "openai_gpt"])
async def engine(request: pytest.FixtureRequest, tiny_model: Callable[[str], Path]) -> AsyncIterator[LocalEngine]:
    async with LocalEngine.open(tiny_model(request.param), name=request.param, device="cpu", num_threads=1) as opened:
        yield opened


def plain_logprobs(engine: LocalEngine, ids: list[int]) -> torch.Tensor:
    network = AutoModelForCausalLM.from_pretrained(engine.info.folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return torch.as_tensor(network(torch.tensor([ids])).logits[0].log_softmax(-1))


async def test_token_ids_are_scored_as_they_are_with_the_likeliest_in_their_places(engine: LocalEngine) -> None:
    read = await engine.score_tokens(Prompt.plain(TEXT))
    ids = [one.token_id for one in read]
    prompt, new_ids = Prompt.of_tokens(ids[:-5]), ids[-5:]
    expected = plain_logprobs(engine, ids)
    for _ in range(2):  # the second time much of it is remembered
        scored = await engine.score_tokens(prompt, new_ids, num_likeliest=3)
        assert [one.token_id for one in scored] == ids
        assert scored[0].logprob is None
        assert [one.logprob for one in scored[1:]] == pytest.approx(
            [float(expected[at, token_id]) for at, token_id in enumerate(ids[1:])], rel=1e-4, abs=1e-5
        )
        for at, one in enumerate(scored[1:]):
            assert [likely.logprob for likely in one.likeliest] == pytest.approx(
                expected[at].topk(3).values.tolist(), rel=1e-4, abs=1e-5
            )
        assert await engine.score_tokens(prompt, new_ids, num_likeliest=3, with_prompt=False) == scored[-5:]


async def test_what_the_tokens_add_to_a_text_is_the_text(tiny_gpt2: Path) -> None:
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1) as engine:
        scored = await engine.score_tokens(Prompt.plain(TEXT))
        assert b"".join(one.data for one in scored).decode() == TEXT
        (end,) = await engine.score_tokens(Prompt((PromptPart("<|endoftext|>", is_markup=True),)))
        assert (end.data, end.logprob, end.likeliest) == (b"<|endoftext|>", None, ())


async def test_a_prompt_of_token_ids_is_continued_as_its_text_is(tiny_gpt2: Path) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=6)
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1) as engine:
        read = await engine.score_tokens(Prompt.plain(TEXT))
        texts = []
        for prompt in (Prompt.plain(TEXT), Prompt.of_tokens([one.token_id for one in read])):
            assert await engine.count_tokens([prompt]) == (len(read),)
            async with engine.generate(prompt, params) as generation:
                _ = [delta async for delta in generation]
            texts.append(generation.completions[0].text)
            scored = await engine.score_continuations(prompt, [" the"])
            texts.append(str(scored))
        assert texts[:2] == texts[2:]
        with pytest.raises(PromptTooLong):
            await engine.score_tokens(Prompt.of_tokens([1] * (engine.info.context_length + 1)))
        with pytest.raises(RequestError, match="can't read"):
            await engine.score_tokens(Prompt.of_tokens([1, engine.info.vocab_size]))


def test_a_prompt_is_of_parts_or_of_token_ids() -> None:
    with pytest.raises(ValueError, match="no parts"):
        Prompt((PromptPart("a"),), token_ids=(1,))
