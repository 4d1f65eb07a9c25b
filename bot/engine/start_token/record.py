"""The record of a model's start token: a small file, valid for what it was measured from."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bot.core.results import StartFigures
from bot.engine.models.measurement_files import FiguresRecord, Key, describe_weights, digest, finite

RECORD_NAME: Final = "start_token.json"
PASSAGES_FILE: Final = Path(__file__).with_name("passages.txt")  # ordinary texts, with an empty line between them
_MEASURING_VERSION: Final = 2  # raise it when the meaning of a figure, or the choice of candidates, changes
_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


def _read_row(row: Any) -> StartFigures:
    if not (row["token"] is None or isinstance(row["token"], str)):
        raise TypeError(row)
    return StartFigures(row["token"], finite(row["bits_per_token"]))


RECORD: Final = FiguresRecord(RECORD_NAME, _read_row)


def read_start_figures(folder: Path, models_dir: Path | None) -> tuple[StartFigures, ...] | None:
    """Return the figures recorded for the model in `folder`, None if there is no valid record."""
    return RECORD.read(folder, models_dir, _make_key(folder))


def write_start_figures(folder: Path, models_dir: Path | None, figures: Sequence[StartFigures]) -> None:
    """Record `figures`; if it can't be written, only in this process."""
    RECORD.write(folder, models_dir, _make_key(folder), [asdict(one) for one in figures])


def _make_key(folder: Path) -> Key:
    """Return everything that the figures depend on, apart from rounding: weights, tokenizer, passages."""
    files = (folder / name for name in _TOKENIZER_FILES)
    return {
        "weights": describe_weights(folder),
        "tokenizer": {path.name: digest(path.read_bytes()) for path in files if path.is_file()},
        "measuring": [_MEASURING_VERSION, digest(PASSAGES_FILE.read_bytes())],
    }
