"""The choices that transformers makes from given logits, with the processors that its generate sets up."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from bot.core.sampling_params import SamplingParams
from bot.engine.sampler.sampler import Chosen
from bot.errors import GenerationError
from tests.engine.running import choosing_options

INF: Final = float("inf")
_CONFIG: Final = GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=8, bos_token_id=0, eos_token_id=0)
_MODEL: Final[Any] = GPT2LMHeadModel(_CONFIG)


class Reference:
    """The choices of one request as transformers' generate makes them: all n rows, every step."""

    def __init__(self, params: SamplingParams) -> None:
        self.params = params
        self.generator = torch.Generator()
        self.generator.manual_seed(params.seed or 0)
        # Whatever option the table has, transformers decides what it means and which comes first.
        config = GenerationConfig(**choosing_options(params))
        self.processors = _MODEL._get_logits_processor(config, input_ids_seq_length=1, device="cpu")

    def choose(self, logits: torch.Tensor, ids: Sequence[Sequence[int]]) -> list[int] | None:
        """Return the tokens of all n rows; None where one has none to choose."""
        scores = self.processors(torch.tensor([list(row) for row in ids]), logits)
        if not self.params.is_sampled:
            return scores.argmax(dim=-1).tolist() if bool((scores.amax(dim=-1) > -INF).all()) else None
        probabilities = scores.softmax(dim=-1)
        if bool(probabilities.isnan().any()):
            return None
        return torch.multinomial(probabilities, 1, generator=self.generator)[:, 0].tolist()


def token_ids(results: Sequence[Chosen | GenerationError]) -> list[int]:
    """Return the tokens of results that all are one."""
    found = []
    for result in results:
        assert isinstance(result, Chosen), result
        found.append(result.token_id)
    return found


def random_logits(seed: int, num_rows: int, vocab_size: int, shape: str) -> torch.Tensor:
    """Return logits (num_rows, vocab_size) of a kind that is hard on one sampler or another."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    logits = torch.randn(num_rows, vocab_size, generator=generator)
    if shape == "peaked":
        return logits * 6
    if shape == "ties":
        return (logits * 4).round() / 2
    if shape == "bfloat16":
        return (logits * 5).bfloat16().float()
    if shape == "impossible":
        return logits.masked_fill(torch.rand(logits.shape, generator=generator) < 0.9, -INF)
    if shape == "equal":
        return torch.zeros_like(logits)
    if shape == "shifted":
        return logits * 3 - 100
    return logits * 2
