"""Tables for a terminal: in columns that fit the width, or row by row where the columns would be too narrow."""

from collections.abc import Sequence
from typing import Final

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.utils import get_cwidth

from bot.core.cards import Table
from bot.platforms.terminal.wrapping import wrap_text

QUIET_STYLE: Final = "fg:#888888"
_GAP: Final = "  "
# A column whose cells need more is not made narrower than this.
_MIN_COLUMN: Final = 20
# Where nothing says how wide a row may be, no column is made wider than this: a longer cell moves the rest of its row.
_MAX_CELL: Final = 60


def pad(text: str, width: int) -> str:
    """Return `text` with spaces up to `width` cells."""
    return text + " " * max(0, width - get_cwidth(text))


def render_table(table: Table, width: int | None) -> StyleAndTextTuples:
    """Return the table as styled lines of at most `width` cells; None: of any length, each row on one line."""
    rows = [[" ".join(cell.split()) for cell in row] for row in table.rows]
    needed = [max([get_cwidth(name), *(get_cwidth(row[i]) for row in rows)]) for i, name in enumerate(table.columns)]
    if width is None:
        padded = [
            [pad(cell, min(needed[i], _MAX_CELL)) for i, cell in enumerate(cells)] for cells in (table.columns, *rows)
        ]
        lines = [_GAP.join(row).rstrip() + "\n" for row in padded]
        head = lines[:1] if any(table.columns) else []
        return [*((QUIET_STYLE, line) for line in head), *(("", line) for line in lines[1:])]
    words = [_longest_word([name, *(row[i] for row in rows)]) for i, name in enumerate(table.columns)]
    widths = _fit(needed, words, width - len(_GAP) * (len(needed) - 1))
    if widths is None:
        # Cells of a pair have no labels, so the names of both columns are shown once, as a pair too.
        names = _stacked(("", ""), table.columns, width) if len(table.columns) == 2 and all(table.columns) else []
        stacked = [line for row in rows for line in _stacked(table.columns, row, width)]
        return [*((QUIET_STYLE, name[1]) for name in names), *stacked]
    head = _lines(table.columns, widths) if any(table.columns) else []
    return [*((QUIET_STYLE, line) for line in head), *(("", line) for row in rows for line in _lines(row, widths))]


def _fit(needed: Sequence[int], words: Sequence[int], room: int) -> list[int] | None:
    """Return the columns' widths, together at most `room`: narrow columns keep theirs, wide ones share the rest evenly.

    `words` are the widths of the columns' longest words, which fit into their columns unless one takes half of `room`.
    Return None where a wide column would get too little.
    """
    least = [min(all, max(_MIN_COLUMN, min(word, room // 2))) for all, word in zip(needed, words, strict=True)]
    widths = list(needed)
    wide = list(range(len(needed)))
    while wide and sum(widths) > room:
        share = (room - sum(width for i, width in enumerate(widths) if i not in wide)) // len(wide)
        if settled := [i for i in wide if needed[i] <= share] or [i for i in wide if least[i] > share]:
            for i in settled:
                widths[i] = min(needed[i], max(share, least[i]))
                wide.remove(i)
            continue
        for i in wide:
            widths[i] = share
        widths[wide[-1]] += room - sum(widths)
    return widths if sum(widths) <= room else None


def _longest_word(cells: Sequence[str]) -> int:
    return max((get_cwidth(word) for cell in cells for word in cell.split()), default=0)


def _lines(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return one row of the table as lines."""
    columns = [wrap_text(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for i in range(max(map(len, columns), default=0)):
        parts = [
            pad(column[i] if i < len(column) else "", width) for column, width in zip(columns, widths, strict=True)
        ]
        lines.append(_GAP.join(parts).rstrip() + "\n")
    return lines


def _stacked(columns: Sequence[str], cells: Sequence[str], width: int) -> StyleAndTextTuples:
    """Return one row as a heading, its first cell, with the other cells below it."""
    lines: StyleAndTextTuples = [("", f"{line}\n") for line in wrap_text(cells[0], width, hang=len(_GAP))]
    for name, cell in list(zip(columns, cells, strict=True))[1:]:
        if cell:
            label = f"{name}: " if name and len(cells) > 2 else ""
            lines += [("", f"{line}\n") for line in wrap_text(f"{_GAP}{label}{cell}", width)]
    return lines
