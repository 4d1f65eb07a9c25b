"""The record of a model's measured precisions: a file with an entry for each machine."""

import contextlib
import hashlib
import importlib.metadata
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Final

from bot.core.results import PrecisionFigures
from bot.engine.models.measurement_files import (
    Key,
    describe_weights,
    digest,
    find_entries,
    name_memory,
    save_entry,
)
from bot.engine.networks.native.building import COMPILERS, compile_target

RECORD_NAME: Final = "precision.json"
TEXT_FILE: Final = Path(__file__).with_name("precision_text.txt")
_MEASURING_VERSION: Final = 1  # raise it when the meaning of a figure changes
_MAX_ENTRIES: Final = 16  # one for each machine that shares the folder; the oldest are dropped
_KERNEL_SUFFIXES: Final = frozenset({".cpp", ".h", ".py"})

# The fields of PrecisionFigures that other programs on the machine make lower.
SPEEDS: Final = ("tokens_per_s", "tokens_per_s_of_8", "prefill_tokens_per_s")
# Each process measures only once, also if no record can be written.
_measured_here: dict[str, tuple[PrecisionFigures, ...]] = {}


def make_key(folder: Path, *, device: str, num_threads: int) -> Key:
    """Return everything that the figures of the model in `folder` depend on; `device` is a GPU's name or "cpu".

    That is the machine, torch, the weights, the kernels and the measurement: figures are valid only for an equal key.
    """
    return {
        "device": _describe_processor() if device == "cpu" else device,
        "num_threads": num_threads,
        "torch": importlib.metadata.version("torch"),
        "weights": describe_weights(folder),
        "kernels": _describe_kernels(compile_target()),
        "measuring": [_MEASURING_VERSION, digest(TEXT_FILE.read_bytes())],
    }


def read_figures(folder: Path, models_dir: Path | None, key: Key) -> tuple[PrecisionFigures, ...]:
    """Return the figures recorded under `key`, float32 first; empty if there are none or they can't be read."""
    for entry in find_entries(RECORD_NAME, folder, models_dir, key):
        with contextlib.suppress(TypeError, KeyError):
            return tuple(PrecisionFigures(**figures) for figures in entry["figures"])
    return _measured_here.get(name_memory(folder, key), ())


def count_busy(folder: Path, models_dir: Path | None, key: Key) -> int:
    """Return how often the figures recorded under `key` were measured on a busy machine only; 0 in this process."""
    if name_memory(folder, key) in _measured_here:
        return 0
    found = next(find_entries(RECORD_NAME, folder, models_dir, key), {}).get("num_busy", 0)
    return found if isinstance(found, int) and found > 0 else 0


def write_figures(
    folder: Path, models_dir: Path | None, key: Key, figures: Sequence[PrecisionFigures], *, num_busy: int = 0
) -> None:
    """Record `figures` (see `save_entry`); if it can't be written, only in this process.

    `num_busy` is how often they were measured on a busy machine, 0 if the last time it was not.
    """
    _measured_here[name_memory(folder, key)] = tuple(figures)
    content = {"num_busy": num_busy, "figures": [asdict(one) for one in figures]}
    save_entry(RECORD_NAME, folder, models_dir, key, content, max_entries=_MAX_ENTRIES)


@cache
def _describe_processor() -> str:
    """Return the CPU's name with a digest of its flags: CPUs of one name may differ, for example in AVX-512."""
    name, flags = platform.processor(), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            label, _, value = line.partition(":")
            if label.strip() == "model name":
                name = value.strip()
            elif label.strip() in ("flags", "Features"):
                flags = " ".join(sorted(value.split()))
    return f"{platform.machine()} {name} {digest(flags.encode())}"


@cache
def _describe_kernels(target: str) -> str:
    """Return a digest of the kernels' code, with the compiler found here, as kernels without one differ.

    `target` is the CPU that the code is compiled for; see `compile_for`.
    """
    networks = Path(__file__).parent.parent / "networks"
    native = (path for path in (networks / "native").iterdir() if path.suffix in _KERNEL_SUFFIXES)
    code = hashlib.sha256()
    for path in sorted([*native, *networks.glob("*.py")]):
        code.update(path.name.encode() + b"\0" + path.read_bytes())
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), "no compiler")
    return f"{code.hexdigest()[:16]} {compiler} {target}"
