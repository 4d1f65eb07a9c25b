"""The sizes in a model's config.json, and whether the native step supports the model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from bot.engine.models.model_folder import read_config

_LLAMA_LIKE: Final = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_GELU_TANH: Final = frozenset({"gelu_new", "gelu_pytorch_tanh"})
# transformers' defaults for keys that config.json lacks.
_DEFAULT_KV_HEADS: Final[Mapping[str, int]] = {"mistral": 8, "qwen2": 32, "qwen3": 32}
_DEFAULT_EPSILON: Final = 1e-6
_ROPE_TYPES: Final = frozenset({"default", "llama3"})


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model, in values; `rope` holds rope_theta and, for llama3, its scaling."""

    model_type: str
    num_layers: int
    hidden: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate: int
    vocab_size: int
    context_length: int
    epsilon: float
    is_tied: bool
    rope: Mapping[str, Any]

    @property
    def is_gpt2(self) -> bool:
        """Return whether the model is a GPT-2; else it is like Llama."""
        return self.model_type == "gpt2"

    @property
    def has_qk_norm(self) -> bool:
        """Return whether queries and keys are normalised per head."""
        return self.model_type == "qwen3"

    def inverse_frequencies(self) -> list[float]:
        """Return the head_dim / 2 frequencies of the rotary position embedding, in radians per token.

        They are rounded in float32 exactly as in transformers: an error in the last bit grows with the position, and
        changes the scores of a long text.
        """
        theta = float(self.rope.get("rope_theta", 10000.0))
        plain = 1.0 / (theta ** (torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim))
        if _rope_type(self.rope) != "llama3":
            return [float(frequency) for frequency in plain]
        return [float(_stretch(frequency, self.rope)) for frequency in plain]


def read_shape(source: Path | Mapping[str, Any]) -> ModelShape | None:
    """Return the shape of the model in a folder or config; None if the native step does not support it.

    Raises ModelError if the folder has no readable config.json.
    """
    config = read_config(source) if isinstance(source, Path) else source
    try:
        shape = _read_gpt2(config) if config.get("model_type") == "gpt2" else _read_llama(config)
    except (KeyError, TypeError, ValueError):
        return None
    if shape is None:
        return None
    sizes = (shape.num_layers, shape.hidden, shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.intermediate)
    is_even = all(size % 2 == 0 for size in (shape.hidden, shape.head_dim, shape.intermediate))
    is_sound = min(sizes) > 0 and shape.num_heads % shape.num_kv_heads == 0 and is_even
    return shape if is_sound and shape.vocab_size > 0 and shape.context_length > 0 else None


def _read_gpt2(config: Mapping[str, Any]) -> ModelShape | None:
    is_plain = (
        config.get("activation_function", "gelu_new") in _GELU_TANH
        and config.get("scale_attn_weights", True)
        and not config.get("scale_attn_by_inverse_layer_idx", False)
        and not config.get("add_cross_attention", False)
    )
    hidden, num_heads = int(config.get("n_embd", 768)), int(config.get("n_head", 12))
    if not is_plain or hidden % num_heads:
        return None
    return ModelShape(
        model_type="gpt2",
        num_layers=int(config.get("n_layer", 12)),
        hidden=hidden,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=hidden // num_heads,
        intermediate=int(config.get("n_inner") or 4 * hidden),
        vocab_size=int(config.get("vocab_size", 50257)),
        context_length=int(config.get("n_positions", 1024)),
        epsilon=float(config.get("layer_norm_epsilon", 1e-5)),
        is_tied=bool(config.get("tie_word_embeddings", True)),
        rope={},
    )


def _read_llama(config: Mapping[str, Any]) -> ModelShape | None:
    model_type = config.get("model_type")
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    is_plain = (
        model_type in _LLAMA_LIKE
        and config.get("hidden_act", "silu") == "silu"
        and _rope_type(rope) in _ROPE_TYPES
        and float(rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))) == 1.0
    )
    if not is_plain:
        return None
    hidden, num_heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    head_dim = config.get("head_dim") or (128 if model_type == "qwen3" else hidden // num_heads)
    return ModelShape(
        model_type=str(model_type),
        num_layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        num_heads=num_heads,
        num_kv_heads=int(config.get("num_key_value_heads") or _DEFAULT_KV_HEADS.get(str(model_type), num_heads)),
        head_dim=int(head_dim),
        intermediate=int(config["intermediate_size"]),
        vocab_size=int(config["vocab_size"]),
        context_length=int(config["max_position_embeddings"]),
        epsilon=float(config.get("rms_norm_eps", _DEFAULT_EPSILON)),
        is_tied=bool(config.get("tie_word_embeddings", False)),
        rope=rope,
    )


def _rope_type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _stretch(frequency: torch.Tensor, rope: Mapping[str, Any]) -> torch.Tensor:
    """Scale one frequency as Llama 3.1 does. Source: transformers, modeling_rope_utils, llama3."""
    factor, old_length = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    wavelength = 2 * math.pi / frequency
    if wavelength < old_length / high:
        return frequency
    if wavelength > old_length / low:
        return frequency / factor
    smooth = (old_length / wavelength - low) / (high - low)
    return (1 - smooth) * frequency / factor + smooth * frequency
