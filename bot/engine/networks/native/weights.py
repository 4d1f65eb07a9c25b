"""Packing of a model's weights: from its safetensors files into the native step's layout, piece by piece."""

import ctypes
import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open

from bot.engine.models.model_folder import INDEX_NAME, WEIGHTS_NAME
from bot.engine.networks.native.model_shape import ModelShape

_EMBEDDING, _OUTPUT, _QKV, _OUT, _UP, _DOWN = range(6)
_POSITIONS, _FREQUENCIES, _FINAL_NORM, _FINAL_NORM_BIAS = range(4)
_NORM1, _NORM1_BIAS, _NORM2, _NORM2_BIAS, _Q_NORM, _K_NORM = range(4, 10)
# Rows of a large matrix that are in memory as float32 at one time, besides the packed form.
_ROWS_AT_ONCE: Final = 4096


class StoredWeights:
    """The tensors in a model's folder by name, read as float32.

    Each read maps the file and unmaps it at once, as a mapped file would count as used memory.
    """

    def __init__(self, folder: Path) -> None:
        """Read which file holds which tensor. Raises OSError or ValueError for a damaged folder."""
        single = folder / WEIGHTS_NAME
        self._files: dict[str, Path] = {}
        if single.exists():
            with safe_open(single, framework="pt") as opened:
                self._files = dict.fromkeys(opened.keys(), single)
        else:
            index = json.loads((folder / INDEX_NAME).read_bytes())
            self._files = {name: folder / Path(file).name for name, file in index["weight_map"].items()}

    def __contains__(self, name: str) -> bool:
        """Return whether there is a tensor `name`."""
        return name in self._files

    def read(self, name: str, begin: int | None = None, end: int | None = None) -> torch.Tensor:
        """Return the rows begin … end-1 of a tensor (all without bounds). Raises ValueError if it is missing."""
        if name not in self._files:
            raise ValueError(f"the weights {name} are missing")
        with safe_open(self._files[name], framework="pt") as opened:
            found: torch.Tensor = opened.get_slice(name)[begin:end]
            return torch.empty(found.shape, dtype=torch.float32).copy_(found)

    def count_rows(self, name: str) -> int:
        """Return the size of a tensor's first dimension. Raises ValueError if it is missing."""
        if name not in self._files:
            raise ValueError(f"the weights {name} are missing")
        with safe_open(self._files[name], framework="pt") as opened:
            return int(opened.get_slice(name).get_shape()[0])


