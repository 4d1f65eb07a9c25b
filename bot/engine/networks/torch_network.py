"""The torch network: a transformers model on any device, with a paged KV cache or without a cache."""

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final, Self, cast

# Set before the import of transformers: without a working network its hub look-ups can hang forever.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM
from transformers.activations import NewGELUActivation
from transformers.modeling_utils import AttentionInterface
from transformers.pytorch_utils import Conv1D

from bot.engine.networks.network import BLOCK_TOKENS, Segment
from bot.engine.networks.paged_attention import PagedPass, attend_paged, count_blocks
from bot.errors import ModelError

_ATTENTION: Final = "fewshot_paged"  # an unknown name, for which transformers builds no mask
_PRECISIONS: Final = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
# oneDNN optimises a packed weight for about this many rows; measured to be fast for one row and for hundreds too.
_PACKED_ROWS: Final = 8
_MIN_CACHED_TOKENS: Final = 8 * 512  # in addition to one full context
_CACHELESS_BLOCKS: Final = 65_536  # they use no memory
_CACHELESS_TOKENS: Final = 4096  # in one forward pass without a cache


def load_torch_network(
    folder: Path, *, device: torch.device, dtype: torch.dtype, kv_cache_bytes: int
) -> "TorchNetwork | CachelessNetwork":
    """Load the weights in `folder`, held as `dtype` on `device`, with `kv_cache_bytes` of KV cache.

    Raises ModelError, in one sentence, if that fails.
    """
    torch.set_float32_matmul_precision("highest")  # no TF32, so that scores agree between devices
    torch.backends.cudnn.allow_tf32 = False
    try:
        return _load(folder, device, dtype, kv_cache_bytes)
    except ModelError:
        raise
    except torch.OutOfMemoryError as e:
        raise ModelError(
            f"The model in {folder} does not fit into the memory of {device}; use a smaller model or another DEVICE."
        ) from e
    except MemoryError as e:
        raise ModelError(f"The model in {folder} does not fit into memory; use a smaller model.") from e
    except Exception as e:
        first_line = (str(e).strip().splitlines() or [type(e).__name__])[0]
        raise ModelError(f"The model in {folder} can't be loaded: {first_line}") from e


def _load(
    folder: Path, device: torch.device, dtype: torch.dtype, kv_cache_bytes: int
) -> "TorchNetwork | CachelessNetwork":
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
    )
    broken = [*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]
    if broken:
        raise ModelError(f"The model in {folder} is incomplete: {len(broken)} of its weights are missing.")
    if not _find_context_length(model.config):
        raise ModelError(f"The model in {folder} does not give its context length in config.json.")
    model = model.eval().requires_grad_(False).to(device)
    if model.config.model_type == "openai-gpt":
        return CachelessNetwork(model, precision=_PRECISIONS[dtype])
    return TorchNetwork(model, precision=_PRECISIONS[dtype], kv_cache_bytes=kv_cache_bytes)


