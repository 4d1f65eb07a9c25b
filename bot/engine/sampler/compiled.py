"""The sampler in C++: the data of each row, kept from step to step, and one call for all rows."""

import ctypes
from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from bot.engine.networks.native.row_chooser import MAX_TOP_K, ChoiceRow, RowChooser
from bot.engine.sampler.rows import Chosen, OpenRow, as_error
from bot.errors import GenerationError

# The options that choosing.cpp supports; rows with others are not sampled in C++.
SUPPORTED: Final = frozenset({"repetition_penalty", "no_repeat_ngram_size", "temperature", "top_k", "top_p", "min_p"})


class _NativeRow:
    """One row of a request as C++ reads it; its address is valid as long as this object lives."""

    __slots__ = ("address", "arrays", "stream", "struct")

    def __init__(self, row: OpenRow) -> None:
        params, stream, is_seen = row.params, row.stream, row.memory.is_seen
        self.struct = ChoiceRow(penalty=params.repetition_penalty, removed_mass=-1.0)
        self.address = ctypes.addressof(self.struct)
        self.arrays: list[array[int]] = []  # what the struct points to now
        self.stream: tuple[int, int] | None = None  # address and number of rows of its request's windows
        if is_seen is not None:
            self.struct.seen = is_seen.ctypes.data
        if stream is not None and stream.windows is not None:
            self.stream = (stream.windows.ctypes.data, params.n)
            self.struct.temperature = params.temperature
            self.struct.top_k = min(params.top_k, MAX_TOP_K)
            self.struct.window = stream.windows[row.choice.index].ctypes.data
            self.struct.moves_on = params.n == 1
            if params.top_p < 1:
                self.struct.removed_mass = np.float32(1 - params.top_p)
            self.struct.min_p = np.float32(params.min_p)

    def set_lists(self, banned: Sequence[int], allowed: Sequence[int] | None) -> None:
        """Point to the banned tokens, and to the allowed ones (None: all)."""
        struct = self.struct
        # An empty array has no address, and without one all tokens are allowed.
        self.arrays = [array("i", banned), array("i", [*(allowed or ()), 0])]
        struct.banned, struct.num_banned = self.arrays[0].buffer_info()
        if allowed is None:
            struct.allowed = None
        else:
            struct.allowed, struct.num_allowed = self.arrays[1].buffer_info()[0], len(allowed)

    def read_result(self) -> Chosen | None:
        """Return the token that C++ has chosen, None if it is not proven."""
        token = self.struct.token
        return None if token < 0 else Chosen(token, self.struct.logprob)


def can_choose_natively(native: RowChooser, logits: torch.Tensor, rows: Sequence[OpenRow]) -> bool:
    """Say whether C++ can read the logits and the draws of all rows, and supports all their options."""
    if not logits.is_cpu or logits.dtype != torch.float32 or not logits.is_contiguous():
        return False
    return all((row.stream is None or row.stream.native is native) and row.active <= SUPPORTED for row in rows)


def choose_natively(
    native: RowChooser, logits: torch.Tensor, rows: Sequence[OpenRow]
) -> list[Chosen | GenerationError | None]:
    """Choose the token of each row, None if the result is not proven; each request's draws advance by one step.

    Raises MemoryError if there is not enough for all rows together; then nothing has been drawn.
    """
    streams: dict[tuple[int, int], None] = {}
    found: list[_NativeRow | GenerationError] = []
    for row in rows:
        try:
            one = _prepare(row)
        except Exception as e:
            found.append(as_error(e))
        else:
            found.append(one)
            if one.stream is not None:
                streams[one.stream] = None
    addresses = [one.address for one in found if isinstance(one, _NativeRow)]
    native.choose(logits.data_ptr(), logits.shape[1], addresses, list(streams))
    return [one.read_result() if isinstance(one, _NativeRow) else one for one in found]


def _prepare(row: OpenRow) -> _NativeRow:
    """Return the row as C++ reads it for this step. Raises the error of options that C++ can't represent."""
    memory, allowed = row.memory, row.choice.allowed
    one: _NativeRow | None = memory.native
    if one is None:
        one = memory.native = _NativeRow(row)
    banned = row.banned
    if banned or allowed is not None or one.arrays:
        one.set_lists(banned, allowed)
    one.struct.at = row.at
    return one
