"""A model's folder as a GGUF file, which llama.cpp reads: GPT-2 and Llama, in float32."""

import json
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from bot.engine.models.model_folder import WEIGHTS_NAME

_GPT2_LAYER: Final = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_GPT2_OUTER: Final = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "ln_f.weight": "output_norm.weight",
    "ln_f.bias": "output_norm.bias",
}
_LLAMA_LAYER: Final = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LLAMA_OUTER: Final = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(folder: Path, target: Path) -> None:
    """Write the model in `folder` to the file `target`. Raises ValueError for what is neither GPT-2 nor Llama."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = config["model_type"]
    if kind not in ("gpt2", "llama"):
        raise ValueError(f"no GGUF is written for models of the type {kind}")
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, kind)
    if kind == "gpt2":
        _add_gpt2_shape(writer, config)
    else:
        _add_llama_shape(writer, config)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokens(writer, folder, config["vocab_size"])
    for name, values in load_file(folder / WEIGHTS_NAME).items():
        renamed = _rename_gpt2(name, values) if kind == "gpt2" else _rename_llama(name, values, config)
        if renamed is not None:
            writer.add_tensor(renamed[0], np.ascontiguousarray(renamed[1], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)


def _add_gpt2_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def _add_llama_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(theta)
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])


def _add_tokens(writer: gguf.GGUFWriter, folder: Path, vocab_size: int) -> None:
    """Write the vocabulary; prompts come as token ids, so how a text is cut does not matter here."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    names = {token_id: token for token, token_id in tokenizer["model"]["vocab"].items()}
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    names |= special
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([names.get(token_id, f"[PAD{token_id}]") for token_id in range(vocab_size)])
    writer.add_token_types(
        [gguf.TokenType.CONTROL if token_id in special else gguf.TokenType.NORMAL for token_id in range(vocab_size)]
    )
    writer.add_token_merges(merges or ["Ġ a"])  # llama.cpp takes no vocabulary without any
    end = max(special, default=vocab_size - 1)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)


def _rename_gpt2(name: str, values: NDArray[np.float32]) -> tuple[str, NDArray[np.float32]] | None:
    name = name.removeprefix("transformer.")
    if name in _GPT2_OUTER:
        return _GPT2_OUTER[name], values
    if not name.startswith("h.") or name.endswith((".attn.bias", ".attn.masked_bias")):
        return None  # causal masks, and the output's copy of the embeddings
    _, layer, rest = name.split(".", 2)
    part, _, kind = rest.rpartition(".")
    # GPT-2 keeps its matrices as (input, output).
    return f"blk.{layer}.{_GPT2_LAYER[part]}.{kind}", values.T if values.ndim == 2 else values


def _rename_llama(
    name: str, values: NDArray[np.float32], config: dict[str, Any]
) -> tuple[str, NDArray[np.float32]] | None:
    if name in _LLAMA_OUTER:
        is_copy = name == "lm_head.weight" and config.get("tie_word_embeddings")
        return None if is_copy else (_LLAMA_OUTER[name], values)
    _, _, layer, rest = name.split(".", 3)
    part = rest.removesuffix(".weight")
    if part == "self_attn.q_proj":
        values = _interleave_halves(values, config["num_attention_heads"])
    elif part == "self_attn.k_proj":
        values = _interleave_halves(values, config["num_key_value_heads"])
    return f"blk.{layer}.{_LLAMA_LAYER[part]}.weight", values


def _interleave_halves(weight: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Lay the rows that rotary embedding turns together side by side, as GGUF has them."""
    rows, columns = weight.shape
    return weight.reshape(num_heads, 2, rows // num_heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