class TorchNetwork:
    """A transformers model with a paged KV cache; see Network.

    It owns `model`: it replaces the attention, and on a CPU packs the matrices, so transformers' `generate` no longer
    works with it. On a CPU the KV cache is float32 whatever the precision of the weights.
    """

    def __init__(self, model: Any, *, precision: str, kv_cache_bytes: int) -> None:
        """Take over a loaded causal language model in evaluation mode. Raises torch.OutOfMemoryError."""
        self.precision = precision
        self.device: torch.device = model.device
        self.model = model
        self.num_parameters = _count_parameters(model)
        self.vocab_size = int(model.get_output_embeddings().weight.shape[0])
        self.context_length = _find_context_length(model.config)
        config = model.config
        num_heads = int(config.num_attention_heads)
        num_kv_heads = int(getattr(config, "num_key_value_heads", None) or num_heads)
        head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // num_heads)
        dtype = torch.float32 if self.device.type == "cpu" else model.dtype
        layer_bytes = 2 * num_kv_heads * BLOCK_TOKENS * head_dim * dtype.itemsize
        needed = count_blocks(self.context_length) + count_blocks(_MIN_CACHED_TOKENS)
        num_layers = int(config.num_hidden_layers)
        self.num_blocks = max(needed, kv_cache_bytes // (layer_bytes * num_layers))
        # On a CPU, untouched memory pages cost nothing.
        shape = (num_layers, 2, self.num_blocks, num_kv_heads, BLOCK_TOKENS, head_dim)
        self._pool = torch.empty(shape, dtype=dtype, device=self.device)
        self._num_heads = num_heads
        _prepare(model)
        model.set_attn_implementation(_ATTENTION)
        self._base = model.base_model
        self._embed = model.get_input_embeddings()
        self._head = model.get_output_embeddings()

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Read all segments in one pass; see Network.forward."""
        with torch.inference_mode():
            batch = PagedPass(segments, self._pool, self._num_heads)
            # Not input_ids: transformers would check them for padding, which makes a GPU wait.
            hidden = self._base(
                inputs_embeds=self._embed(batch.ids)[None],
                position_ids=batch.positions[None],
                use_cache=False,
                paged=batch,
            ).last_hidden_state[0]  # (T, hidden)
            if not len(batch.wanted):
                return torch.empty((0, self.vocab_size), device=self.device)
            return cast(torch.Tensor, self._head(hidden.index_select(0, batch.wanted)).float())

    def forward_by_layers(self, segments: Sequence[Segment]) -> Generator[None, None, torch.Tensor]:
        """Do what `forward` does, in one part."""
        yield from ()
        return self.forward(segments)

    def make_twin(self) -> Self:
        """Return itself, as its passes have one part."""
        return self

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of one KV block, in all layers."""
        with torch.inference_mode():
            self._pool[:, :, target] = self._pool[:, :, source]

    def close(self) -> None:
        """Free the memory; call nothing afterwards."""
        del self.model, self._base, self._embed, self._head, self._pool


AttentionInterface.register(_ATTENTION, attend_paged)


def _find_context_length(config: Any) -> int:
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return int(length or 0)


def _count_parameters(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters())


class _PackedLinear(torch.nn.Module):
    """x @ weight.T + bias with the weight in oneDNN's layout: up to three times as fast for a few rows."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Pack the weight (out, in)."""
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_ROWS)
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (…, out) for `x` (…, in)."""
        return cast(torch.Tensor, torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], ""))


def _prepare(model: Any) -> None:
    """Replace parts of `model` by faster equivalents."""
    is_packing = model.device.type == "cpu" and _can_pack(model.dtype)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, torch.nn.GELU(approximate="tanh"))  # one pass over memory, not eight
            elif is_packing and isinstance(child, torch.nn.Linear):
                setattr(parent, name, _PackedLinear(child.weight, child.bias))
            elif is_packing and isinstance(child, Conv1D):
                setattr(parent, name, _PackedLinear(child.weight.t(), child.bias))


def _can_pack(dtype: torch.dtype) -> bool:
    if not torch._C._has_mkldnn:
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


class CachelessNetwork:
    """A transformers model without a KV cache: each pass reads every sequence from its start; see Network."""

    def __init__(self, model: Any, *, precision: str) -> None:
        """Take over a loaded causal language model in evaluation mode."""
        self.precision = precision
        self.device: torch.device = model.device
        self.model = model
        self.num_parameters = _count_parameters(model)
        self.vocab_size = int(model.get_output_embeddings().weight.shape[0])
        self.context_length = _find_context_length(model.config)
        self.num_blocks = _CACHELESS_BLOCKS
        _prepare(model)

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Read every distinct sequence whose logits are requested, from its start; see Network.forward."""
        with torch.inference_mode():
            rows = dict.fromkeys(tuple(segment.ids[: segment.stop]) for segment in segments if segment.num_logits)
            hidden = self._read(list(rows))
            wanted = [
                hidden[tuple(segment.ids[: segment.stop])][segment.stop - segment.num_logits :]
                for segment in segments
                if segment.num_logits
            ]
            if not wanted:
                return torch.empty((0, self.vocab_size), device=self.device)
            return cast(torch.Tensor, self.model.get_output_embeddings()(torch.cat(wanted)).float())

    def _read(self, rows: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], torch.Tensor]:
        """Return the hidden states (length, hidden) of each sequence; sequences of one length form a batch."""
        by_length: dict[int, list[tuple[int, ...]]] = {}
        for row in rows:
            by_length.setdefault(len(row), []).append(row)
        hidden: dict[tuple[int, ...], torch.Tensor] = {}
        for length, same in by_length.items():
            num_at_once = max(1, _CACHELESS_TOKENS // length)
            for first in range(0, len(same), num_at_once):
                part = same[first : first + num_at_once]
                ids = torch.tensor(part, dtype=torch.long).to(self.device)
                hidden |= zip(part, self.model.base_model(ids, return_dict=True).last_hidden_state, strict=True)
        return hidden

    def forward_by_layers(self, segments: Sequence[Segment]) -> Generator[None, None, torch.Tensor]:
        """Do what `forward` does, in one part."""
        yield from ()
        return self.forward(segments)

    def make_twin(self) -> Self:
        """Return itself, as its passes have one part."""
        return self

    def copy_block(self, source: int, target: int) -> None:
        """Do nothing: there are no blocks."""

    def close(self) -> None:
        """Free the memory; call nothing afterwards."""
        del self.model
