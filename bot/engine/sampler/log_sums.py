"""What is worked out of whole rows of logits: in C++ where that is to be had, so that torch's threads sleep on."""

from collections.abc import Callable

import torch

from bot.engine.networks.native.row_chooser import RowChooser, find_row_chooser

_Reduce = Callable[[RowChooser, int, int, int, int], None]


def log_sums(logits: torch.Tensor) -> torch.Tensor:
    """Return log(sum(exp(logits))) of each row of `logits` (k, vocab) float32, (k,).

    It is not finite where a logit is NaN or infinity, or all are minus infinity. Raises MemoryError.
    """
    found = _reduce_natively(RowChooser.find_log_sums, logits)
    return logits.logsumexp(dim=-1) if found is None else found


def are_finite(logits: torch.Tensor) -> bool:
    """Say whether every row of `logits` (k, vocab) float32 can be used: no NaN, no infinity, not all minus infinity.

    Raises MemoryError.
    """
    maxima = _reduce_natively(RowChooser.find_maxima, logits)
    # A maximum is NaN if any logit is, and infinite if any is.
    return bool(torch.isfinite(logits.amax(dim=-1) if maxima is None else maxima).all())


def _reduce_natively(reduce: _Reduce, logits: torch.Tensor) -> torch.Tensor | None:
    """Return one number for each row; None where C++ can't work it out."""
    native = find_row_chooser()
    if native is None or not logits.is_cpu or logits.dtype != torch.float32 or not logits.is_contiguous():
        return None
    num_rows, vocab_size = logits.shape
    out = torch.empty(num_rows, dtype=torch.float32)
    reduce(native, logits.data_ptr(), num_rows, vocab_size, out.data_ptr())
    return out
