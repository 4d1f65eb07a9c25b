"""The record of how surprising the reference texts are to a model, valid for what it was measured from."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bot.core.results import ReferenceFigure
from bot.engine.models.measurement_files import FiguresRecord, Key, describe_weights, digest, finite

RECORD_NAME: Final = "references.json"
TEXTS_FILE: Final = Path(__file__).with_name("texts.txt")
_MEASURING_VERSION: Final = 1  # raise it when the meaning of a figure changes


def _read_row(row: Any) -> ReferenceFigure:
    if not isinstance(row["kind"], str):
        raise TypeError(row)
    return ReferenceFigure(row["kind"], finite(row["perplexity"]))


RECORD: Final = FiguresRecord(RECORD_NAME, _read_row)


def read_references(folder: Path, models_dir: Path | None) -> tuple[ReferenceFigure, ...] | None:
    """Return the figures recorded for the model in `folder`, None if there is no valid record.

    There are none of a model that has not learnt to read.
    """
    return RECORD.read(folder, models_dir, _make_key(folder))


def write_references(folder: Path, models_dir: Path | None, figures: Sequence[ReferenceFigure]) -> None:
    """Record `figures`; if it can't be written, only in this process."""
    RECORD.write(folder, models_dir, _make_key(folder), [asdict(one) for one in figures])


def _make_key(folder: Path) -> Key:
    """Return everything that the figures depend on, apart from rounding; the start token follows from it too."""
    return {
        "weights": describe_weights(folder),
        "measuring": [_MEASURING_VERSION, digest(TEXTS_FILE.read_bytes())],
    }
