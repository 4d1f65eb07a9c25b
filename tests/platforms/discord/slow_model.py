"""A model that loads at once, and is just large enough that a long answer can be watched while it is written."""

import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests import tiny_models

# Of one layer of the larger model below: its attention and its three matrices.
_WEIGHTS_PER_LAYER = 2 * 512 * 512 + 2 * 512 * 256 + 3 * 512 * 1536


def _seconds_per_weight() -> float:
    """Return how many seconds of a processor one weight takes on this machine, as a token of an answer reads it.

    Of a processor, not of the clock: measured beside other tests the model would be small, and too fast once they end.
    """
    torch.set_num_threads(1)  # as the programs have it
    weights, row = torch.zeros(4096, 4096), torch.zeros(4096)
    times = []
    for _ in range(9):
        begun = time.thread_time()
        torch.mv(weights, row)
        times.append(time.thread_time() - begun)
    return min(times) / weights.numel()


def make_slow_llama(folder: Path, *, takes_s: float | None = None) -> Path:
    """Write a Llama of random weights into `folder`; it never ends an answer by itself.

    It has 8 million weights, or as many as make an answer of 512 tokens take about `takes_s` on this machine.
    """
    tiny_models.make_tiny_llama(folder, context_length=2048)
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 8, 256, 1024
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 8, 4, 32
    if takes_s is not None:
        num_weights = takes_s / 512 / _seconds_per_weight()
        config.num_hidden_layers = min(40, max(3, round(num_weights / _WEIGHTS_PER_LAYER)))
        config.hidden_size, config.intermediate_size, config.head_dim = 512, 1536, 64
    torch.manual_seed(7)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # Next to scores so far apart, 0 for each token that ends an answer is never chosen.
        model.lm_head.weight.mul_(20.0)
        model.lm_head.weight[AutoTokenizer.from_pretrained(folder).all_special_ids] = 0.0
    model.save_pretrained(folder)
    return folder
