"""On a CUDA device the engine still writes what transformers writes there, and scores as on the processor."""

from pathlib import Path

import pytest
import torch

from bot.core.sampling import SamplingParams
from bot.engine.engine import Engine
from bot.engine.loading import load_model
from tests.engine.test_exactness import TEXT, run_engine, run_transformers

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
    model = load_model(tiny_llama, name="tiny", device="cuda", precision="float32", num_threads=None)
    assert run_engine(model, TEXT, params) == run_transformers(model, TEXT, params)


async def test_scores_are_those_of_the_processor(tiny_llama: Path) -> None:
    figures = []
    for device in ("cpu", "cuda"):
        async with Engine.open(tiny_llama, name="tiny", device=device) as engine:
            figures.append([score.logprob for score in await engine.score(TEXT * 10)])
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)
