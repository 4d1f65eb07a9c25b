"""The header of a safetensors file: its tensors, and whether the file is complete; never reads the weights."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.errors import ModelError

_LENGTH_BYTES: Final = 8
# The format's own limit; a larger value means a damaged file.
_MAX_HEADER_BYTES: Final = 100_000_000
_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}


class IncompleteModel(ModelError):
    """A file of the model is missing or damaged; another download fixes it."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as the header describes it; `dtype` is a safetensors name (F32, BF16, …)."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_values(self) -> int:
        """Return the product of the shape; 1 for a scalar."""
        return math.prod(self.shape)


def read_stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Return every tensor of the safetensors file at `path` by name, after checking that the file is complete.

    Raises IncompleteModel, one sentence, if the file is missing, truncated or too long, or its header is damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if size < _LENGTH_BYTES or length > min(_MAX_HEADER_BYTES, size - _LENGTH_BYTES):
                raise IncompleteModel(f"The weights file {path} is truncated or damaged ({size:,} bytes).")
            header = json.loads(file.read(length))
    except FileNotFoundError as e:
        raise IncompleteModel(f"The weights file {path} is missing.") from e
    except OSError as e:
        raise ModelError(f"The weights file {path} can't be read: {e.strerror or e}.") from e
    except (ValueError, RecursionError) as e:
        raise IncompleteModel(f"The weights file {path} is damaged: its header can't be read.") from e
    return _check_header(path, header, num_data_bytes=size - _LENGTH_BYTES - length)


def _check_header(path: Path, header: Any, *, num_data_bytes: int) -> dict[str, StoredTensor]:
    damaged = IncompleteModel(f"The weights file {path} is damaged: its header is not valid.")
    if not isinstance(header, dict):
        raise damaged
    tensors = {}
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            tensor = StoredTensor(entry["dtype"], tuple(entry["shape"]))
            begin, end = entry["data_offsets"]
            is_sound = all(isinstance(n, int) and n >= 0 for n in (*tensor.shape, begin, end))
            if not is_sound or (end - begin) * 8 != tensor.num_values * _BITS.get(tensor.dtype, -1):
                raise damaged
        except (TypeError, ValueError, KeyError) as e:
            raise damaged from e
        tensors[name] = tensor
        spans.append((begin, end))
    expected = 0
    for begin, end in sorted(spans):
        if begin != expected:  # tensors follow one another without gaps
            raise damaged
        expected = end
    if num_data_bytes != expected:
        problem = "truncated" if num_data_bytes < expected else "longer than its header says"
        raise IncompleteModel(
            f"The weights file {path} is {problem}: {num_data_bytes:,} bytes of weights instead of {expected:,}."
        )
    return tensors
