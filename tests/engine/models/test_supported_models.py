"""The engine runs every model type that check_model_folder accepts, exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.models.model_folder import SUPPORTED_MODELS
from tests.tiny_models import make_byte_level_tokenizer

TEXT = "The cat sat on the mat and the dog"
GPT: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
LLAMA: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
GROUPED = {**LLAMA, "num_key_value_heads": 1}
FIGURES: dict[str, dict[str, Any]] = {
    "gpt2": GPT,
    "gpt_neox": LLAMA,
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": None},
    "openai-gpt": GPT,
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
}


def make_model(model_type: str, folder: Path) -> Any:
    """Write a model of `model_type` with random weights and a byte-level tokenizer into `folder`, and return it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_byte_level_tokenizer("<|endoftext|>")
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "initializer_range": 0.3}
    size = {"vocab_size": tokenizer.get_vocab_size()}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **FIGURES[model_type], **special, **size))
    model.eval().save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    wrapped.save_pretrained(folder)
    return model


@pytest.mark.parametrize("model_type", SUPPORTED_MODELS)
async def test_a_supported_model_writes_what_transformers_writes(model_type: str, tmp_path: Path) -> None:
    model = make_model(model_type, tmp_path)
    params = SamplingParams(temperature=0, repetition_penalty=1.0, max_new_tokens=20)
    async with LocalEngine.open(tmp_path, name=model_type, device="cpu", num_threads=1) as engine:
        async with engine.generate(Prompt.plain(TEXT), params) as generation:
            async for _ in generation:
                pass
        assert engine.info.model_type == model_type
    ids = torch.tensor([make_byte_level_tokenizer("<|endoftext|>").encode(TEXT).ids])
    written = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)
    expected = [token_id for token_id in written[0, ids.shape[1] :].tolist() if token_id != 0]
    assert [token_id for token_id in generation.completions[0].token_ids if token_id != 0] == expected
    assert len(expected) > 5
