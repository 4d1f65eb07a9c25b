"""The start token of plain text: which one is chosen, where that is kept, and what is read after it."""

import io
import json
import math
import os
import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from bot.core.prompt import build_prompt
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.results import StartFigures
from bot.core.sampling_params import SamplingParams
from bot.core.templates.parsing import parse_template
from bot.engine.engine import LocalEngine
from bot.engine.models.pull_progress import ProgressDisplay
from bot.engine.start_token import measuring
from bot.engine.start_token.candidates import find_candidates
from bot.engine.start_token.measuring import choose_start
from bot.engine.start_token.record import RECORD_NAME, read_start_figures, write_start_figures
from tests.tiny_models import make_tiny_llama

START = "<|endoftext|>"
MEASURED = (
    StartFigures("<|im_start|>", 4.4),
    StartFigures("<|im_end|>", 4.5),
    StartFigures(START, 3.9),
    StartFigures(None, 4.3),
)
TEXT = "The cat sat on the"
TEMPLATE = """+++
description = "How does it feel?"
kind = "classify"
labels = ["Positive", "Negative"]
[[examples]]
input = "I love it"
output = "Positive"
+++
$examples
$input ->"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a Llama with BOS <|im_start|> whose record says that <|endoftext|> is better."""
    folder = make_tiny_llama(tmp_path / "model")
    write_start_figures(folder, None, MEASURED)
    return folder


def open_engine(folder: Path, **options: Any) -> AbstractAsyncContextManager[LocalEngine]:
    return LocalEngine.open(folder, name="tiny", device="cpu", num_threads=1, **options)


def logprobs_after(folder: Path, ids: list[int]) -> torch.Tensor:
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return network(torch.tensor([ids])).logits[0].log_softmax(-1)


@pytest.mark.parametrize(
    ("figures", "token"),
    [
        (MEASURED, START),
        ((StartFigures("<s>", 4.0), StartFigures("</s>", 3.995), StartFigures(None, 3.991)), "<s>"),
        ((StartFigures("<s>", 4.0), StartFigures(None, 3.9)), None),
        ((StartFigures("<s>", 9.9), StartFigures("</s>", 9.0), StartFigures(None, 8.2)), "<s>"),
        ((StartFigures("<s>", math.nan), StartFigures(None, math.nan)), "<s>"),
        ((), None),
    ],
    ids=["the best", "as good as the best", "none", "no better than guessing", "no numbers", "nothing measured"],
)
def test_the_token_after_which_text_is_likeliest_is_chosen(
    figures: tuple[StartFigures, ...], token: str | None
) -> None:
    assert choose_start(figures, vocab_size=400) == token


