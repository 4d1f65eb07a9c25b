"""A tokenizer with tokens that were added without resizing the model: said at load, refused wherever they are read."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.stream import LocalGeneration
from bot.errors import RequestError

PARAMS = SamplingParams(max_new_tokens=3, seed=1)
KNOWN, UNKNOWN = Prompt.plain("The cat sat"), Prompt.plain("The wug sat")


def add_tokens(source: Path, folder: Path, *tokens: "str | AddedToken") -> Path:
    shutil.copytree(source, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(tokens))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return add_tokens(tiny_llama, tmp_path / "model", "wug")


async def finish(generation: LocalGeneration) -> None:
    async with generation:
        async for _ in generation:
            pass


PATHS: dict[str, Callable[[LocalEngine], Awaitable[object]]] = {
    "generate": lambda engine: finish(engine.generate(UNKNOWN, PARAMS)),
    "beams": lambda engine: finish(engine.generate(UNKNOWN, SamplingParams(num_beams=2, max_new_tokens=3))),
    "heal": lambda engine: finish(engine.generate(Prompt.document("The cat and wug"), PARAMS, heal=True)),
    "batch": lambda engine: finish(engine.generate_batch([KNOWN, UNKNOWN], [PARAMS, PARAMS])),
    "score": lambda engine: engine.score("The cat and the wug"),
    "labels": lambda engine: engine.score_continuations(KNOWN, [" mat", " wug", " dog and wug"]),
    "labels after": lambda engine: engine.score_continuations(UNKNOWN, [" mat"]),
    "next words": lambda engine: engine.next_words(UNKNOWN, num=3),
    "next tokens": lambda engine: engine.next_tokens(UNKNOWN, num=3),
}


@pytest.mark.parametrize("path", PATHS)
async def test_a_text_with_an_added_token_is_refused_in_one_sentence(path: str, folder: Path) -> None:
    async with LocalEngine.open(folder, name="tiny", device="cpu", num_threads=1) as engine:
        with pytest.raises(RequestError) as caught:
            await PATHS[path](engine)
        assert str(caught.value) == (
            "The model can't read “wug”: this token was added to its tokenizer, but not to the model. "
            "Leave it out or write it differently."
        )
        assert await engine.count_tokens([UNKNOWN]) != (0,)
        await finish(engine.generate(KNOWN, PARAMS))
        assert (await engine.score("The cat"))[0].logprob is not None


async def test_one_notice_at_load_names_both_sizes(folder: Path, tiny_llama: Path) -> None:
    async with LocalEngine.open(folder, name="tiny", device="cpu", num_threads=1) as engine:
        size = engine.info.vocab_size
        assert engine.info.notices == (
            f"The tokenizer of tiny has {size + 1:,} tokens, but the model only {size:,}: "
            "texts with the added tokens are refused.",
        )
        assert engine.info.has_chat_template
    async with LocalEngine.open(tiny_llama, name="tiny", device="cpu", num_threads=1) as engine:
        assert engine.info.notices == ()


async def test_chat_markup_that_the_model_does_not_have_is_not_used(tiny_gpt2: Path, tmp_path: Path) -> None:
    markers = [AddedToken(name, special=True) for name in ("<|im_start|>", "<|im_end|>")]
    folder = add_tokens(tiny_gpt2, tmp_path / "model", *markers)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    )
    async with LocalEngine.open(folder, name="tiny", device="cpu", num_threads=1) as engine:
        assert not engine.info.has_chat_template, "chat is written as a transcript"
        assert engine.info.start_token == "<|endoftext|>"
        await finish(engine.generate(Prompt.plain("<|im_start|> is only text"), PARAMS))
