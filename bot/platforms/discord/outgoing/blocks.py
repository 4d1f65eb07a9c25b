"""The blocks of a card as Discord's markdown, readable on a phone, each within a given number of UTF-16 units."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bot.core.cards import Bars, Block, Choices, Contrast, Facts, Progress, Table, Text, TintedText, Verbatim
from bot.core.safe_text import clean_model_text, cut_text
from bot.core.splitting import split_text
from bot.platforms.discord.outgoing.safe_markdown import (
    bold,
    code_block,
    code_span,
    escape_line,
    escape_text,
    show_model_text,
    utf16_length,
)
from bot.platforms.shared.plain_text import FIGURE, MAX_CELL, bar, clip, count_of, narrow_table, tail_of

GAP: Final = "\x1d"
_MAX_CLEANED: Final = 8 * MAX_CELL
MAX_TAIL: Final = 60
MAX_WHOLE_PROMPT: Final = 90
_SHORT_CELL: Final = 16
_NOTHING: Final = "—"
_SHORT_SECOND_CELL: Final = 40
_SURPRISING_BITS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A block's markdown; `is_whole` says that nothing was left out. `GAP` separates choices."""

    text: str
    is_whole: bool = True


def show_block(block: Block, room: int, *, is_title: bool = False) -> Shown:
    """Return `block` in at most `room` UTF-16 units. `is_title` says that it is the first of several blocks."""
    match block:
        case Text():
            return _show_text(block, room, is_title=is_title)
        case Facts():
            return _fit_lines([_facts(block, is_title=is_title)], room)
        case Table():
            return _show_table(block, room)
        case Bars():
            return _fit_lines(_bar_lines(block), room)
        case TintedText():
            return _show_tinted(block, room)
        case Contrast():
            return _show_tables(block.tables, room)
        case Choices():
            return _show_choices(block, room)
        case Verbatim():
            return _show_verbatim(block.text, room)
        case Progress():
            return _fit_lines([_progress(block)], room)


def _fit_lines(lines: Sequence[str], room: int, *, what: str = "lines") -> Shown:
    """Return as many lines as fit, and a last line with the number of missing ones."""
    text = "\n".join(lines)
    if utf16_length(text) <= room:
        return Shown(text)
    kept: list[str] = []
    left = room - len(f"\n-# … and {len(lines)} more {what}")
    for line in lines:
        left -= utf16_length(line) + 1
        if left < 0:
            break
        kept.append(line)
    num_missing = len(lines) - len(kept)
    kept.append(f"-# … and {num_missing} more {what if num_missing > 1 else what.removesuffix('s')}")
    return Shown("\n".join(kept), is_whole=False)


