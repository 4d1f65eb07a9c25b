"""Attention of a ragged batch over a paged KV cache, with the fastest torch operations for each kind of segment."""

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's usual name for it

from bot.engine.networks.network import BLOCK_TOKENS, Segment

# On a CPU, segments up to this length read the KV cache in place; longer ones are faster with a copy.
_MAX_SCATTERED_TOKENS: Final = 8
# On a CPU, groups stay small: large copies don't fit in the CPU's cache, and scores and indices need memory.
_MAX_GATHERED_TOKENS: Final = 2048
_MAX_SCORES_PER_HEAD: Final = 65_536


class _Group(Protocol):
    """Consecutive queries of a pass that attend in one call."""

    def __init__(self, table: torch.Tensor, positions: torch.Tensor, num_heads: int, num_kv_heads: int) -> None:
        """Take the result of _fill_table and the position of each token."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Return (T, heads, head_dim) for the group's `query` (heads, T, head_dim).

        `key` and `value` (kv_heads, T, head_dim) are new; `rows` (2, rows of the pool, head_dim) holds them and all
        earlier ones.
        """


class PagedPass:
    """The data of one pass that all layers share: its tokens, their places in the KV cache, and who attends to what.

    The tokens are ordered by group: `ids` and `positions` (T,); `wanted` are the indices of tokens whose logits are
    requested, in the order of the segments.
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
            # Values after a sequence's last token are masked, but a NaN among them would still spread.
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
        """Store the layer's new keys and values (kv_heads, T, head_dim); return (T, heads, head_dim) for `query`."""
        rows = self._layers[layer]
        new = torch.stack((key, value)).transpose(1, 2).flatten(1, 2)  # (2, T * kv_heads, head_dim)
        rows.index_copy_(1, self._rows, new.to(rows.dtype))
        if len(self._groups) == 1:
            return self._groups[0][1].attend(query, key, value, rows, scaling)
        parts = [
            group.attend(query[:, part], key[:, part], value[:, part], rows, scaling) for part, group in self._groups
        ]
        return torch.cat(parts)


def attend_paged(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    paged: PagedPass,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend with the signature that transformers calls: `query` (1, heads, T, head_dim) to (1, T, heads, head_dim)."""
    return paged.attend(module.layer_idx, query[0], key[0], value[0], scaling).to(query.dtype)[None], None


with warnings.catch_warnings():
    # torch warns once per process that sparse tensors are in beta; the tests treat warnings as errors.
    warnings.simplefilter("ignore")
    torch.zeros((1, 1)).to_sparse_csr()


class _ScatteredGroup:
    """Segments of a few tokens on a CPU, which read the KV cache in place: several times faster than copying it first.

    A sparse matrix product computes the scores, an embedding bag the weighted sums.
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
                torch.zeros(self._rows.numel()),  # zeros, as beta=0.0 below still multiplies the old values
                (len(flat), rows.shape[1]),
                check_invariants=False,
            )
        torch.sparse.sampled_addmm(self._scores, flat, rows[0].t(), beta=0.0, alpha=scaling, out=self._scores)
        scores = self._scores.values().view(-1, self._num_heads, self._mask.shape[-1]) + self._mask
        shares = torch.softmax(scores, dim=-1).view(self._rows.shape)
        summed = F.embedding_bag(self._rows, rows[1], per_sample_weights=shares, mode="sum")
        return summed.view(-1, self._num_heads, head_dim)


