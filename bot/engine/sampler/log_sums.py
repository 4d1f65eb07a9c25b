"""Reductions of whole rows of logits, in C++ where it is available, so that torch's threads stay asleep."""

from collections.abc import Callable
from typing import Final

import torch

from bot.engine.networks.native.row_chooser import RowChooser, find_row_chooser

_Reduce = Callable[[RowChooser, int, int, int, int], None]

_ROWS_AT_ONCE: Final = 4
_ALIGNMENT: Final = 64  # values


def log_sums(logits: torch.Tensor) -> torch.Tensor:
    """Return log(sum(exp(logits))) of each row of `logits` (k, vocab) float32, (k,).

    A row's log-sum is the same to the bit, whatever the other rows, the memory layout and the number of threads. Every
    log-probability is a logit minus this, so it does not depend on how it is computed either. C++ and torch agree only
    up to rounding: `find_row_chooser` decides which of them sums, never the rows.

    It is not finite if a logit is NaN or infinity, or all are minus infinity. Raises MemoryError,
    torch.OutOfMemoryError.
    """
    found = _reduce_natively(RowChooser.find_log_sums, logits)
    if found is not None:
        return found
    return _sum_few_at_once(logits) if logits.is_cpu else _sum_on_device(logits)


def are_finite(logits: torch.Tensor) -> bool:
    """Say whether every row of `logits` (k, vocab) float32 is valid: no NaN, no infinity, not all minus infinity.

    Raises MemoryError.
    """
    maxima = _reduce_natively(RowChooser.find_maxima, logits)
    # A maximum is NaN if any logit is, and infinite if any is.
    return bool(torch.isfinite(logits.amax(dim=-1) if maxima is None else maxima).all())


def _reduce_natively(reduce: _Reduce, logits: torch.Tensor) -> torch.Tensor | None:
    """Return one number for each row, None if C++ can't compute it."""
    native = find_row_chooser()
    if native is None or not logits.is_cpu or logits.dtype != torch.float32:
        return None
    logits = logits.contiguous()
    num_rows, vocab_size = logits.shape
    out = torch.empty(num_rows, dtype=torch.float32)
    reduce(native, logits.data_ptr(), num_rows, vocab_size, out.data_ptr())
    return out


# Not torch.logsumexp: it splits a single row among threads, so its order of addition depends on the shape of all rows.
# log_softmax sums each row by itself. At the largest logit it is minus the log-sum of the distances from that logit.
def _sum_few_at_once(logits: torch.Tensor) -> torch.Tensor:
    best, shares = torch.empty(len(logits)), torch.empty(len(logits))
    # A few rows at a time stay in the CPU's cache, and reusing their buffer avoids page faults.
    buffer = torch.empty(min(_ROWS_AT_ONCE, len(logits)), logits.shape[1])
    for first in range(0, len(logits), _ROWS_AT_ONCE):
        part = slice(first, min(first + _ROWS_AT_ONCE, len(logits)))
        rows, out = logits[part].contiguous(), buffer[: part.stop - first]
        torch._log_softmax(rows, -1, False, out=out)
        torch.amax(rows, 1, out=best[part])
        torch.amax(out, 1, out=shares[part])
    return best - shares


def _sum_on_device(logits: torch.Tensor) -> torch.Tensor:
    # Kernels add an unaligned row in another order, so all rows are padded to a multiple of the alignment.
    padded = torch.nn.functional.pad(logits, (0, -logits.shape[1] % _ALIGNMENT), value=float("-inf"))
    return logits.amax(dim=-1) - padded.log_softmax(dim=-1).amax(dim=-1)