def test_candidates_are_bos_eos_and_the_special_tokens_named_start_or_end_of_text() -> None:
    backend = Tokenizer(models.BPE())
    names = [
        "<pad>",
        "<|im_start|>",
        "<|endoftext|>",
        "<|begin_of_text|>",
        "<file_sep>",
        "<|im_end|>",
        "<｜end▁of▁sentence｜>",
    ]
    backend.add_special_tokens([AddedToken(name, special=True) for name in names])
    backend.add_tokens(["<eos>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>")
    found = tokenizer.convert_ids_to_tokens(list(find_candidates(tokenizer, vocab_size=100)))
    assert found == ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<｜end▁of▁sentence｜>"]
    assert find_candidates(tokenizer, vocab_size=3) == (1, 2), "tokens that the model does not have are none"


async def test_a_model_is_measured_once_and_the_result_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_llama(tmp_path / "model")
    shown = io.StringIO()
    monkeypatch.setattr(measuring, "ProgressDisplay", lambda: ProgressDisplay(shown))
    async with open_engine(folder) as engine:
        assert engine.info.start_token == "<|im_start|>", "a random model keeps its BOS"
        figures = engine.info.start_figures
    assert [one.token for one in figures] == ["<|im_start|>", "<|im_end|>", START, None]
    assert min(one.bits_per_token for one in figures) > math.log2(engine.info.vocab_size)
    assert "Measuring the start token of tiny" in shown.getvalue()
    assert "tiny reads plain text after <|im_start|>: " in shown.getvalue()
    kept = json.loads((folder / RECORD_NAME).read_text())["measured"][0]["figures"]
    assert [StartFigures(**row) for row in kept] == list(figures)
    told = shown.getvalue()
    async with open_engine(folder) as engine:
        assert engine.info.start_figures == figures
    assert shown.getvalue() == told


async def test_the_figures_are_those_of_a_plain_forward_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny_llama(tmp_path / "model")
    passages = tmp_path / "passages.txt"
    passages.write_text(
        f"{TEXT} mat and looked at the other cats.\n\nToo short\n\nOnce upon a time there was a small robot."
    )
    monkeypatch.setattr(measuring, "PASSAGES_FILE", passages)
    async with open_engine(folder) as engine:
        figures = engine.info.start_figures
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for one in figures:
        bits = []
        for text in (passages.read_text().split("\n\n")[0], passages.read_text().split("\n\n")[2]):
            ids = tokenizer(text).input_ids[:24]
            prefix = [] if one.token is None else [tokenizer.convert_tokens_to_ids(one.token)]
            logprobs = logprobs_after(folder, prefix + ids)
            bits += [-float(logprobs[len(prefix) + at, ids[at + 1]]) / math.log(2) for at in range(len(ids) - 1)]
        assert one.bits_per_token == pytest.approx(sum(bits) / len(bits), rel=1e-5)


def test_a_record_is_valid_for_what_it_was_measured_from(folder: Path) -> None:
    assert read_start_figures(folder, None) == MEASURED
    config = folder / "tokenizer_config.json"
    text = config.read_text()
    config.write_text(text.replace("<|im_end|>", START))
    assert read_start_figures(folder, None) is None, "another tokenizer"
    config.write_text(text)
    assert read_start_figures(folder, None) == MEASURED
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert read_start_figures(folder, None) is None, "other weights"


@pytest.mark.parametrize("content", ["", "[]", '{"measured": 3}', '{"measured": [{"figures": [{"token": 3}]}]}'])
async def test_a_damaged_record_is_measured_again(folder: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.engine.start_token.record.RECORD._measured_here", {})
    (folder / RECORD_NAME).write_text(content)
    async with open_engine(folder) as engine:
        assert engine.info.start_token == "<|im_start|>"
    assert read_start_figures(folder, None) == engine.info.start_figures


async def test_a_folder_that_takes_no_file_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny_llama(tmp_path / "model")
    before = {path.name for path in folder.iterdir()}
    async with open_engine(folder, models_dir=tmp_path / "models") as engine:
        figures = engine.info.start_figures
    assert {path.name for path in folder.iterdir()} == before, "it is another program's"
    assert [path.suffix for path in (tmp_path / "models" / "start_token").iterdir()] == [".json"]
    monkeypatch.setattr("bot.engine.start_token.record.RECORD._measured_here", {})
    assert read_start_figures(folder, tmp_path / "models") == figures
    shutil.rmtree(tmp_path / "models")
    (folder / RECORD_NAME).mkdir()  # nobody can write a file of that name, not even root
    assert read_start_figures(folder, None) is None
    async with open_engine(folder) as engine:
        assert engine.info.start_figures == figures
    assert read_start_figures(folder, None) == figures, "the process knows"


async def test_every_plain_text_is_read_after_the_start_token(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer.convert_tokens_to_ids(START), *tokenizer(TEXT).input_ids]
    logprobs = logprobs_after(folder, ids)
    prompt = Prompt.document(TEXT)
    async with open_engine(folder) as engine:
        assert engine.info.start_token == START
        scores = await engine.score(TEXT)
        expected = [float(logprobs[at, ids[at + 1]]) for at in range(len(ids) - 1)]
        assert [score.logprob for score in scores] == pytest.approx(expected, rel=1e-5)
        assert await engine.count_tokens([prompt, Prompt.plain(TEXT)]) == (len(ids), len(ids) - 1)
        best = (await engine.next_tokens(prompt, num=1))[0]
        assert best.probability == pytest.approx(float(logprobs[-1].exp().max()), rel=1e-4)
        params = SamplingParams(max_new_tokens=5, temperature=0.0)
        async with engine.generate(prompt, params) as generation:
            async for _ in generation:
                pass
        (completion,) = generation.completions
        assert completion.token_ids[0] == int(logprobs[-1].argmax())
        assert generation.timings is not None
        assert generation.timings.num_prompt_tokens == len(ids)
        (total,) = await engine.score_continuations(prompt, [" mat"])
        (mat, *others) = tokenizer(" mat").input_ids
        if not others:
            assert total == pytest.approx(float(logprobs[-1, mat]), rel=1e-4)


async def test_templates_and_chat_are_read_as_before(folder: Path, tiny_llama2: Path) -> None:
    template = parse_template(TEMPLATE, name="feeling", source="feeling")
    turns = [ChatTurn("system", "Be brief."), ChatTurn("user", "Who are you?")]
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    prompt = build_prompt(template, "I hate it")
    for model in (folder, tiny_llama2):
        chat_tokenizer = AutoTokenizer.from_pretrained(model)
        async with open_engine(model) as engine:
            loaded = await engine._ask_quick(lambda model: model._loaded)
            found = loaded.tokenizer.encode_prompt(prompt).ids
            assert list(found) == chat_tokenizer(prompt.text).input_ids
            if engine.info.has_chat_template:
                chat = loaded.tokenizer.encode_prompt(await engine.render_chat(turns)).ids
                whole = chat_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                assert list(chat) == chat_tokenizer(whole, add_special_tokens=False).input_ids
