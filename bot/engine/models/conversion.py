"""Conversion of a GGUF file to a folder that transformers can load: float32 weights, tokenizer, configuration."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from bot.engine.models.model_folder import WEIGHTS_NAME
from bot.engine.models.pull_progress import ProgressWriter
from bot.errors import ModelError

# GGUF's names for the tensors outside the layers.
_OUTER_NAMES: Final = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes of a Llama model as stored in a GGUF file; the head size is `hidden_size / num_heads`."""

    num_layers: int
    num_heads: int
    num_key_value_heads: int
    hidden_size: int
    intermediate_size: int
    context_length: int
    vocab_size: int
    rope_theta: float
    norm_epsilon: float


def convert_gguf(source: Path, folder: Path, progress: ProgressWriter) -> None:
    """Convert the Llama in the GGUF file `source` into the empty `folder`: float32 safetensors, tokenizer and config.

    Supports only what SmolLM2 needs: the llama architecture without biases, and a GPT-2 style vocabulary with the
    "smollm" pre-tokenizer. Raises ModelError for every other file.
    """
    progress.phase(f"Reading {source.name}")
    try:
        reader = GGUFReader(source)
    except (ValueError, OSError, IndexError, KeyError) as e:
        raise ModelError(f"The file {source} can't be read as GGUF: {e}.") from e
    shape = _read_shape(reader, source)
    _write_tokenizer(reader, folder, shape)
    _write_config(reader, folder, shape)
    progress.phase("Converting the weights", total=len(reader.tensors), unit=" tensors")
    tensors = {}
    for name, values in _read_tensors(reader, shape, source):
        tensors[name] = values
        progress.advance(len(tensors))
    progress.phase("Writing the weights", total=sum(values.nbytes for values in tensors.values()))
    try:
        with progress.watch_growth(folder):
            save_file(tensors, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    except SafetensorError as e:  # only writing can fail here; the error has no errno
        raise ModelError(f"The converted weights can't be written to {folder} (is the disk full?): {e}.") from e
    # safetensors makes the file readable by its owner only; give it the permissions of the files beside it.
    (folder / WEIGHTS_NAME).chmod((folder / "config.json").stat().st_mode)


def _field(reader: GGUFReader, key: str, default: Any = None) -> Any:
    field = reader.get_field(key)
    return default if field is None else field.contents()


def _read_shape(reader: GGUFReader, source: Path) -> LlamaShape:
    found = {key: _field(reader, key) for key in ("general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre")}
    if tuple(found.values()) != ("llama", "gpt2", "smollm"):
        raise ModelError(f"The file {source} is not a SmolLM2 ({', '.join(str(value) for value in found.values())}).")
    # The file stores the epsilon as float32; the shortest decimal that rounds to it is the value used in training.
    return LlamaShape(
        num_layers=int(_field(reader, "llama.block_count")),
        num_heads=int(_field(reader, "llama.attention.head_count")),
        num_key_value_heads=int(_field(reader, "llama.attention.head_count_kv")),
        hidden_size=int(_field(reader, "llama.embedding_length")),
        intermediate_size=int(_field(reader, "llama.feed_forward_length")),
        context_length=int(_field(reader, "llama.context_length")),
        vocab_size=len(_field(reader, "tokenizer.ggml.tokens")),
        rope_theta=float(_field(reader, "llama.rope.freq_base")),
        norm_epsilon=float(str(np.float32(_field(reader, "llama.attention.layer_norm_rms_epsilon")))),
    )


def _read_tensors(reader: GGUFReader, shape: LlamaShape, source: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for tensor in reader.tensors:
        values = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if tensor.name in _OUTER_NAMES:
            yield _OUTER_NAMES[tensor.name], np.ascontiguousarray(values)
            continue
        match tensor.name.split("."):
            case ["blk", layer, part, "weight"] if part in _LAYER_NAMES:
                if part == "attn_q":
                    values = _pair_halves(values, shape.num_heads)
                elif part == "attn_k":
                    values = _pair_halves(values, shape.num_key_value_heads)
                yield f"model.layers.{layer}.{_LAYER_NAMES[part]}.weight", np.ascontiguousarray(values)
            case _:
                raise ModelError(f"The file {source} contains {tensor.name}, which is not part of a SmolLM2.")


def _pair_halves(weight: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Undo GGUF's row order of a query or key projection.

    Rotary embedding rotates pairs of rows of a head: GGUF stores a pair side by side, transformers half a head apart.
    """
    rows, columns = weight.shape  # (num_heads * head_size, hidden_size)
    pairs = weight.reshape(num_heads, rows // num_heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _write_tokenizer(reader: GGUFReader, folder: Path, shape: LlamaShape) -> None:
    tokens: list[str] = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    # "smollm" splits numbers into single digits, then splits as GPT-2 does.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = _field(reader, "tokenizer.ggml.token_type")
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == TokenType.CONTROL
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    names = {role: tokens[_field(reader, f"tokenizer.ggml.{key}_token_id")] for role, key in roles.items()}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": shape.context_length,
            "clean_up_tokenization_spaces": False,
            **names,
            "chat_template": _field(reader, "tokenizer.chat_template"),
        },
    )


def _write_config(reader: GGUFReader, folder: Path, shape: LlamaShape) -> None:
    ids = {
        f"{role}_token_id": int(_field(reader, f"tokenizer.ggml.{key}_token_id"))
        for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    is_tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "head_dim": shape.hidden_size // shape.num_heads,
        "max_position_embeddings": shape.context_length,
        "num_attention_heads": shape.num_heads,
        "num_hidden_layers": shape.num_layers,
        "num_key_value_heads": shape.num_key_value_heads,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": is_tied,
        "vocab_size": shape.vocab_size,
        "dtype": "float32",
        **ids,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", ids)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
