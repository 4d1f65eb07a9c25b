"""The native network: a GPT-2 or Llama model on the CPU whose forward pass is one call into C++."""

import ctypes
from array import array
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from bot.engine.networks.native.building import NativeUnavailable
from bot.engine.networks.native.library import StepConfig, open_library
from bot.engine.networks.native.model_shape import ModelShape, read_shape
from bot.engine.networks.native.row_chooser import use_library
from bot.engine.networks.native.weights import StoredWeights, WeightPacker
from bot.engine.networks.network import BLOCK_TOKENS, Segment
from bot.errors import ModelError

_KINDS: Final[Mapping[str, int]] = {"float32": 0, "bfloat16": 1, "int8": 2}


def supports(source: Path | Mapping[str, Any], *, precision: str = "float32") -> bool:
    """Return whether the native step supports the model in a folder or config in `precision`.

    Raises ModelError if the folder has no readable config.json.
    """
    return precision in _KINDS and read_shape(source) is not None


class NativeNetwork:
    """The weights of one model with its KV cache; see Network. Used by one thread at a time.

    float32 gives the results of transformers, up to rounding. bfloat16 stores the weights in 16 bits and computes in
    float32. int8 stores the weights in 8 bits, with a scale for each output channel and group of 64 inputs, and rounds
    a product's inputs to 16 bits, with a scale for each row and group. Keys and values are float32 with float32
    weights, else 16 bits. In each precision a sequence's result is bit-identical whatever the rest of the batch, the
    chunks of its prefill, and the number of threads.
    """

    def __init__(self, library: Any, step: int, shape: ModelShape, *, precision: str, num_blocks: int) -> None:
        """Take over a step that has its weights; use `load` to make one."""
        self.precision = precision
        self.device = torch.device("cpu")
        self.vocab_size = shape.vocab_size
        self.context_length = shape.context_length
        self.num_blocks = num_blocks
        self._library = library
        self._step: int | None = step
        self._shape = shape
        self._num_layers = shape.num_layers
        self._logits = torch.empty(0)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        precision: str,
        kv_cache_bytes: int,
        num_threads: int,
        cache_folder: Path | None = None,
    ) -> "NativeNetwork":
        """Load the model in `folder`, which has been checked; compile the step first if needed.

        The KV cache uses memory only for blocks that have been written. Raises NativeUnavailable if the step is not
        available here or does not support the model, ModelError if weights are missing, and torch.OutOfMemoryError.
        """
        shape = read_shape(folder)
        if shape is None or precision not in _KINDS:
            raise NativeUnavailable(f"The native step does not support the model in {folder} in {precision}.")
        library = open_library(cache_folder)
        use_library(library, max(1, num_threads))
        has_output_matrix = not shape.is_tied
        has_half_cache = precision != "float32"
        padded_dim = (shape.head_dim + 15) // 16 * 16
        token_bytes = 2 * shape.num_layers * shape.num_kv_heads * padded_dim * (2 if has_half_cache else 4)
        num_blocks = kv_cache_bytes // (token_bytes * BLOCK_TOKENS)
        if num_blocks < 1:
            raise ModelError(f"A KV cache of {kv_cache_bytes:,} bytes can't hold one block of the model in {folder}.")
        config = StepConfig(
            is_gpt2=shape.is_gpt2,
            num_layers=shape.num_layers,
            hidden=shape.hidden,
            num_heads=shape.num_heads,
            num_kv_heads=shape.num_kv_heads,
            head_dim=shape.head_dim,
            intermediate=shape.intermediate,
            vocab_size=shape.vocab_size,
            context_length=shape.context_length,
            kind=_KINDS[precision],
            has_output_matrix=has_output_matrix,
            has_qk_norm=shape.has_qk_norm,
            has_half_cache=has_half_cache,
            num_blocks=num_blocks,
            num_threads=max(1, num_threads),
            epsilon=shape.epsilon,
            attention_scale=shape.head_dim**-0.5,
        )
        step = library.native_create(ctypes.byref(config))
        if not step:
            raise torch.OutOfMemoryError(f"The model in {folder} does not fit into memory.")
        network = cls(library, step, shape, precision=precision, num_blocks=num_blocks)
        try:
            packer = WeightPacker(library, step, StoredWeights(folder), shape)
            packer.pack(has_output_matrix=has_output_matrix)
        except (OSError, ValueError, KeyError) as e:
            network.close()
            raise ModelError(f"The weights in {folder} can't be read: {e}.") from e
        except BaseException:
            network.close()
            raise
        return network

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Read all segments in one pass; see Network.forward. Raises torch.OutOfMemoryError."""
        arrays, logits = self._begin(segments)
        self._library.native_advance(self._step, self._num_layers)
        del arrays  # the step reads from them until here
        return logits

    def forward_by_layers(self, segments: Sequence[Segment]) -> Generator[None, None, torch.Tensor]:
        """Do what `forward` does, one layer per part; its twin may run passes in between."""
        arrays, logits = self._begin(segments)
        while not self._library.native_advance(self._step, 1):
            yield
        del arrays  # the step reads from them until here
        return logits

    def make_twin(self) -> "NativeNetwork":
        """Return a network with the same weights and KV cache, whose passes may run between those parts."""
        twin = self._library.native_create_twin(self._find_step())
        if not twin:
            raise torch.OutOfMemoryError("A second step over the model does not fit into memory.")
        return NativeNetwork(self._library, twin, self._shape, precision=self.precision, num_blocks=self.num_blocks)

    def _begin(self, segments: Sequence[Segment]) -> tuple[object, torch.Tensor]:
        """Plan a pass; return the arrays that must stay in memory until it is done, and the tensor for its logits."""
        facts, ids, blocks = array("i"), array("i"), array("i")
        num_logits = 0
        for segment in segments:
            facts.extend((segment.start, segment.num_tokens, segment.num_logits, len(blocks)))
            ids.extend(segment.ids[segment.start : segment.stop])
            blocks.extend(segment.blocks)
            num_logits += segment.num_logits
        if self._logits.numel() < num_logits * self.vocab_size:
            self._logits = torch.empty(num_logits * self.vocab_size)
        failed = self._library.native_begin(
            self._find_step(),
            len(segments),
            facts.buffer_info()[0],
            ids.buffer_info()[0],
            blocks.buffer_info()[0],
            self._logits.data_ptr(),
        )
        if failed:
            raise torch.OutOfMemoryError("The forward pass does not fit into memory.")
        return (facts, ids, blocks), self._logits[: num_logits * self.vocab_size].view(num_logits, self.vocab_size)

    def _find_step(self) -> int:
        if self._step is None:
            raise RuntimeError("The network was closed.")
        return self._step

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of one KV block, in all layers."""
        self._library.native_copy_block(self._find_step(), source, target)

    def close(self) -> None:
        """Free the memory; call nothing afterwards."""
        if self._step is not None:
            self._library.native_destroy(self._step)
            self._step = None
        self._logits = torch.empty(0)
