"""The record of a model's measured precisions: a file beside the model, with an entry for each machine."""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from bot.core.results import PrecisionFigures
from bot.engine.networks.native.building import COMPILERS, compile_target

logger = logging.getLogger(__name__)

RECORD_NAME: Final = "precision.json"
TEXT_FILE: Final = Path(__file__).with_name("precision_text.txt")
_MEASURING_VERSION: Final = 1  # raise it when the meaning of a figure changes
_MAX_ENTRIES: Final = 16  # one for each machine that shares the folder; the oldest are dropped
_MAX_BYTES: Final = 1_000_000
_KERNEL_SUFFIXES: Final = frozenset({".cpp", ".h", ".py"})

_Key = dict[str, Any]
# If neither folder can be written, each process measures only once.
_measured_here: dict[str, tuple[PrecisionFigures, ...]] = {}


def make_key(folder: Path, *, device: str, num_threads: int) -> _Key:
    """Return everything that the figures of the model in `folder` depend on; `device` is a GPU's name or "cpu".

    That is the machine, torch, the weights, the kernels and the measurement: figures are valid only for an equal key.
    """
    return {
        "device": _describe_processor() if device == "cpu" else device,
        "num_threads": num_threads,
        "torch": importlib.metadata.version("torch"),
        "weights": sorted(
            [path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in folder.glob("*.safetensors")
        ),
        "kernels": _describe_kernels(compile_target()),
        "measuring": [_MEASURING_VERSION, _digest(TEXT_FILE.read_bytes())],
    }


def read_figures(folder: Path, models_dir: Path | None, key: _Key) -> tuple[PrecisionFigures, ...]:
    """Return the figures recorded under `key`, float32 first; empty if there are none or they can't be read."""
    for path in _find_places(folder, models_dir):
        for entry in _read_entries(path):
            if entry.get("key") == key:
                with contextlib.suppress(TypeError, KeyError):
                    return tuple(PrecisionFigures(**figures) for figures in entry["figures"])
    return _measured_here.get(_name_memory(folder, key), ())


def write_figures(folder: Path, models_dir: Path | None, key: _Key, figures: Sequence[PrecisionFigures]) -> None:
    """Record `figures` beside the model, else in `models_dir`; if neither can be written, only in this process."""
    _measured_here[_name_memory(folder, key)] = tuple(figures)
    entry = {
        "key": key,
        "measured_at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "figures": [asdict(one) for one in figures],
    }
    problem: OSError | None = None
    for path in _find_places(folder, models_dir):
        try:
            _write_entry(path, entry)
            return
        except OSError as e:
            problem = e
    logger.warning("The measurements of the model in %s can't be saved: %s", folder, problem)


def _find_places(folder: Path, models_dir: Path | None) -> list[Path]:
    """Return the possible paths of the record, the preferred one first."""
    places = [folder / RECORD_NAME]
    if models_dir is not None:
        places.append(models_dir / "precision" / f"{_digest(str(folder.resolve()).encode())}.json")
    return places


def _read_entries(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return []
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    entries = found.get("measured") if isinstance(found, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _write_entry(path: Path, entry: dict[str, Any]) -> None:
    others = [other for other in _read_entries(path) if other.get("key") != entry["key"]]
    record = {"measured": [entry, *others[: _MAX_ENTRIES - 1]]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _name_memory(folder: Path, key: _Key) -> str:
    return f"{folder.resolve()} {json.dumps(key, sort_keys=True)}"


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
    return f"{platform.machine()} {name} {_digest(flags.encode())}"


@cache
def _describe_kernels(target: str) -> str:
    """Return a digest of the kernels' code, with the compiler found here, as kernels without one differ.

    `target` is the CPU that the code is compiled for; see `compile_for`.
    """
    networks = Path(__file__).parent.parent / "networks"
    native = (path for path in (networks / "native").iterdir() if path.suffix in _KERNEL_SUFFIXES)
    digest = hashlib.sha256()
    for path in sorted([*native, *networks.glob("*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), "no compiler")
    return f"{digest.hexdigest()[:16]} {compiler} {target}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