def _fit(text: str, room: int, show: Callable[[str], str]) -> Shown:
    """Return the longest start of `text` whose markdown by `show` fits."""
    if len(text) <= room and utf16_length(whole := show(text)) <= room:
        return Shown(whole)
    size = room
    while size > 0:
        shown = show(cut_text(text, size).rstrip() + " …")
        if (length := utf16_length(shown)) <= room:
            return Shown(shown, is_whole=False)
        size = min(size - 1, size * room // length)
    return Shown("…", is_whole=False)


def show_text_whole(text: Text) -> str:
    """Return a paragraph as markdown."""
    if text.is_model_text:
        return show_model_text(text.text)
    if text.is_quiet:
        return quiet(escape_text(text.text))
    return escape_text(text.text)


def quiet(text: str) -> str:
    """Return escaped text as small lines."""
    return "\n".join(f"-# {line.strip()}" if line.strip() else "" for line in text.split("\n"))


def _show_text(text: Text, room: int, *, is_title: bool) -> Shown:
    if is_title and not text.is_model_text and not text.is_quiet and len(text.text) <= 120 and "\n" not in text.text:
        return Shown(f"### {escape_line(text.text)}")

    def show(part: str) -> str:
        return show_text_whole(Text(part, text.is_model_text, text.is_quiet))

    # Markdown is never shorter than its text, so the rest of a very long text can't fit and is not escaped at all.
    start = text.text[: room + 1]
    if start == text.text and utf16_length(whole := show(text.text)) <= room:
        return Shown(whole)
    for share in (0.9, 0.5, 0.2):
        pieces = split_text(start, max(20, int(room * share)), length=lambda part: utf16_length(show(part)))
        shown = show(pieces[0] + " …") if pieces else "…"
        if utf16_length(shown) <= room:
            return Shown(shown, is_whole=False)
    return _fit(text.text, room, escape_text)


def _facts(facts: Facts, *, is_title: bool) -> str:
    items = list(facts.items)
    lines = []
    if is_title and items and len(items) > 1 and FIGURE.fullmatch(items[0][1]):
        name, value = items.pop(0)
        lines.append(f"## {escape_line(value)} {escape_line(name)}")
    pairs = [f"{escape_line(name)}\u00a0{bold(clip(value, 120))}" for name, value in items]
    lines.append(" · ".join(pairs))
    return "\n".join(lines)


def _show_table(table: Table, room: int) -> Shown:
    # Cut before it is cleaned: a cell may hold a text of a quarter of a million characters.
    rows = [tuple(clip(clean_model_text(cell[:_MAX_CLEANED])) for cell in row) for row in table.rows]
    is_clipped = any(len(cell) > MAX_CELL for row in table.rows for cell in row)
    if not rows:
        return Shown("-# nothing here yet")
    if (narrow := narrow_table(table.columns, rows)) and utf16_length(text := code_block(narrow)) <= room:
        return Shown(text)
    lines = _table_list(table.columns, rows)
    shown = _fit_lines(lines, room, what="rows")
    return Shown(shown.text, shown.is_whole and not is_clipped)


def _show_tables(tables: Sequence[Table], room: int) -> Shown:
    shown = [_show_table(table, max(40, room // len(tables) - 1)) for table in tables]
    return Shown("\n".join(one.text for one in shown), all(one.is_whole for one in shown))


def _table_list(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as a list: the first cell of a row in bold, short cells beside it, the others small and below.

    The cells of a row stay in the order of the columns; figures, which have names, are last.
    """
    kinds = [_column_kind(columns, rows, i) for i in range(len(columns))]
    is_pair = len(columns) == 2
    captions = [name for name, kind in zip(columns, kinds, strict=True) if name and (is_pair or kind != "figure")]
    is_headed = len(captions) > 1 or (columns[0] != "" and not is_pair)
    lines = [f"-# {escape_line(' · '.join(captions))}"] if is_headed else []
    if is_pair:
        dash = " " if columns[0] == "" else " — "
        return lines + [f"{bold(first)}{dash if second else ''}{escape_line(second)}" for first, second in rows]
    for row in rows:
        beside = [bold(row[0])]
        below: list[list[str]] = [[]]
        cells = [(i, cell) for i, cell in enumerate(row) if i and kinds[i] != "figure"]
        while cells and not cells[-1][1]:
            cells.pop()
        for i, cell in cells:
            is_short = len(cell) <= (_SHORT_SECOND_CELL if i == 1 else _SHORT_CELL)
            fits_beside = kinds[i] == "short" or (is_short and i < len(columns) - 1) or (i == 1 and columns[0] == "")
            # A cell that is left out would give its place to the next one.
            shown = escape_line(cell) or _NOTHING
            if fits_beside and not below[-1]:
                beside.append(shown)
            elif is_short:
                below[-1].append(shown)
            else:
                below.append([shown])
        if columns[0] == "":  # a number or letter that counts the rows
            beside[:2] = [" ".join(beside[:2])]
        named = [(columns[i], cell) for i, cell in enumerate(row) if cell and kinds[i] == "figure"]
        below.append([f"{escape_line(name)} {escape_line(cell)}".strip() for name, cell in named])
        lines.append("\n".join([" · ".join(beside), *(f"-# {' · '.join(line)}" for line in below if line)]))
    return lines


def _column_kind(columns: Sequence[str], rows: Sequence[Sequence[str]], i: int) -> str:
    cells = [row[i] for row in rows]
    if i and columns[i] and all(re.fullmatch(r"[-+−]?[\d.,]+%?|—", cell) for cell in cells):
        return "figure"
    limit = _SHORT_SECOND_CELL if i == 1 else _SHORT_CELL
    return "short" if all(len(cell) <= limit for cell in cells) else "long"


def _bar_lines(bars: Bars) -> list[str]:
    """Return one line for each bar: the bar first, so that names of any script and length stay aligned."""
    # A rest may be nearly everything: beside it the bars are relative to the longest one, without it to the whole.
    scale = (max((fraction for _, fraction in bars.items), default=0.0) or 1.0) if bars.rest_name else 1.0
    lines = []
    for name, fraction in bars.items:
        shown = clip(clean_model_text(name), 60)
        lines.append(f"`{bar(fraction / scale)} {fraction:>6.1%}` {bold(shown)}")
    if bars.rest_name:
        lines.append(f"-# {bars.rest:.1%} {escape_line(bars.rest_name)}")
    return lines


def _show_tinted(tinted: TintedText, room: int) -> Shown:
    """Return the text with its most surprising words in bold, for a card without its picture.

    The first word is not: its bits are those of the text's start.
    """
    words = []
    left = room - 2
    first = next((at for at, (piece, _) in enumerate(tinted.pieces) if piece.strip()), None)
    for at, (piece, bits) in enumerate(tinted.pieces):
        is_bold = bits is not None and bits >= _SURPRISING_BITS and at != first
        words.append(bold(piece) if is_bold else escape_text(piece))
        left -= utf16_length(words[-1])
        if left < 0:
            return Shown("".join(words[:-1]) + " …", is_whole=False)
    return Shown("".join(words))


def _show_choices(choices: Choices, room: int) -> Shown:
    """Return the numbered continuations, each with the asker's last words plain and the new words bold."""
    # A prompt that has grown holds the model's words too.
    escape = partial(escape_text, keeps_links=False)
    if not choices.options:
        return _fit(choices.prompt, room, escape)
    prompt = choices.prompt
    tail = prompt if len(prompt) <= MAX_WHOLE_PROMPT else tail_of(prompt, MAX_TAIL)
    share = room // len(choices.options) - 1
    shown = []
    is_whole = True
    for name, option in zip(choices.heads, choices.options, strict=True):
        head = f"{code_span(name)} {escape(tail.replace(GAP, ' '))}"
        fitted = _fit(clean_model_text(option), max(40, share - utf16_length(head)), bold)
        if not option.strip():
            fitted = Shown("…")
        shown.append(head + fitted.text)
        is_whole = is_whole and fitted.is_whole
    text = GAP.join(shown)
    return Shown(text, is_whole) if utf16_length(text) <= room else Shown("…", is_whole=False)


def _show_verbatim(text: str, room: int) -> Shown:
    if not text.strip():
        return Shown("-# (empty)")
    shown = _fit(text.rstrip(), room, code_block)
    # Broken code fences change the text, so the exact text goes into a file.
    return Shown(shown.text, shown.is_whole and "``" not in text)


def _progress(progress: Progress) -> str:
    if not progress.num_total:
        return f"{escape_line(count_of(progress))} …"
    fraction = min(1.0, progress.num_done / progress.num_total)
    count = f"{progress.num_done:,} of {progress.num_total:,}"
    return f"{escape_line(progress.what)}\n`{bar(fraction)} {fraction:>4.0%}` {count}"
