"""The records of what was measured of a model, in our own models folder.

A model in another program's folder, such as the Hugging Face cache, gets no files there: that program may check or
share the folder, or not allow it.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

logger = logging.getLogger(__name__)

_MAX_BYTES: Final = 1_000_000

Key = dict[str, Any]
FigureT = TypeVar("FigureT")


def digest(content: bytes) -> str:
    """Return 16 hex digits that tell `content` from any other."""
    return hashlib.sha256(content).hexdigest()[:16]


def describe_weights(folder: Path) -> list[list[str | int]]:
    """Return what changes with the model in `folder`: name, bytes and time of each file of weights and the config."""
    paths = (*folder.glob("*.safetensors"), *folder.glob("config.json"))
    return sorted([path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths)


def find_entries(name: str, folder: Path, models_dir: Path | None, key: Key) -> Iterator[dict[str, Any]]:
    """Yield the entries with `key` in the records `name` of the model in `folder`, also of one that came with it."""
    for path in dict.fromkeys((_place_of(name, folder, models_dir), folder / name)):
        yield from (entry for entry in _read_entries(path) if entry.get("key") == key)


def save_entry(
    name: str, folder: Path, models_dir: Path | None, key: Key, content: dict[str, Any], *, max_entries: int
) -> None:
    """Write `content` as the newest entry of the record `name`.

    It is beside a model in `models_dir` (None: any), and in a file of `models_dir` for another one. It keeps
    `max_entries` entries of different keys. If it can't be written, the log says so.
    """
    entry = {"key": key, "measured_at_utc": datetime.now(UTC).isoformat(timespec="seconds"), **content}
    try:
        _write_entry(_place_of(name, folder, models_dir), entry, max_entries)
    except OSError as e:
        logger.warning("The measurements of the model in %s can't be saved: %s", folder, e)


def name_memory(folder: Path, key: Key) -> str:
    """Return a name for what was measured in this process of the model in `folder`."""
    return f"{folder.resolve()} {json.dumps(key, sort_keys=True)}"


def _place_of(name: str, folder: Path, models_dir: Path | None) -> Path:
    if models_dir is None or folder.resolve().is_relative_to(models_dir.resolve()):
        return folder / name
    return models_dir / Path(name).stem / f"{digest(str(folder.resolve()).encode())}.json"


def _read_entries(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return []
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    entries = found.get("measured") if isinstance(found, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _write_entry(path: Path, entry: dict[str, Any], max_entries: int) -> None:
    others = [other for other in _read_entries(path) if other.get("key") != entry["key"]]
    record = {"measured": [entry, *others[: max_entries - 1]]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


class FiguresRecord(Generic[FigureT]):
    """The figures of one kind that were measured of models, in small files; in memory where none can be written.

    `read_row` makes a figure of a row; it raises TypeError, KeyError or ValueError for a row that is none.
    """

    def __init__(self, name: str, read_row: Callable[[Any], FigureT], *, max_entries: int = 4) -> None:
        self.name = name
        self._read_row = read_row
        self._max_entries = max_entries
        # Each process measures only once, also if no record can be written.
        self._measured_here: dict[str, tuple[FigureT, ...]] = {}

    def read(self, folder: Path, models_dir: Path | None, key: Key) -> tuple[FigureT, ...] | None:
        """Return the figures recorded for the model in `folder` under `key`, None if there is no valid record."""
        for entry in find_entries(self.name, folder, models_dir, key):
            rows = entry.get("figures")
            if isinstance(rows, list):
                with contextlib.suppress(TypeError, KeyError, ValueError):
                    return tuple(self._read_row(row) for row in rows)
        return self._measured_here.get(name_memory(folder, key))

    def write(self, folder: Path, models_dir: Path | None, key: Key, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record figures as rows (see `save_entry`); if they can't be written, only in this process."""
        self._measured_here[name_memory(folder, key)] = tuple(self._read_row(row) for row in rows)
        content = {"figures": [dict(row) for row in rows]}
        save_entry(self.name, folder, models_dir, key, content, max_entries=self._max_entries)


def finite(value: Any) -> float:
    """Return a number of a record. Raises ValueError if it is none."""
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError(value)
    return value
