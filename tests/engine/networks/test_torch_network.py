"""A ragged pass over a paged KV cache gives each sequence the logits of a plain transformers forward pass."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bot.engine.models.model_folder import SUPPORTED_MODELS
from bot.engine.networks import paged_attention
from bot.engine.networks.network import BLOCK_TOKENS, Segment
from bot.engine.networks.torch_network import CachelessNetwork, TorchNetwork, load_torch_network
from bot.errors import ModelError
from tests.engine.models.test_supported_models import FIGURES

VOCAB_SIZE = 120
CONTEXT_LENGTH = 64
WITH_CACHE = [model_type for model_type in SUPPORTED_MODELS if model_type != "openai-gpt"]
TOLERANCE = {"atol": 2e-5, "rtol": 1e-5}


def make_model(model_type: str, dtype: torch.dtype = torch.float32) -> Any:
    """Return a tiny model of `model_type` with random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    figures = {**FIGURES[model_type], "vocab_size": VOCAB_SIZE, "initializer_range": 0.3, "pad_token_id": 0}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **figures), dtype=dtype).eval()


class Bench:
    """A network under test, and the original model."""

    def __init__(self, model: Any, device: str = "cpu") -> None:
        self.model = model.to(device)
        precision = str(model.dtype).removeprefix("torch.")
        self.network = TorchNetwork(copy.deepcopy(self.model), precision=precision, kv_cache_bytes=0)
        self._free = list(range(self.network.num_blocks))
        random.Random(0).shuffle(self._free)
        # Whatever lies in memory that was never written must not matter.
        self.network._pool.fill_(torch.nan)

    def make_row(self, length: int, seed: int) -> tuple[list[int], list[int]]:
        """Return the tokens and the blocks of a new row."""
        ids = [random.Random(seed).randrange(VOCAB_SIZE) for _ in range(length)]
        return ids, self.take_blocks(length)

    def take_blocks(self, num_tokens: int) -> list[int]:
        """Return blocks that no row has."""
        return [self._free.pop() for _ in range(-(-num_tokens // BLOCK_TOKENS))]

    def expect(self, ids: list[int], num_logits: int = 1) -> torch.Tensor:
        """Return the logits after the last `num_logits` of `ids`, as transformers calculates them."""
        with torch.no_grad():
            logits: torch.Tensor = self.model(torch.tensor([ids], device=self.model.device)).logits[0].float()
        return logits[len(ids) - num_logits :]


@pytest.mark.parametrize("model_type", WITH_CACHE)
@pytest.mark.parametrize("num_logits", [0, 1, 5, 23])
def test_a_prompt_gets_the_logits_of_transformers(model_type: str, num_logits: int) -> None:
    bench = Bench(make_model(model_type))
    ids, blocks = bench.make_row(23, seed=1)
    logits = bench.network.forward([Segment(ids, 0, 23, blocks, num_logits)])
    assert logits.shape == (num_logits, VOCAB_SIZE)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, bench.expect(ids, num_logits), **TOLERANCE)


@pytest.mark.parametrize("model_type", WITH_CACHE)
@pytest.mark.parametrize("chunk", [1, 3, 16, 21])
def test_a_prompt_in_chunks_gets_the_same_logits(model_type: str, chunk: int) -> None:
    bench = Bench(make_model(model_type))
    ids, blocks = bench.make_row(CONTEXT_LENGTH, seed=2)
    parts = [
        bench.network.forward([Segment(ids, start, stop, blocks, stop - start)])
        for start in range(0, CONTEXT_LENGTH, chunk)
        for stop in [min(start + chunk, CONTEXT_LENGTH)]
    ]
    torch.testing.assert_close(torch.cat(parts), bench.expect(ids, CONTEXT_LENGTH), **TOLERANCE)


@pytest.mark.parametrize("model_type", WITH_CACHE)
def test_rows_of_all_kinds_share_one_pass(model_type: str) -> None:
    bench = Bench(make_model(model_type))
    # start, stop, num_logits: decode near and far, few tokens, chunks, whole prompts, the context's last position
    kinds = [(40, 41, 1), (0, 20, 1), (3, 4, 1), (15, 16, 1), (16, 17, 1), (63, 64, 1), (7, 10, 3), (0, 1, 1)]
    kinds += [(30, 39, 9), (8, 17, 1)]
    kinds += [(10, 30, 0), (20, 40, 20), (33, 53, 2), (0, 20, 20), (0, 9, 4), (50, 64, 14), (0, 64, 1), (0, 3, 0)]
    rows = [(*bench.make_row(CONTEXT_LENGTH, seed=index), *kind) for index, kind in enumerate(kinds)]
    for ids, blocks, start, _, _ in rows:
        if start:
            bench.network.forward([Segment(ids, 0, start, blocks, 0)])
    segments = [Segment(ids, start, stop, blocks, num) for ids, blocks, start, stop, num in rows]
    logits = bench.network.forward(segments)
    expected = torch.cat([bench.expect(ids[:stop], num) for ids, _, _, stop, num in rows])
    torch.testing.assert_close(logits, expected, **TOLERANCE)

    again = bench.network.forward(segments)
    torch.testing.assert_close(again, logits, atol=0, rtol=0)
    alone = torch.cat([bench.network.forward([segment]) for segment in segments])
    torch.testing.assert_close(alone, logits, **TOLERANCE)


def test_rows_of_very_different_lengths_decode_together() -> None:
    bench = Bench(make_model("llama"))
    rows = [bench.make_row(length, seed=length) for length in (2, 60, 9, 31, 17, 33, 5, 64)]
    for ids, blocks in rows:
        bench.network.forward([Segment(ids, 0, len(ids) - 1, blocks, 0)])
    logits = bench.network.forward([Segment(ids, len(ids) - 1, len(ids), blocks, 1) for ids, blocks in rows])
    torch.testing.assert_close(logits, torch.cat([bench.expect(ids) for ids, _ in rows]), **TOLERANCE)


@pytest.mark.parametrize("num_tokens", [1, 8, 9])
def test_many_rows_are_read_in_groups_of_bounded_size(num_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paged_attention, "_MAX_SCORES_PER_HEAD", 100)
    monkeypatch.setattr(paged_attention, "_MAX_GATHERED_TOKENS", 100)
    bench = Bench(make_model("llama"))
    rows = [bench.make_row(length, seed=length) for length in (20, 60, 29, 31, 17, 33, 35, 64)]
    for ids, blocks in rows:
        bench.network.forward([Segment(ids, 0, len(ids) - num_tokens, blocks, 0)])
    logits = bench.network.forward([Segment(ids, len(ids) - num_tokens, len(ids), blocks, 1) for ids, blocks in rows])
    torch.testing.assert_close(logits, torch.cat([bench.expect(ids) for ids, _ in rows]), **TOLERANCE)


def test_rows_share_the_blocks_of_what_they_have_in_common() -> None:
    bench = Bench(make_model("llama"))
    shared, blocks = bench.make_row(2 * BLOCK_TOKENS, seed=1)
    bench.network.forward([Segment(shared, 0, len(shared), blocks, 0)])
    rows = [(shared + [token] * 7, blocks + bench.take_blocks(7)) for token in (5, 6, 7)]
    logits = bench.network.forward([Segment(ids, len(shared), len(ids), own, 7) for ids, own in rows])
    torch.testing.assert_close(logits, torch.cat([bench.expect(ids, 7) for ids, _ in rows]), **TOLERANCE)


def test_a_copied_block_serves_a_row_of_its_own() -> None:
    bench = Bench(make_model("gpt2"))
    ids, blocks = bench.make_row(20, seed=1)
    bench.network.forward([Segment(ids, 0, 20, blocks, 0)])
    twin = [blocks[0], *bench.take_blocks(4)]
    bench.network.copy_block(blocks[1], twin[1])
    rows = [([*ids, 3], blocks), ([*ids, 4], twin)]
    logits = bench.network.forward([Segment(row, 20, 21, own, 1) for row, own in rows])
    torch.testing.assert_close(logits, torch.cat([bench.expect(row) for row, _ in rows]), **TOLERANCE)


def test_a_block_of_a_row_that_went_wrong_can_be_used_again() -> None:
    bench = Bench(make_model("llama"))
    ids, blocks = bench.make_row(40, seed=1)
    bench.network.forward([Segment(ids, 0, 40, blocks, 0)])
    bench.network._pool[:, :, blocks] = torch.nan
    logits = bench.network.forward([Segment(ids, 0, 18, blocks, 1)])
    torch.testing.assert_close(logits, bench.expect(ids[:18]), **TOLERANCE)
    logits = bench.network.forward([Segment(ids, 18, 19, blocks, 1)])
    torch.testing.assert_close(logits, bench.expect(ids[:19]), **TOLERANCE)


@pytest.mark.parametrize("model_type", WITH_CACHE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(model_type: str, dtype: torch.dtype) -> None:
    bench = Bench(make_model(model_type, dtype))
    rows = [bench.make_row(30, seed=seed) for seed in (1, 2)]
    first = bench.network.forward([Segment(ids, 0, 26, blocks, 26) for ids, blocks in rows])
    then = [
        bench.network.forward([Segment(ids, at, at + 1, blocks, 1) for ids, blocks in rows]) for at in range(26, 30)
    ]
    exact = Bench(bench.model.float())
    expected = [exact.expect(ids, 30) for ids, _ in rows]
    compare_closely(first, torch.cat([logits[:26] for logits in expected]))
    compare_closely(torch.cat(then), torch.stack(expected, dim=1)[26:].flatten(0, 1))


def compare_closely(logits: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare what half precision can keep: the deviation from `expected` is small against its spread."""
    assert logits.dtype == torch.float32
    assert float((logits - expected).std() / expected.std()) < 0.05


def test_the_cache_holds_a_whole_context_and_more_however_little_was_asked_for() -> None:
    small = Bench(make_model("llama")).network
    assert small.num_blocks >= (CONTEXT_LENGTH + 8 * 512) // BLOCK_TOKENS
    num_bytes = 2 * 2 * 8 * 4 * 1_000_000  # layers, keys and values, head_dim, bytes of a float, tokens
    large = TorchNetwork(make_model("llama"), precision="float32", kv_cache_bytes=num_bytes)
    assert large.num_blocks == 1_000_000 // BLOCK_TOKENS
    assert (large.vocab_size, large.context_length, large.device.type) == (VOCAB_SIZE, CONTEXT_LENGTH, "cpu")
    large.close()


def test_a_model_without_a_cache_reads_each_row_again() -> None:
    model = make_model("openai-gpt")
    network = CachelessNetwork(copy.deepcopy(model), precision="float32")
    rows = [[random.Random(seed).randrange(VOCAB_SIZE) for _ in range(CONTEXT_LENGTH)] for seed in range(3)]
    kinds = [(0, 0, 9, 2), (1, 8, 9, 1), (0, 8, 9, 1), (2, 0, 20, 0), (2, 63, 64, 1), (1, 0, 5, 5)]
    logits = network.forward([Segment(rows[row], start, stop, [], num) for row, start, stop, num in kinds])
    with torch.no_grad():
        expected = [model(torch.tensor([rows[row][:stop]])).logits[0, stop - num :] for row, _, stop, num in kinds]
    torch.testing.assert_close(logits, torch.cat(expected), **TOLERANCE)
    network.copy_block(0, 1)
    assert network.forward([Segment(rows[0], 0, 9, [], 0)]).shape == (0, VOCAB_SIZE)
    network.close()


@pytest.mark.parametrize("model_type", SUPPORTED_MODELS)
def test_a_folder_is_loaded_as_the_network_that_its_model_needs(model_type: str, tmp_path: Path) -> None:
    model = make_model(model_type)
    model.save_pretrained(tmp_path)
    network = load_torch_network(tmp_path, device=torch.device("cpu"), dtype=torch.float32, kv_cache_bytes=0)
    assert isinstance(network, CachelessNetwork if model_type == "openai-gpt" else TorchNetwork)
    assert network.precision == "float32"
    assert network.num_parameters == sum(weight.numel() for weight in model.parameters())
    logits = network.forward([Segment([7, 8, 9], 0, 3, [5], 3)])
    with torch.no_grad():
        torch.testing.assert_close(logits, model(torch.tensor([[7, 8, 9]])).logits[0], **TOLERANCE)


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    model = make_model("llama")
    state = {name: weight for name, weight in model.state_dict().items() if "layers.1" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ModelError, match=r"is incomplete: \d+ of its weights are missing"):
        load_torch_network(tmp_path, device=torch.device("cpu"), dtype=torch.float32, kv_cache_bytes=0)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't be loaded"):
        load_torch_network(tmp_path, device=torch.device("cpu"), dtype=torch.float32, kv_cache_bytes=0)