class _GatheredGroup:
    """Segments of one length that attend to the KV cache, whose blocks are first copied into one tensor."""

    def __init__(self, table: torch.Tensor, positions: torch.Tensor, num_heads: int, num_kv_heads: int) -> None:
        """Take each segment's blocks (S, n) and the position of each token."""
        num_segments, num_blocks = table.shape
        heads = torch.arange(num_kv_heads, device=table.device)
        # One copy, in the kernels' order: by segment, head, block.
        self._chunks = (table[:, None] * num_kv_heads + heads[:, None]).flatten()
        self._shape = (num_segments, num_kv_heads, num_blocks * BLOCK_TOKENS)
        self._group = num_heads // num_kv_heads  # query heads per KV head
        is_ahead = torch.arange(num_blocks * BLOCK_TOKENS, device=table.device) > positions[:, None]
        # Query heads that share a KV head are laid out like more tokens, so kernels need no support for groups.
        is_ahead = is_ahead.view(num_segments, 1, -1, is_ahead.shape[-1]).repeat(1, 1, self._group, 1)
        self._is_ahead = is_ahead
        self._mask: torch.Tensor | None = None

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """See _Group.attend."""
        num_segments, num_kv_heads, _ = self._shape
        head_dim = query.shape[-1]
        pool = rows.view(2, -1, BLOCK_TOKENS * head_dim)
        keys, values = pool.index_select(1, self._chunks).view(2, *self._shape, head_dim)
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
    """Segments of one length that start at position 0: they attend to the new keys and values only."""

    def __init__(self, table: torch.Tensor, positions: torch.Tensor, num_heads: int, num_kv_heads: int) -> None:
        """Take one row of `table` for each segment."""
        self._num_segments = len(table)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """See _Group.attend."""
        # Some kernels need as many key heads as query heads; copying them costs almost nothing.
        repeats = len(query) // len(key)
        queries, keys, values = (
            part.view(len(part), self._num_segments, -1, part.shape[-1]).transpose(0, 1)
            for part in (query, key.repeat_interleave(repeats, dim=0), value.repeat_interleave(repeats, dim=0))
        )  # (S, heads, n, head_dim)
        out = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scaling)
        return out.transpose(1, 2).flatten(0, 1)


def _group_segments(segments: Sequence[Segment], device: torch.device) -> list[tuple[type[_Group], list[int]]]:
    """Return the groups that the segments attend in: the kind of each, with the indices of its segments."""
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
        longest = num_rows = 0
        for index in members:
            segment = segments[index]
            new_rows = segment.num_tokens if kind is _ScatteredGroup else 1
            # Every sequence of a group costs as much as the longest one.
            if segment.stop < longest // 2 or (num_rows + new_rows) * longest > _max_size(kind, device):
                longest = num_rows = 0
            if not num_rows:
                longest = segment.stop
                groups.append((kind, []))
            num_rows += new_rows
            groups[-1][1].append(index)
    return groups


def _max_size(kind: type[_Group], device: torch.device) -> float:
    if device.type != "cpu" or kind is _FirstGroup:
        return math.inf
    return _MAX_SCORES_PER_HEAD if kind is _ScatteredGroup else _MAX_GATHERED_TOKENS


def _fill_table(kind: type[_Group], segments: Sequence[Segment]) -> list[list[int]]:
    """Return the blocks of each segment (of each token, if scattered), padded with its first block."""
    if kind is _FirstGroup:
        return [[0]] * len(segments)
    width = max(count_blocks(segment.stop) for segment in segments)
    table = []
    for segment in segments:
        row = list(segment.blocks[: count_blocks(segment.stop)])
        row += row[:1] * (width - len(row))
        table += [row] * (segment.num_tokens if kind is _ScatteredGroup else 1)
    return table


def _find_open_blocks(segments: Iterable[Segment]) -> list[int]:
    """Return the blocks that this pass starts but does not fill."""
    return [
        segment.blocks[segment.stop // BLOCK_TOKENS]
        for segment in segments
        if segment.stop % BLOCK_TOKENS and segment.start <= segment.stop - segment.stop % BLOCK_TOKENS
    ]


def _send(arrays: Sequence[Any], device: torch.device) -> list[torch.Tensor]:
    """Return the lists (of lists) of int as tensors on `device`, moved in one transfer."""
    made = [np.array(array, dtype=np.int64) for array in arrays]
    flat = torch.from_numpy(np.concatenate([array.ravel() for array in made]))
    if device.type == "cuda":
        flat = flat.pin_memory()
    parts = torch.split(flat.to(device, non_blocking=True), [array.size for array in made])
    return [part.view(array.shape) for part, array in zip(parts, made, strict=True)]


def count_blocks(num_tokens: int) -> int:
    """Return how many blocks hold `num_tokens` tokens."""
    return -(-num_tokens // BLOCK_TOKENS)