class WeightPacker:
    """Packs a model's tensors into a native step."""

    def __init__(self, library: Any, step: int, stored: StoredWeights, shape: ModelShape) -> None:
        self._library, self._step, self._stored, self._shape = library, step, stored, shape

    def pack(self, *, has_output_matrix: bool) -> None:
        """Pack everything. Raises ValueError if a tensor is missing or has the wrong size."""
        if self._shape.is_gpt2:
            self._pack_gpt2()
        else:
            self._pack_llama()
        if has_output_matrix:
            self._pack_linear("lm_head", 0, _OUTPUT, 0, self._shape.vocab_size, self._shape.hidden)

    def _pack_gpt2(self) -> None:
        shape, prefix = self._shape, "transformer." if "transformer.wte.weight" in self._stored else ""
        hidden = shape.hidden
        self._pack_linear(f"{prefix}wte", 0, _EMBEDDING, 0, shape.vocab_size, hidden)
        self._set_vector(f"{prefix}wpe.weight", 0, _POSITIONS, shape.context_length * hidden)
        self._set_vector(f"{prefix}ln_f.weight", 0, _FINAL_NORM, hidden)
        self._set_vector(f"{prefix}ln_f.bias", 0, _FINAL_NORM_BIAS, hidden)
        for layer in range(shape.num_layers):
            name = f"{prefix}h.{layer}"
            self._pack_conv(f"{name}.attn.c_attn", layer, _QKV, 3 * hidden, hidden)
            self._pack_conv(f"{name}.attn.c_proj", layer, _OUT, hidden, hidden)
            self._pack_conv(f"{name}.mlp.c_fc", layer, _UP, shape.intermediate, hidden)
            self._pack_conv(f"{name}.mlp.c_proj", layer, _DOWN, hidden, shape.intermediate)
            for norm, which, which_bias in (("ln_1", _NORM1, _NORM1_BIAS), ("ln_2", _NORM2, _NORM2_BIAS)):
                self._set_vector(f"{name}.{norm}.weight", layer, which, hidden)
                self._set_vector(f"{name}.{norm}.bias", layer, which_bias, hidden)

    def _pack_llama(self) -> None:
        shape = self._shape
        hidden, kv_size = shape.hidden, shape.num_kv_heads * shape.head_dim
        q_size = shape.num_heads * shape.head_dim
        self._pack_linear("model.embed_tokens", 0, _EMBEDDING, 0, shape.vocab_size, hidden)
        self._set_vector("model.norm.weight", 0, _FINAL_NORM, hidden)
        self._write(0, _FREQUENCIES, torch.tensor(shape.inverse_frequencies(), dtype=torch.float32))
        for layer in range(shape.num_layers):
            name = f"model.layers.{layer}"
            self._pack_linear(f"{name}.self_attn.q_proj", layer, _QKV, 0, q_size, hidden)
            self._pack_linear(f"{name}.self_attn.k_proj", layer, _QKV, q_size, kv_size, hidden)
            self._pack_linear(f"{name}.self_attn.v_proj", layer, _QKV, q_size + kv_size, kv_size, hidden)
            self._pack_linear(f"{name}.self_attn.o_proj", layer, _OUT, 0, hidden, q_size)
            self._pack_linear(f"{name}.mlp.gate_proj", layer, _UP, 0, shape.intermediate, hidden, turn=1)
            self._pack_linear(f"{name}.mlp.up_proj", layer, _UP, 0, shape.intermediate, hidden, turn=2)
            self._pack_linear(f"{name}.mlp.down_proj", layer, _DOWN, 0, hidden, shape.intermediate)
            self._set_vector(f"{name}.input_layernorm.weight", layer, _NORM1, hidden)
            self._set_vector(f"{name}.post_attention_layernorm.weight", layer, _NORM2, hidden)
            if shape.has_qk_norm:
                self._set_vector(f"{name}.self_attn.q_norm.weight", layer, _Q_NORM, shape.head_dim)
                self._set_vector(f"{name}.self_attn.k_norm.weight", layer, _K_NORM, shape.head_dim)

    def _pack_linear(
        self, name: str, layer: int, which: int, first: int, num_outputs: int, num_inputs: int, *, turn: int = 0
    ) -> None:
        """Pack a matrix stored as (outputs, inputs), and its bias if there is one, from channel `first` on."""
        if self._stored.count_rows(f"{name}.weight") != num_outputs:
            raise ValueError(f"the weights {name} have the wrong size")
        for begin in range(0, num_outputs, _ROWS_AT_ONCE):
            rows = self._stored.read(f"{name}.weight", begin, min(begin + _ROWS_AT_ONCE, num_outputs))
            _check_size(name, rows, rows.shape[0] * num_inputs)
            self._library.native_pack(
                self._step, layer, which, turn, first + begin, rows.shape[0], rows.data_ptr(), num_inputs, 1
            )
        self._pack_bias(name, layer, which, first, num_outputs, turn)

    def _pack_conv(self, name: str, layer: int, which: int, num_outputs: int, num_inputs: int) -> None:
        """Pack a matrix stored as (inputs, outputs), as in GPT-2."""
        stored = self._stored.read(f"{name}.weight")
        _check_size(name, stored, num_outputs * num_inputs)
        self._library.native_pack(self._step, layer, which, 0, 0, num_outputs, stored.data_ptr(), 1, num_outputs)
        self._pack_bias(name, layer, which, 0, num_outputs, 0)

    def _pack_bias(self, name: str, layer: int, which: int, first: int, num_outputs: int, turn: int) -> None:
        if f"{name}.bias" in self._stored:
            bias = self._stored.read(f"{name}.bias")
            _check_size(f"{name}.bias", bias, num_outputs)
            self._library.native_pack_bias(self._step, layer, which, turn, first, num_outputs, bias.data_ptr())

    def _set_vector(self, name: str, layer: int, which: int, size: int) -> None:
        found = self._stored.read(name)
        _check_size(name, found, size)
        self._write(layer, which, found)

    def _write(self, layer: int, which: int, values: torch.Tensor) -> None:
        place = self._library.native_vector(self._step, layer, which)
        ctypes.memmove(place, values.data_ptr(), values.numel() * values.element_size())


def _check_size(name: str, found: torch.Tensor, size: int) -> None:
    if found.numel() != size:
        raise ValueError(f"the weights {name} have {found.numel()} values instead of {size}")
