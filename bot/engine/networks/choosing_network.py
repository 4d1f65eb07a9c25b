"""The choice of a model's network: the native one if it supports the model, else torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from bot.engine.networks.native.building import NativeUnavailable
from bot.engine.networks.native.library import open_library
from bot.engine.networks.native.native_network import NativeNetwork, supports
from bot.engine.networks.network import Network
from bot.errors import ModelError

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS: Final = (*_DTYPES, "int8")


def open_network(
    folder: Path,
    *,
    device: torch.device,
    precision: str,
    kv_cache_bytes: int,
    tell: Callable[[str], None],
) -> Network:
    """Load the weights in `folder` in `precision` onto `device`. Raises ModelError.

    On the CPU this is the native network if it can be compiled; else `tell` gets the reason, and the slower torch
    network is used.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"PRECISION takes auto or one of {', '.join(PRECISIONS)}, not {precision!r}.")
    if device.type == "cpu" and supports(folder, precision=precision):
        try:
            return NativeNetwork.load(
                folder, precision=precision, kv_cache_bytes=kv_cache_bytes, num_threads=torch.get_num_threads()
            )
        except NativeUnavailable as e:
            tell(f"The model runs more slowly than it could: {e}")
    if precision not in _DTYPES:
        raise ModelError(f"PRECISION={precision} is not available for this model on {device}; set PRECISION=auto.")
    from bot.engine.networks.torch_network import load_torch_network  # its imports take two seconds

    return load_torch_network(folder, device=device, dtype=_DTYPES[precision], kv_cache_bytes=kv_cache_bytes)


def list_precisions(folder: Path, device: torch.device) -> tuple[str, ...]:
    """Return the precisions that may be faster than float32 on `device`; compile the native step if needed.

    Precisions that the device only emulates are left out.
    """
    if device.type == "cuda":
        return ("bfloat16", "float16") if torch.cuda.is_bf16_supported(including_emulation=False) else ("float16",)
    if device.type != "cpu":
        return ("float16",)
    native = tuple(one for one in PRECISIONS if one != "float32" and supports(folder, precision=one))
    if native:
        try:
            open_library()
        except NativeUnavailable:
            pass
        else:
            return native
    if not torch._C._has_mkldnn:
        return ()
    has_bfloat16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return ("bfloat16",) if has_bfloat16 else ()
