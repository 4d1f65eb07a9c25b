"""The types of the compiled library's functions in abi.cpp."""

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from bot.engine.networks.native.building import load_library

_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "native_create": (c_void_p, [c_void_p]),
    "native_destroy": (None, [c_void_p]),
    "native_pack": (None, [c_void_p, c_int, c_int, c_int, c_int, c_int, c_void_p, c_int64, c_int64]),
    "native_pack_bias": (None, [c_void_p, c_int, c_int, c_int, c_int, c_int, c_void_p]),
    "native_vector": (c_void_p, [c_void_p, c_int, c_int]),
    "native_create_twin": (c_void_p, [c_void_p]),
    "native_begin": (c_int, [c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_void_p]),
    "native_advance": (c_int, [c_void_p, c_int]),
    "native_copy_block": (None, [c_void_p, c_int, c_int]),
}


class StepConfig(ctypes.Structure):
    """The struct Config of model.h; keep the fields equal."""

    _fields_: ClassVar[Sequence[Any]] = [
        *[
            (name, c_int32)
            for name in (
                "is_gpt2",
                "num_layers",
                "hidden",
                "num_heads",
                "num_kv_heads",
                "head_dim",
                "intermediate",
                "vocab_size",
                "context_length",
                "kind",
                "has_output_matrix",
                "has_qk_norm",
                "has_half_cache",
                "num_blocks",
                "num_threads",
            )
        ],
        ("epsilon", c_float),
        ("attention_scale", c_float),
    ]


def open_library(cache_folder: Path | None = None) -> Any:
    """Return the library with the types of its functions set. Raises NativeUnavailable."""
    library = load_library(cache_folder)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return cast(Any, library)
