"""The memory that a loaded model takes, counted before it is loaded."""

from collections.abc import Mapping
from typing import Final

from bot.engine.precision.choice import FLOAT32

_BYTES: Final[Mapping[str, int]] = {FLOAT32: 4, "bfloat16": 2, "float16": 2, "int8": 1}


def count_bytes(num_parameters: int, *, precision: str, kv_cache_mb: int) -> int:
    """Return the bytes of a model that writes in `precision`: its weights and its KV cache.

    Figures are computed in float32, so a model that writes in another precision has its weights twice, and two caches.
    """
    cache = kv_cache_mb * 2**20
    scoring = num_parameters * _BYTES[FLOAT32] + cache
    return scoring if precision == FLOAT32 else scoring + num_parameters * _BYTES[precision] + cache
