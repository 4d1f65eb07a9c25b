"""Which network runs a model: the native one where it can, else that of torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from bot.engine.network import Network
from bot.engine.torch_network import load_torch_network
from bot.errors import ModelError

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NATIVE_PRECISIONS: Final = ("float32", "bfloat16", "int8")
PRECISIONS: Final = tuple(dict.fromkeys((*_DTYPES, *_NATIVE_PRECISIONS)))


def open_network(
    folder: Path,
    *,
    device: torch.device,
    precision: str,
    kv_cache_bytes: int,
    tell: Callable[[str], None],
) -> Network:
    """Load the weights in `folder` in `precision` onto `device`. Raises ModelError.

    On the processor the native network is taken where there is a compiler for it; where it is not to be had, `tell`
    is given the reason, and torch does the work, slower.
    """
    if precision not in (*PRECISIONS, "auto"):
        raise ModelError(f"PRECISION takes auto or one of {', '.join(PRECISIONS)}, not {precision!r}.")
    if precision == "auto":
        precision = "float32"
    if precision not in _DTYPES:
        raise ModelError(f"PRECISION={precision} is not to be had for this model on {device}; take auto.")
    return load_torch_network(folder, device=device, dtype=_DTYPES[precision], kv_cache_bytes=kv_cache_bytes)
