"""Examples and tests as people type them: one row per line, `input => output`."""

import re
from collections.abc import Sequence
from typing import Final

from bot.core.suggesting import suggest
from bot.core.templates.template import Example
from bot.core.wording import list_words, quote
from bot.errors import RequestError

ARROW: Final = "=>"
# The arrow splits a line only if it has white space on both sides: a=>b needs no escaping.
_ARROW: Final = re.compile(r"(?<!\S)=>(?!\S)")
_ARROW_TO_ESCAPE: Final = re.compile(r"(?<!\S)(?=\\*=>(?!\S))")
_ESCAPED_ARROW: Final = re.compile(r"(?<!\S)\\(?=\\*=>(?!\S))")
_LINE_BREAK: Final = re.compile(r"[\n\r]")


def fits_line(row: Example) -> bool:
    """Say whether `row` can be written as a line and read back: no line breaks, nothing empty, no outer white space."""
    return all(text and text == text.strip() and not _LINE_BREAK.search(text) for text in (row.input, row.output))


def format_row(row: Example) -> str:
    """Return `row` as `input => output`, with each arrow in the input between white space as `\\=>`.

    Only a row that `fits_line` is parsed back unchanged.
    """
    return f"{_ARROW_TO_ESCAPE.sub(lambda _: chr(92), row.input)} {ARROW} {row.output}"


def format_rows(rows: Sequence[Example]) -> str:
    """Return `rows` as lines for a form. Raises RequestError that numbers the rows that only a file can hold."""
    unfit = [str(i) for i, row in enumerate(rows, start=1) if not fits_line(row)]
    if unfit:
        listed = ", ".join(unfit[:10]) + (", …" if len(unfit) > 10 else "")
        which = f"Row {listed} has" if len(unfit) == 1 else f"Rows {listed} have"
        problem = f"{which} line breaks, or white space at the start or end"
        raise RequestError(f"{problem}; change {'it' if len(unfit) == 1 else 'them'} in the template's file instead.")
    return "\n".join(format_row(row) for row in rows)


def parse_rows(text: str, *, labels: Sequence[str] = ()) -> tuple[Example, ...]:
    """Return the rows in the lines of `text`; empty lines and white space around a part are dropped.

    With `labels` each output must be one of them. Raises RequestError that names the first wrong line.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return tuple(_parse_row(line.strip(), i, labels) for i, line in enumerate(lines, start=1) if line.strip())


def _parse_row(line: str, number: int, labels: Sequence[str]) -> Example:
    found = _ARROW.search(line)
    if found is None:
        if ARROW in line:
            raise RequestError(f"Line {number} needs white space on both sides of {ARROW}.")
        raise RequestError(f"Line {number} has no {ARROW}; write it as input {ARROW} output.")
    input = _ESCAPED_ARROW.sub("", line[: found.start()].rstrip())
    output = line[found.end() :].lstrip()
    if not input:
        raise RequestError(f"Line {number} has no input before the {ARROW}.")
    if not output:
        raise RequestError(f"Line {number} has no output after the {ARROW}.")
    check_label(output, labels, line=number)
    return Example(input, output)


def check_label(output: str, labels: Sequence[str], *, line: int) -> None:
    """Raise RequestError if `output`, in the given line, is none of `labels`; without labels every output is valid."""
    if labels and output not in labels:
        hint = suggest(output, labels, f"the labels are {list_words(labels)}.")
        raise RequestError(f"Line {line} has the output {quote(output)}, which is not a label; {hint}")
