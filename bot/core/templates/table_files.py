"""Rows for templates from files of comma- or tab-separated values and of JSON lines."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bot.core.messages import AttachmentFormat
from bot.core.suggesting import suggest
from bot.core.templates.lines import check_label
from bot.core.templates.template import Example
from bot.core.wording import list_words, quote
from bot.errors import RequestError

# What people call the two columns, the best name first.
INPUT_NAMES: Final = ("input", "text", "sentence", "question", "prompt", "message", "review", "source")
OUTPUT_NAMES: Final = (
    "output",
    "label",
    "answer",
    "completion",
    "response",
    "class",
    "target",
    "category",
    "sentiment",
)
_MAX_CELL_BYTES: Final = 256 * 1024
_MAX_NAMES: Final = 10
_JSON_ROWS: Final = 'each line is a JSON object such as {"input": "…", "output": "…"}'


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of one row; `line` is the number of its first line in the file, from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of a file, and the names of their columns if its first line names them."""

    names: tuple[str, ...]
    rows: tuple[_Row, ...]


def read_examples(text: str, format: AttachmentFormat, *, labels: Sequence[str] = ()) -> tuple[Example, ...]:
    """Return the examples or tests in a file of `format` "csv", "tsv" or "jsonl"; empty rows are dropped.

    Columns are found by their names (INPUT_NAMES, OUTPUT_NAMES); two columns without names are input and output. With
    `labels` each output must be one of them. Raises RequestError that names the first wrong line.
    """
    table = _read(text, format, (*INPUT_NAMES, *OUTPUT_NAMES))
    inputs, outputs = _find(table.names, INPUT_NAMES), _find(table.names, OUTPUT_NAMES)
    if table.names and (inputs is None or outputs is None):
        raise RequestError(f"The file has {_listed(table.names)}. Name the two to use input and output.")
    if not table.names and any(len(row.cells) != 2 for row in table.rows):
        raise RequestError("The file does not have two columns. Name two of them input and output in its first line.")
    first, second = (0, 1) if inputs is None or outputs is None else (inputs, outputs)
    rows = table.rows
    if not table.names and len(rows) > 1 and labels and rows[0].cells[1] not in labels:
        # With labels, a first line of other names can be told from a row.
        rows = rows[1:] if all(row.cells[1] in labels for row in rows[1:]) else rows
    return tuple(_example(row, first, second, labels) for row in rows)


def read_inputs(text: str, format: AttachmentFormat, *, field: str | None = None) -> tuple[str, ...]:
    """Return one column of a file of `format` "csv", "tsv" or "jsonl", without empty cells.

    It is the one that `field` names, else the one with one of INPUT_NAMES, else the only one. Raises RequestError.
    """
    wanted = INPUT_NAMES if field is None else (field,)
    table = _read(text, format, (*wanted, *INPUT_NAMES, *OUTPUT_NAMES))
    column = _find(table.names, wanted)
    if field is not None and not table.names:
        raise RequestError(f"The first line of the file does not name its columns, so there is no {quote(field)}.")
    if column is None and field is not None:
        hint = suggest(field, table.names, f"the file has {_listed(table.names)}.")
        raise RequestError(f"There is no column {quote(field)}; {hint}")
    width = len(table.names) or max((len(row.cells) for row in table.rows), default=0)
    if column is None and width > 1:
        if not table.names:
            raise RequestError(f"The file has {width} columns. Name them in its first line, one of them input.")
        raise RequestError(f"The file has {_listed(table.names)}. Choose one with the option field.")
    cells = (row.cells[column or 0] if len(row.cells) > (column or 0) else "" for row in table.rows)
    return tuple(cell.strip() for cell in cells if cell.strip())


def _read(text: str, format: AttachmentFormat, known_names: Sequence[str]) -> _Table:
    """Return the table in `text`; a first line with one of `known_names` names the columns. Raises RequestError."""
    text = text.removeprefix("\ufeff")
    table = _read_json_lines(text) if format == "jsonl" else _read_separated(text, format, known_names)
    if not table.rows:
        raise RequestError("The file has no rows.")
    return table


def _find(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    folded = [" ".join(name.split()).casefold() for name in names]
    return next((folded.index(name.casefold()) for name in wanted if name.casefold() in folded), None)


def _listed(names: Sequence[str]) -> str:
    shown = [quote(name) for name in names[:_MAX_NAMES]]
    if len(names) > _MAX_NAMES:
        shown.append(f"{len(names) - _MAX_NAMES} more")
    return f"the column{'s' if len(shown) > 1 else ''} {list_words(shown)}"


def _read_separated(text: str, format: AttachmentFormat, known_names: Sequence[str]) -> _Table:
    try:
        rows = _split(text, "\t" if format == "tsv" else _delimiter(text), quoting=csv.QUOTE_MINIMAL)
    except RequestError:
        if format != "tsv":
            raise
        # Many programs write quotation marks in such files as they are.
        rows = _split(text, "\t", quoting=csv.QUOTE_NONE)
    names = rows[0].cells if rows else ()
    is_named = _find(names, known_names) is not None
    # Above two columns only names say which is which.
    return _Table(names, tuple(rows[1:])) if is_named or len(names) > 2 else _Table((), tuple(rows))


def _delimiter(text: str) -> str:
    """Return what separates the cells of the first line; many programs write semicolons, or tabs."""
    line = text.lstrip().partition("\n")[0]
    return max(",;\t", key=lambda delimiter: (line.count(delimiter), delimiter == ","))


def _split(text: str, delimiter: str, *, quoting: Literal[0, 3]) -> list[_Row]:
    csv.field_size_limit(_MAX_CELL_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows = []
    line = 1
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            if any(stripped):
                rows.append(_Row(line, stripped))
            line = reader.line_num + 1
    except csv.Error as e:
        raise RequestError(
            f'Line {line} has a quotation mark in the wrong place. Write it twice inside a quoted cell: "say ""yes""".'
        ) from e
    return rows


def _read_json_lines(text: str) -> _Table:
    rows: list[_Row] = []
    names: dict[str, None] = {}
    found: list[tuple[int, dict[str, str]]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise RequestError(f"Line {number} is not JSON; {_JSON_ROWS}.") from None
        if isinstance(value, str):
            value = {INPUT_NAMES[0]: value}
        if not isinstance(value, dict):
            raise RequestError(f"Line {number} is neither a JSON object nor a JSON string; {_JSON_ROWS}.")
        texts = {key: _text(one) for key, one in value.items()}
        names |= dict.fromkeys(texts)
        found.append((number, texts))
    rows = [_Row(number, tuple(texts.get(name, "") for name in names)) for number, texts in found]
    return _Table(tuple(names), tuple(rows))


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _example(row: _Row, first: int, second: int, labels: Sequence[str]) -> Example:
    cells = (*row.cells, *[""] * (max(first, second) + 1 - len(row.cells)))
    input, output = cells[first], cells[second]
    for name, cell in (("input", input), ("output", output)):
        if not cell:
            raise RequestError(f"Line {row.line} has no {name}.")
    check_label(output, labels, line=row.line)
    return Example(input, output)
