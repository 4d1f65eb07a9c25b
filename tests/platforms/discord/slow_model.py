"""A model that loads at once, and is just large enough that a long answer can be watched while it is written."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests import tiny_models


def make_slow_llama(folder: Path) -> Path:
    """Write a Llama of 8 million random weights into `folder`; it never ends an answer by itself."""
    tiny_models.make_tiny_llama(folder, context_length=2048)
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 8, 256, 1024
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 8, 4, 32
    torch.manual_seed(7)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # Next to scores so far apart, 0 for each token that ends an answer is never chosen.
        model.lm_head.weight.mul_(20.0)
        model.lm_head.weight[AutoTokenizer.from_pretrained(folder).all_special_ids] = 0.0
    model.save_pretrained(folder)
    return folder
