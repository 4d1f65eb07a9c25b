"""The network as transformers runs it, on any device: ragged rows over a paged KV cache, or no cache at all."""

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

# Before transformers is imported: with a dead network its hub look-ups can hang for ever.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows it by
from transformers import AutoModelForCausalLM
from transformers.activations import NewGELUActivation
from transformers.modeling_utils import AttentionInterface
from transformers.pytorch_utils import Conv1D

from bot.engine.network import BLOCK_TOKENS, Segment
from bot.errors import ModelError

_ATTENTION: Final = "fewshot_paged"  # transformers builds no mask for a name that it knows no mask of
_PRECISIONS: Final = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
# On a processor segments up to this length read the cache where it lies; for longer ones a copy of it pays.
_MAX_SCATTERED_TOKENS: Final = 4
# oneDNN lays a packed weight out for about this many rows; measured to serve one row and hundreds as well.
_PACKED_ROWS: Final = 8
_MIN_CACHED_TOKENS: Final = 8 * 512  # beside one whole context
_CACHELESS_BLOCKS: Final = 65_536  # they cost nothing
_CACHELESS_TOKENS: Final = 4096  # in one forward pass without a cache


def load_torch_network(
    folder: Path, *, device: torch.device, dtype: torch.dtype, kv_cache_bytes: int
) -> "TorchNetwork | CachelessNetwork":
    """Load the weights in `folder`, held as `dtype` on `device`, with `kv_cache_bytes` of KV cache.

    Raises ModelError, in one sentence, for whatever is in the way.
    """
    torch.set_float32_matmul_precision("highest")  # no TF32: figures mean the same on every device
    torch.backends.cudnn.allow_tf32 = False
    try:
        return _load(folder, device, dtype, kv_cache_bytes)
    except ModelError:
        raise
    except torch.OutOfMemoryError as e:
        raise ModelError(f"The model in {folder} does not fit into the memory of {device}.") from e
    except MemoryError as e:
        raise ModelError(f"The model in {folder} does not fit into memory.") from e
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
        raise ModelError(f"The model in {folder} does not say how long its context is.")
    model = model.eval().requires_grad_(False).to(device)
    if model.config.model_type == "openai-gpt":
        return CachelessNetwork(model, precision=_PRECISIONS[dtype])
    return TorchNetwork(model, precision=_PRECISIONS[dtype], kv_cache_bytes=kv_cache_bytes)


