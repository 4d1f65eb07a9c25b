"""On a CUDA device the engine still writes what transformers writes there, and scores as on the processor."""

from pathlib import Path

import pytest
import torch

from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.networks.network import Segment
from bot.engine.sampler.log_sums import log_sums
from tests.engine.networks.test_torch_network import TOLERANCE, WITH_CACHE, Bench, compare_closely, make_model
from tests.engine.running import load_pair, run_engine, run_transformers
from tests.engine.test_exactness import TEXT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0, max_new_tokens=20),
        SamplingParams(seed=5, max_new_tokens=20),
        SamplingParams(n=3, seed=5, max_new_tokens=20),
        SamplingParams(num_beams=3, n=2, max_new_tokens=12),
    ],
)
def test_tokens_are_those_of_transformers(tiny_llama: Path, params: SamplingParams) -> None:
    pair = load_pair(tiny_llama, device="cuda")
    assert run_engine(pair.ours, TEXT, params) == run_transformers(pair, TEXT, params)


async def test_scores_are_those_of_the_processor(tiny_llama: Path) -> None:
    figures = []
    for device in ("cpu", "cuda"):
        async with LocalEngine.open(tiny_llama, name="tiny", device=device) as engine:
            figures.append([score.logprob for score in await engine.score(TEXT * 10)])
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)


@pytest.mark.parametrize("vocab_size", [7, 1000, 2003, 50_257])
def test_a_rows_log_sum_is_the_same_bits_beside_any_rows(vocab_size: int) -> None:
    logits = torch.randn(33, vocab_size, generator=torch.Generator().manual_seed(1)).cuda() * 3
    wanted = log_sums(logits)
    torch.testing.assert_close(wanted.double(), logits.double().logsumexp(dim=-1), rtol=2e-6, atol=2e-6)
    assert torch.equal(torch.cat([log_sums(logits[at : at + 1]) for at in range(33)]), wanted)
    assert torch.equal(log_sums(torch.cat([torch.full_like(logits[:5], float("nan")), logits]))[5:], wanted)
    assert torch.equal(log_sums(logits.repeat_interleave(2, dim=0)[::2]), wanted)


@pytest.mark.parametrize("model_type", WITH_CACHE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_ragged_pass_gives_the_logits_of_the_processor(model_type: str, dtype: torch.dtype) -> None:
    bench = Bench(make_model(model_type, dtype), device="cuda")
    # start, stop, num_logits: decode near and far, few tokens, chunks, a whole prompt, the context's last position
    kinds = [(40, 41, 1), (3, 4, 1), (16, 17, 1), (63, 64, 1), (7, 10, 3), (10, 30, 20), (0, 20, 4), (0, 1, 1)]
    rows = [(*bench.make_row(64, seed=index), *kind) for index, kind in enumerate(kinds)]
    for ids, blocks, start, _, _ in rows:
        if start:
            bench.network.forward([Segment(ids, 0, start, blocks, 0)])
    segments = [Segment(ids, start, stop, blocks, num) for ids, blocks, start, stop, num in rows]
    logits = bench.network.forward(segments).clone()
    exact = Bench(bench.model.float().cpu())
    expected = torch.cat([exact.expect(ids[:stop], num) for ids, _, _, stop, num in rows])
    if dtype == torch.float32:
        torch.testing.assert_close(logits.cpu(), expected, **TOLERANCE)
    else:
        compare_closely(logits.cpu(), expected)
    torch.testing.assert_close(bench.network.forward(segments), logits, atol=0, rtol=0)


def test_a_block_is_copied_on_the_device() -> None:
    bench = Bench(make_model("llama"), device="cuda")
    ids, blocks = bench.make_row(20, seed=1)
    bench.network.forward([Segment(ids, 0, 20, blocks, 0)])
    twin = bench.take_blocks(32)
    for source, target in zip(blocks, twin, strict=True):
        bench.network.copy_block(source, target)
    logits = [bench.network.forward([Segment([*ids, 3], 20, 21, own, 1)]).clone() for own in (blocks, twin)]
    torch.testing.assert_close(logits[0], logits[1], atol=0, rtol=0)


@pytest.mark.parametrize("num_segments", [1, 8])
def test_a_pass_waits_for_the_device_only_at_its_end(num_segments: int) -> None:
    bench = Bench(make_model("llama", torch.bfloat16), device="cuda")
    rows = [bench.make_row(40, seed=seed) for seed in range(num_segments)]
    prompts = [Segment(ids, 0, 30, blocks, 1) for ids, blocks in rows]
    steps = [Segment(ids, 30, 31, blocks, 1) for ids, blocks in rows]
    bench.network.forward(prompts)
    bench.network.forward(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        bench.network.forward(prompts)
        bench.network.forward(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
