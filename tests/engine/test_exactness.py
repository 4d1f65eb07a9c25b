"""The engine writes what transformers' own generate writes, token for token, in float32."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bot.core.sampling_params import OPTIONS, SamplingParams
from tests.engine.running import Pair, load_pair, run_engine, run_transformers

pytestmark = pytest.mark.usefixtures("way_to_choose")

MODELS = ("gpt2", "llama", "llama2", "openai_gpt")
TEXT = "The cat sat on the mat and the dog"
SAMPLED = {
    "as it is": {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0},
    "defaults": {},
    "top_k alone": {"top_k": 5, "top_p": 1.0, "repetition_penalty": 1.0},
    "top_p alone": {"top_k": 0, "top_p": 0.7, "repetition_penalty": 1.0, "temperature": 1.3},
    "min_p alone": {"top_k": 0, "top_p": 1.0, "min_p": 0.3, "repetition_penalty": 1.0, "temperature": 1.5},
    "min_p of one": {"min_p": 1.0, "repetition_penalty": 1.0},
    "min_p beside the defaults": {"min_p": 0.1},
    "top_k above the vocabulary": {"top_k": 1000, "top_p": 0.99},
    "n-grams": {"no_repeat_ngram_size": 2, "temperature": 0.3},
    "everything": {
        "temperature": 0.6,
        "top_k": 30,
        "top_p": 0.9,
        "min_p": 0.05,
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 3,
    },
    "a low penalty": {"repetition_penalty": 0.8, "top_k": 0},
}


@pytest.fixture(scope="module")
def loaded(tiny_model: Callable[[str], Path]) -> Callable[[str], Pair]:
    pairs: dict[str, Pair] = {}

    def get(name: str) -> Pair:
        if name not in pairs:
            pairs[name] = load_pair(tiny_model(name))
        return pairs[name]

    return get


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.0}, {"no_repeat_ngram_size": 2}])
def test_greedy_is_token_exact(loaded: Callable[[str], Pair], name: str, options: dict[str, Any]) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=40, **options)
    assert run_engine(loaded(name).ours, TEXT, params) == run_transformers(loaded(name), TEXT, params)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("options", SAMPLED.values(), ids=SAMPLED.keys())
def test_seeded_sampling_is_token_exact(
    loaded: Callable[[str], Pair], name: str, n: int, options: dict[str, Any]
) -> None:
    for seed in (1, 2**40 + 7):
        params = SamplingParams(n=n, seed=seed, max_new_tokens=12, **options)
        assert run_engine(loaded(name).ours, TEXT, params) == run_transformers(loaded(name), TEXT, params)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("num_beams", "n"), [(2, 1), (3, 3), (5, 2), (16, 5)])
@pytest.mark.parametrize("options", [{"repetition_penalty": 1.0}, {}, {"no_repeat_ngram_size": 2}])
def test_beams_are_token_exact(
    loaded: Callable[[str], Pair], name: str, num_beams: int, n: int, options: dict[str, Any]
) -> None:
    params = SamplingParams(num_beams=num_beams, n=n, max_new_tokens=12, **options)
    assert run_engine(loaded(name).ours, TEXT, params) == run_transformers(loaded(name), TEXT, params)


@pytest.mark.parametrize("name", [option.name for option in OPTIONS.values() if option.role == "processor"])
def test_beams_honour_every_option_that_is_not_about_drawing(loaded: Callable[[str], Pair], name: str) -> None:
    model, off = loaded("gpt2"), {option.name: option.off for option in OPTIONS.values() if option.role == "processor"}
    plain = SamplingParams(num_beams=4, max_new_tokens=12, **off)
    params = replace(plain, **{name: 2})
    written = run_engine(model.ours, TEXT, params)
    assert written == run_transformers(model, TEXT, params)
    assert written != run_engine(model.ours, TEXT, plain)


def test_continuations_that_end_early_leave_the_others_exact(loaded: Callable[[str], Pair]) -> None:
    model = loaded("gpt2")
    lengths = set()
    for seed in range(6):
        params = SamplingParams(n=5, seed=seed, max_new_tokens=50, temperature=1.5, top_k=0, top_p=1.0)
        written = run_engine(model.ours, TEXT, params)
        assert written == run_transformers(model, TEXT, params)
        lengths |= {len(ids) for ids in written}
    assert len(lengths) > 2  # some did end early


def test_beams_that_end_early_are_exact(tiny_llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    eos_id = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    weights["lm_head.weight"][eos_id] *= 4  # makes the end of the text a likely token
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    pair = load_pair(folder)
    lengths = set()
    for text in ("The cat", "Once upon a time", "Hello there, who", "I hate this", "Can it do that?"):
        params = SamplingParams(num_beams=4, n=4, max_new_tokens=20, repetition_penalty=1.0)
        written = run_engine(pair.ours, text, params)
        assert written == run_transformers(pair, text, params)
        lengths |= {len(ids) for ids in written}
    assert len(lengths) > 1


@pytest.mark.parametrize("options", [{"n": 3, "seed": 8, "top_k": 0}, {"num_beams": 3, "n": 2}])
def test_a_model_with_several_end_tokens_is_exact(tiny_llama: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    config = json.loads((folder / "generation_config.json").read_text())
    ends = [config["eos_token_id"], *range(60, 160)]
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": ends}))
    model = load_pair(folder)
    params = SamplingParams(max_new_tokens=20, **options)
    written = run_engine(model.ours, TEXT, params)
    assert written == run_transformers(model, TEXT, params)
    assert any(len(ids) < 20 for ids in written)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    temperature=st.floats(0.05, 2),
    top_k=st.integers(0, 60),
    top_p=st.floats(0.05, 1),
    min_p=st.just(0.0) | st.floats(0, 1),
    repetition_penalty=st.floats(0.8, 2),
    no_repeat_ngram_size=st.integers(0, 4),
    n=st.integers(1, 4),
    seed=st.integers(0, 2**63 - 1),
    text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
)
def test_any_options_and_any_text_are_token_exact(loaded: Callable[[str], Pair], text: str, **options: Any) -> None:
    params = SamplingParams(max_new_tokens=8, **options)
    assert run_engine(loaded("llama").ours, text, params) == run_transformers(loaded("llama"), text, params)


def test_a_prompt_read_in_chunks_gives_the_same_tokens(
    loaded: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = SamplingParams(seed=5, max_new_tokens=20, n=2)
    whole = run_engine(loaded("llama").ours, TEXT, params)
    monkeypatch.setattr("bot.engine.step_loop.CHUNK_TOKENS", 3)
    monkeypatch.setattr("bot.engine.step_loop.SHORT_TOKENS", 1)
    loaded("llama").ours.writing.cache.forget()
    assert run_engine(loaded("llama").ours, TEXT, params) == whole


def test_an_almost_zero_temperature_is_greedy(loaded: Callable[[str], Pair]) -> None:
    cold = SamplingParams(temperature=1e-40, seed=1, max_new_tokens=10)
    assert run_engine(loaded("gpt2").ours, TEXT, cold) == run_engine(
        loaded("gpt2").ours, TEXT, SamplingParams(temperature=0, max_new_tokens=10)
    )
