"""Blocks of a card as plain text: whole, for files; and as lines of a fixed-width font, readable on a phone."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from bot.core.bar_signs import bar_of
from bot.core.cards import Bars, Block, Choices, Contrast, Facts, Progress, Table, Text, TintedText, Verbatim
from bot.core.safe_text import cut_text

MAX_CODE_WIDTH: Final = 36
MAX_CELL: Final = 300
FIGURE: Final = re.compile(r"[-+−]?[\d.,]+(?:\s?(?:%|ms|s|bits|tokens|MiB))?|—")
_BAR_WIDTH: Final = 10


def plain_block(block: Block) -> str:
    """Return the whole `block` as plain text, for a file."""
    match block:
        case Text() | Verbatim():
            return block.text
        case Facts():
            return "\n".join(f"{name}: {value}" for name, value in block.items)
        case Table():
            return plain_table([block.columns, *block.rows])
        case Bars():
            items = [*block.items, *([(block.rest_name, block.rest)] if block.rest_name else [])]
            return plain_table([(f"{fraction:.1%}", name) for name, fraction in items])
        case TintedText():
            return "".join(piece for piece, _ in block.pieces)
        case Contrast():
            return "\n\n".join(plain_table([table.columns, *table.rows]) for table in block.tables)
        case Choices():
            headed = zip(block.heads, block.options, strict=True)
            return "\n\n".join([block.prompt, *(f"{head}: {block.prompt}{option}" for head, option in headed)])
        case Progress():
            return count_of(block)


def clip(text: str, limit: int = MAX_CELL) -> str:
    """Return `text` on one line, cut with an ellipsis if it is longer than `limit`."""
    text = " ".join(text.split())
    return text if len(text) <= limit else cut_text(text, limit - 1).rstrip() + "…"


def width_of(text: str) -> int | None:
    """Return how many columns of a fixed-width font `text` takes; None if that depends on the font."""
    for c in text:
        if c not in "—…·→⏎␣⇥█░" and (ord(c) > 0x24F or unicodedata.combining(c) or not c.isprintable()):
            return None
    return len(text)


def narrow_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Return a table as lines for a fixed-width font, None if it is too wide for a phone or its font is not fixed."""
    header = [columns] if any(columns) else []
    lines = [*header, *rows]
    widths = []
    for i in range(len(columns)):
        column = [width_of(line[i]) for line in lines]
        if None in column:
            return None
        widths.append(max(width or 0 for width in column))
    used = [i for i, width in enumerate(widths) if width]
    if sum(widths) + 2 * (len(used) - 1) > MAX_CODE_WIDTH:
        return None
    is_right = {i for i in used if i and all(FIGURE.fullmatch(row[i]) for row in rows)}
    text = "\n".join(
        "  ".join(line[i].rjust(widths[i]) if i in is_right else line[i].ljust(widths[i]) for i in used).rstrip()
        for line in lines
    )
    return text


def bar(fraction: float) -> str:
    """Return a bar for `fraction` (0-1), always of the same width."""
    return bar_of(fraction, _BAR_WIDTH).ljust(_BAR_WIDTH, "░")


def tail_of(text: str, limit: int) -> str:
    """Return the end of `text`, at most `limit` characters and an ellipsis, from a word on."""
    if len(text) <= limit:
        return text
    tail = text[-limit:]
    space = next((i for i, c in enumerate(tail[: limit // 2]) if c.isspace()), -1)
    return "…" + tail[space + 1 :]


def count_of(progress: Progress) -> str:
    if progress.num_total is None:
        return f"{progress.what} {progress.num_done:,}".strip() if progress.num_done else progress.what
    return f"{progress.what} {progress.num_done:,} of {progress.num_total:,}".strip()


def plain_table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("\t".join(" ".join(cell.split()) for cell in row) for row in rows)
