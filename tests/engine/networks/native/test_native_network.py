"""The native step gives transformers' results, and a sequence's result does not depend on its batch."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from bot.engine.networks.native.native_network import NativeNetwork, supports
from bot.engine.networks.network import Segment
from bot.errors import ModelError
from tests.engine.models.test_supported_models import make_model
from tests.tiny_models import make_tiny_gpt2, make_tiny_llama, make_tiny_llama2

Load = Callable[..., NativeNetwork]
MODELS: dict[str, Callable[[Path], Any]] = {
    "gpt2": make_tiny_gpt2,
    "llama": make_tiny_llama,
    "llama2": make_tiny_llama2,
    "long gpt2": lambda folder: make_tiny_gpt2(folder, context_length=700),
    "long llama": lambda folder: make_tiny_llama(folder, context_length=700),
    "mistral": lambda folder: make_model("mistral", folder),
    "qwen2": lambda folder: make_model("qwen2", folder),
    "qwen3": lambda folder: make_model("qwen3", folder),
}


def draw_ids(network: NativeNetwork, count: int, seed: int = 0) -> list[int]:
    """Return `count` random token ids."""
    return torch.randint(0, network.vocab_size, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def compute_expected(folder: Path, ids: list[int]) -> torch.Tensor:
    """Return transformers' logits after every token, (tokens, vocab)."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits


def read_all(network: NativeNetwork, ids: list[int], cuts: list[int], first_block: int = 0) -> torch.Tensor:
    """Return the logits after every token, read in passes that end at `cuts`."""
    blocks = list(range(first_block + len(ids) // 16, first_block - 1, -1))
    bounds = [0, *cuts, len(ids)]
    parts = [
        network.forward([Segment(ids, start, stop, blocks, stop - start)]).clone()
        for start, stop in itertools.pairwise(bounds)
    ]
    return torch.cat(parts)


def assert_close(got: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_float32_equals_transformers_up_to_the_context_s_end(name: str, tmp_path: Path, load: Load) -> None:
    MODELS[name](tmp_path)
    network = load(tmp_path)
    ids = draw_ids(network, network.context_length)
    expected = compute_expected(tmp_path, ids)
    got = read_all(network, ids, [])
    assert_close(got, expected, 1e-5)
    # Of two tokens that are as likely up to rounding, either is the likeliest.
    chosen = expected.gather(1, got.argmax(-1, keepdim=True))[:, 0]
    assert ((expected.amax(-1) - chosen) <= 2e-5 * expected.abs().max()).all()


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_reduced_precision_stays_close(name: str, precision: str, tmp_path: Path, load: Load) -> None:
    MODELS[name](tmp_path)
    network = load(tmp_path, precision)
    ids = draw_ids(network, 40)
    assert_close(read_all(network, ids, []), compute_expected(tmp_path, ids), 0.08)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", ["long gpt2", "long llama", "qwen3"])
def test_cutting_a_text_into_passes_changes_no_bit(name: str, precision: str, tmp_path: Path, load: Load) -> None:
    MODELS[name](tmp_path)
    network = load(tmp_path, precision)
    ids = draw_ids(network, min(network.context_length, 600))
    whole = read_all(network, ids, [])
    assert torch.equal(read_all(network, ids, [1, 3, 6, 10, 15, 21, 28, 36, 49, len(ids) - 9, len(ids) - 1]), whole)
    assert torch.equal(read_all(load(tmp_path, precision, 1), ids, [33]), whole)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("make", [make_tiny_gpt2, make_tiny_llama])
def test_a_row_does_not_depend_on_its_neighbours(
    make: Callable[..., Path], precision: str, tmp_path: Path, load: Load
) -> None:
    network = load(make(tmp_path, context_length=700), precision)
    lengths = [300, 1, 17, 64, 5, 90, 31, 2, 257, 12, 48, 8, 21, 33]
    texts = [draw_ids(network, length, seed) for seed, length in enumerate(lengths)]
    blocks, taken = [], 0
    for length in lengths:
        blocks.append(list(range(taken, taken + length // 16 + 1)))
        taken = blocks[-1][-1] + 1
    alone = [read_all(network, ids, [], own[0])[-1] for ids, own in zip(texts, blocks, strict=True)]
    # Every other row decodes one token, the rest are read from their start, all in one pass.
    for ids, own in list(zip(texts, blocks, strict=True))[::2]:
        if len(ids) > 1:
            network.forward([Segment(ids, 0, len(ids) - 1, own, 0)])
    together = [
        Segment(ids, len(ids) - 1 if index % 2 == 0 else 0, len(ids), own, 1)
        for index, (ids, own) in enumerate(zip(texts, blocks, strict=True))
    ]
    assert torch.equal(network.forward(together), torch.stack(alone))
    assert torch.equal(network.forward(together), torch.stack(alone))


def test_rows_may_share_blocks_and_copy_them(tmp_path: Path, load: Load) -> None:
    network = load(make_tiny_llama(tmp_path))
    ids = draw_ids(network, 24)
    network.forward([Segment(ids, 0, 24, [0, 1], 0)])
    network.copy_block(1, 2)
    one, other = [*ids, *draw_ids(network, 6, 1)], [*ids, *draw_ids(network, 6, 2)]
    got = network.forward([Segment(one, 24, 30, [0, 1], 6), Segment(other, 24, 30, [0, 2], 6)])
    expected = torch.cat([compute_expected(tmp_path, text)[24:] for text in (one, other)])
    assert_close(got, expected, 1e-5)


def test_only_the_wanted_logits_come_back(tmp_path: Path, load: Load) -> None:
    network = load(make_tiny_gpt2(tmp_path))
    ids = draw_ids(network, 20)
    expected = read_all(network, ids, [])
    nothing = network.forward([Segment(ids, 0, 20, [0, 1], 0)])
    assert nothing.shape == (0, network.vocab_size)
    got = network.forward([Segment(ids, 0, 20, [0, 1], 3), Segment(ids, 0, 9, [2], 0), Segment(ids, 0, 20, [3, 4], 1)])
    assert torch.equal(got, torch.cat([expected[-3:], expected[-1:]]))
    assert network.forward([]).shape == (0, network.vocab_size)


def test_llama3_frequencies_equal_transformers(tmp_path: Path, load: Load) -> None:
    make_tiny_llama(tmp_path, context_length=256)
    config = json.loads((tmp_path / "config.json").read_text())
    config["rope_parameters"] = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    network = load(tmp_path)
    ids = draw_ids(network, 256)
    assert_close(read_all(network, ids, [100]), compute_expected(tmp_path, ids), 1e-5)


def test_weights_in_shards_and_in_16_bits_are_read(tmp_path: Path, load: Load) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_tiny_llama(tmp_path / "whole"), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    network = load(tmp_path / "shards")
    ids = draw_ids(network, 30)
    assert_close(read_all(network, ids, []), compute_expected(tmp_path / "shards", ids), 1e-5)


def test_what_is_not_computed_exactly_is_not_supported(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert supports(folder)
    assert supports(config, precision="int8")
    assert not supports(config, precision="float16")
    assert not supports({**config, "model_type": "gpt_neox"})
    assert not supports({**config, "hidden_act": "gelu"})
    assert not supports({**config, "rope_parameters": {"rope_type": "yarn", "factor": 2.0}})
    assert not supports({"model_type": "gpt2", "activation_function": "relu"})
    assert not supports({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True})


def test_missing_weights_are_named(tmp_path: Path, load: Load) -> None:
    make_tiny_gpt2(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_layer": 3}))
    with pytest.raises(ModelError, match=r"h\.2\.attn\.c_attn\.weight are missing"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 50}))
    with pytest.raises(ModelError, match="wrong size"):
        load(tmp_path)