class TorchNetwork:
    """A transformers model with attention whose keys and values lie in blocks; see Network.

    It owns `model`: its attention is exchanged, and on a processor its matrices are packed, so that transformers'
    `generate` no longer works with it. A processor keeps the cache in float32 whatever the precision of the weights.
    """

    def __init__(self, model: Any, *, precision: str, kv_cache_bytes: int) -> None:
        """Take a loaded causal language model in evaluation mode over; raises torch.OutOfMemoryError."""
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
        needed = _num_blocks(self.context_length) + _num_blocks(_MIN_CACHED_TOKENS)
        num_layers = int(config.num_hidden_layers)
        self.num_blocks = max(needed, kv_cache_bytes // (layer_bytes * num_layers))
        # On a processor untouched pages cost nothing.
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
            batch = _Pass(segments, self._pool, self._num_heads)
            # Not by input_ids: transformers would look at them for padding, which makes a GPU wait.
            hidden = self._base(
                inputs_embeds=self._embed(batch.ids)[None],
                position_ids=batch.positions[None],
                use_cache=False,
                paged=batch,
            ).last_hidden_state[0]  # (T, hidden)
            if not len(batch.wanted):
                return torch.empty((0, self.vocab_size), device=self.device)
            return cast(torch.Tensor, self._head(hidden.index_select(0, batch.wanted)).float())

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of one block, in all layers."""
        with torch.inference_mode():
            self._pool[:, :, target] = self._pool[:, :, source]

    def close(self) -> None:
        """Give the memory back; nothing may be called afterwards."""
        del self.model, self._base, self._embed, self._head, self._pool


class _Group(Protocol):
    """Some of a pass's queries, neighbours in it, that attend in one call."""

    def __init__(self, table: torch.Tensor, positions: torch.Tensor, num_heads: int, num_kv_heads: int) -> None:
        """Take what _fill_table gives and the position of each token."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Return (T, heads, head_dim) for the group's `query` (heads, T, head_dim).

        `key` and `value` (kv_heads, T, head_dim) are new; with all those before they also are in `rows` (2, rows of
        the pool, head_dim).
        """


class _Pass:
    """What all layers need to know of one pass, made once: which tokens, where they are kept, who looks at what.

    The tokens are ordered by group: `ids` and `positions` (T,), `wanted` the tokens whose logits are wanted, in the
    order of the segments.
    """

    def __init__(self, segments: Sequence[Segment], pool: torch.Tensor, num_heads: int) -> None:
        num_kv_heads, device = pool.shape[3], pool.device
        self._layers = [layer.view(2, -1, pool.shape[-1]) for layer in pool]
        grouped = _group_segments(segments, device)
        ids: list[int] = []
        positions: list[int] = []
        blocks: list[int] = []
        first_tokens = [0] * len(segments)
        for _, members in grouped:
            for index in members:
                segment = segments[index]
                first_tokens[index] = len(ids)
                ids += segment.ids[segment.start : segment.stop]
                positions += range(segment.start, segment.stop)
                blocks += [segment.blocks[p // BLOCK_TOKENS] for p in range(segment.start, segment.stop)]
        wanted: list[int] = []
        for segment, first in zip(segments, first_tokens, strict=True):
            wanted += range(first + segment.num_tokens - segment.num_logits, first + segment.num_tokens)
        tables = [_fill_table(kind, [segments[index] for index in members]) for kind, members in grouped]
        self.ids, self.positions, token_blocks, self.wanted, fresh, *on_device = _send(
            [ids, positions, blocks, wanted, _find_open_blocks(segments), *tables], device
        )
        if len(fresh):
            # What lies in a block behind its row's last token is masked, but a NaN there would come through.
            pool.index_fill_(2, fresh, 0)
        heads = torch.arange(num_kv_heads, device=device)
        rows = (token_blocks[:, None] * num_kv_heads + heads) * BLOCK_TOKENS + self.positions[:, None] % BLOCK_TOKENS
        self._rows = rows.flatten()  # of the pool, for (T, kv_heads)
        self._groups: list[tuple[slice, _Group]] = []
        first = 0
        for (kind, members), table in zip(grouped, on_device, strict=True):
            last = first + sum(segments[index].num_tokens for index in members)
            self._groups.append((slice(first, last), kind(table, self.positions[first:last], num_heads, num_kv_heads)))
            first = last

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Keep the layer's new keys and values (kv_heads, T, head_dim); return (T, heads, head_dim) for `query`."""
        rows = self._layers[layer]
        new = torch.stack((key, value)).transpose(1, 2).flatten(1, 2)  # (2, T * kv_heads, head_dim)
        rows.index_copy_(1, self._rows, new.to(rows.dtype))
        if len(self._groups) == 1:
            return self._groups[0][1].attend(query, key, value, rows, scaling)
        parts = [
            group.attend(query[:, part], key[:, part], value[:, part], rows, scaling) for part, group in self._groups
        ]
        return torch.cat(parts)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    paged: _Pass,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers wants it: `query` (1, heads, T, head_dim) in, (1, T, heads, head_dim) out."""
    return paged.attend(module.layer_idx, query[0], key[0], value[0], scaling).to(query.dtype)[None], None


AttentionInterface.register(_ATTENTION, _attend)


with warnings.catch_warnings():
    # torch says once per process that sparse tensors may still change; the tests would show it.
    warnings.simplefilter("ignore")
    torch.zeros((1, 1)).to_sparse_csr()


class _ScatteredGroup:
    """A few tokens a row, on a processor: scores and sums read the cache where it lies, which is several times faster
    than to copy it together first. A sparse matrix product samples the scores, an embedding bag makes the sums.
    """

    def __init__(self, table: torch.Tensor, positions: torch.Tensor, num_heads: int, num_kv_heads: int) -> None:
        """Take the blocks (T, n) and the position (T,) of each token."""
        num_tokens, length = len(positions), int(positions.max()) + 1
        seen = torch.arange(length)
        kv_heads = torch.arange(num_heads) // (num_heads // num_kv_heads)
        blocks = table[:, seen // BLOCK_TOKENS]  # (T, length)
        rows = (blocks[:, None] * num_kv_heads + kv_heads[:, None]) * BLOCK_TOKENS + seen % BLOCK_TOKENS
        self._rows = rows.view(num_tokens * num_heads, length)
        self._mask = torch.zeros((num_tokens, 1, length)).masked_fill_((seen > positions[:, None])[:, None], -torch.inf)
        self._starts = torch.arange(0, rows.numel() + 1, length)
        self._num_heads = num_heads
        self._scores: torch.Tensor | None = None

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """See _Group.attend."""
        head_dim = query.shape[-1]
        flat = query.transpose(0, 1).reshape(-1, head_dim).to(rows.dtype)
        if self._scores is None:
            self._scores = torch.sparse_csr_tensor(
                self._starts,
                self._rows.flatten(),
                torch.zeros(self._rows.numel()),  # beta=0.0 below still multiplies what was there
                (len(flat), rows.shape[1]),
                check_invariants=False,
            )
        torch.sparse.sampled_addmm(self._scores, flat, rows[0].t(), beta=0.0, alpha=scaling, out=self._scores)
        scores = self._scores.values().view(-1, self._num_heads, self._mask.shape[-1]) + self._mask
        shares = torch.softmax(scores, dim=-1).view(self._rows.shape)
        summed = F.embedding_bag(self._rows, rows[1], per_sample_weights=shares, mode="sum")
        return summed.view(-1, self._num_heads, head_dim)


class _GatheredGroup:
    """Segments of the same length that look back into the cache: it is copied together for them."""

    def __init__(self, table: torch.Tensor, positions: torch.Tensor, num_heads: int, num_kv_heads: int) -> None:
        """Take each segment's blocks (S, n) and the position of each token."""
        num_segments, num_blocks = table.shape
        self._blocks = table.flatten()
        self._shape = (num_segments, num_blocks, num_kv_heads, BLOCK_TOKENS)
        self._group = num_heads // num_kv_heads  # query heads that share a head of the cache
        is_ahead = torch.arange(num_blocks * BLOCK_TOKENS, device=table.device) > positions[:, None]
        # The heads of a group follow each other like further tokens: no kernel needs to know of them.
        is_ahead = is_ahead.view(num_segments, 1, -1, is_ahead.shape[-1]).repeat(1, 1, self._group, 1)
        self._is_ahead = is_ahead
        self._mask: torch.Tensor | None = None

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """See _Group.attend."""
        num_segments, _, num_kv_heads, _ = self._shape
        head_dim = query.shape[-1]
        pool = rows.view(2, -1, num_kv_heads * BLOCK_TOKENS * head_dim)
        both = pool.index_select(1, self._blocks).view(2, *self._shape, head_dim)
        keys, values = both.transpose(2, 3).flatten(3, 4)  # (S, kv_heads, length, head_dim)
        if self._mask is None:
            mask = torch.zeros(self._is_ahead.shape, dtype=rows.dtype, device=rows.device)
            self._mask = mask.masked_fill_(self._is_ahead, -torch.inf)
        folded = query.view(num_kv_heads, self._group, num_segments, -1, head_dim).permute(2, 0, 1, 3, 4)
        out = F.scaled_dot_product_attention(
            folded.flatten(2, 3).to(rows.dtype), keys, values, attn_mask=self._mask, scale=scaling
        )  # (S, kv_heads, group * n, head_dim)
        apart = out.view(num_segments, num_kv_heads, self._group, -1, head_dim)
        return apart.permute(0, 3, 1, 2, 4).flatten(2, 3).flatten(0, 1)


class _FirstGroup:
    """Segments of the same length with nothing before them: the new keys and values are all there is."""

    def __init__(self, table: torch.Tensor, positions: torch.Tensor, num_heads: int, num_kv_heads: int) -> None:
        """Take one row of `table` for each segment."""
        self._num_segments = len(table)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """See _Group.attend."""
        queries, keys, values = (
            part.view(len(part), self._num_segments, -1, part.shape[-1]).transpose(0, 1) for part in (query, key, value)
        )  # (S, heads, n, head_dim)
        out = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, scale=scaling, enable_gqa=queries.shape[1] != keys.shape[1]
        )
        return out.transpose(1, 2).flatten(0, 1)


def _group_segments(segments: Sequence[Segment], device: torch.device) -> list[tuple[type[_Group], list[int]]]:
    """Return the kinds of groups that the segments attend in, each with the indices of its segments."""
    found: dict[tuple[type[_Group], int], list[int]] = {}
    for index, segment in enumerate(segments):
        if device.type == "cpu" and segment.num_tokens <= _MAX_SCATTERED_TOKENS:
            found.setdefault((_ScatteredGroup, 0), []).append(index)
        elif segment.start == 0:
            found.setdefault((_FirstGroup, segment.num_tokens), []).append(index)
        else:
            found.setdefault((_GatheredGroup, segment.num_tokens), []).append(index)
    groups: list[tuple[type[_Group], list[int]]] = []
    for (kind, _), members in found.items():
        members.sort(key=lambda index: -segments[index].stop)
        longest = 0
        for index in members:
            # All rows of a group cost what its longest one costs.
            if segments[index].stop < longest // 2:
                longest = 0
            if not longest:
                longest = segments[index].stop
                groups.append((kind, []))
            groups[-1][1].append(index)
    return groups


def _fill_table(kind: type[_Group], segments: Sequence[Segment]) -> list[list[int]]:
    """Return the blocks of each segment (of each token, if scattered), filled up with the first of them."""
    if kind is _FirstGroup:
        return [[0]] * len(segments)
    width = max(_num_blocks(segment.stop) for segment in segments)
    table = []
    for segment in segments:
        row = list(segment.blocks[: _num_blocks(segment.stop)])
        row += row[:1] * (width - len(row))
        table += [row] * (segment.num_tokens if kind is _ScatteredGroup else 1)
    return table


def _find_open_blocks(segments: Iterable[Segment]) -> list[int]:
    """Return the blocks that this pass begins and doesn't fill."""
    return [
        segment.blocks[segment.stop // BLOCK_TOKENS]
        for segment in segments
        if segment.stop % BLOCK_TOKENS and segment.start <= segment.stop - segment.stop % BLOCK_TOKENS < segment.stop
    ]


def _send(arrays: Sequence[Any], device: torch.device) -> list[torch.Tensor]:
    """Return the lists (of lists) of int as tensors on `device`, which takes one transfer."""
    made = [np.array(array, dtype=np.int64) for array in arrays]
    flat = torch.from_numpy(np.concatenate([array.ravel() for array in made]))
    if device.type == "cuda":
        flat = flat.pin_memory()
    parts = torch.split(flat.to(device, non_blocking=True), [array.size for array in made])
    return [part.view(array.shape) for part, array in zip(parts, made, strict=True)]


def _num_blocks(num_tokens: int) -> int:
    return -(-num_tokens // BLOCK_TOKENS)


def _find_context_length(config: Any) -> int:
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return int(length or 0)


def _count_parameters(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters())


class _PackedLinear(torch.nn.Module):
    """x @ weight.T + bias with the weight laid out for oneDNN: up to three times as fast for a few rows."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Pack the weight (out, in)."""
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_ROWS)
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (…, out) for `x` (…, in)."""
        return cast(torch.Tensor, torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], ""))


def _prepare(model: Any) -> None:
    """Exchange the parts of `model` that there are faster equal ones for."""
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
    """A transformers model without a KV cache: each row is read whole again in each pass; see Network."""

    def __init__(self, model: Any, *, precision: str) -> None:
        """Take a loaded causal language model in evaluation mode over."""
        self.precision = precision
        self.device: torch.device = model.device
        self.model = model
        self.num_parameters = _count_parameters(model)
        self.vocab_size = int(model.get_output_embeddings().weight.shape[0])
        self.context_length = _find_context_length(model.config)
        self.num_blocks = _CACHELESS_BLOCKS
        _prepare(model)

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Read every distinct row that logits are wanted of, as long as it is now; see Network.forward."""
        with torch.inference_mode():
            rows = {tuple(segment.ids[: segment.stop]): 0 for segment in segments if segment.num_logits}
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
        """Return the hidden states (length, hidden) of each row; rows of the same length are read together."""
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

    def copy_block(self, source: int, target: int) -> None:
        """Do nothing: nothing is kept in blocks."""

    def close(self) -> None:
        """Give the memory back; nothing may be called afterwards."""
        del self.model
