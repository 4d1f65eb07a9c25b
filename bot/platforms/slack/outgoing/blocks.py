"""The blocks of a card as Block Kit, each within a given number of characters.

Only the model's words are Markdown; all other words are rich text, in which nothing is markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.core.cards import Bars, Block, Choices, Contrast, Facts, Progress, Table, Text, TintedText, Verbatim
from bot.core.safe_text import clean_model_text, cut_text
from bot.core.splitting import split_text
from bot.platforms.shared.plain_text import FIGURE, MAX_CELL, bar, clip, count_of, narrow_table, tail_of
from bot.platforms.slack.outgoing.escaping import show_model_text
from bot.platforms.slack.outgoing.rich_text import Json, header, paragraph, preformatted, quiet, words

# Slack counts the characters of all blocks of a message together, and refuses about 13,000 of them.
MAX_MARKDOWN: Final = 12_000
_MAX_TITLE: Final = 150
_MAX_FACT: Final = 120
_MAX_BAR_NAME: Final = 60
_MAX_WORDS: Final = 20
_MAX_QUIET: Final = 2_000
_MAX_ROWS: Final = 100
_MAX_COLUMNS: Final = 20
_MAX_TAIL: Final = 60
_MAX_WHOLE_PROMPT: Final = 90
_SURPRISING_BITS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A block of a card as blocks of Slack; `is_whole` says that nothing was left out."""

    blocks: tuple[Json, ...] = ()
    is_whole: bool = True


def show_block(block: Block, room: int, *, is_title: bool = False, allows_table: bool = True) -> Shown:
    """Return `block` in about `room` characters. `is_title` says that it is the first of several blocks.

    Without `allows_table` a table is shown as lines: Slack allows one table a message, and none in a view.
    """
    match block:
        case Text():
            return _show_text(block, room, is_title=is_title)
        case Facts():
            return _show_facts(block, room, is_title=is_title)
        case Table():
            return _show_table(block, room, allows_table=allows_table)
        case Bars():
            return _show_bars(block, room)
        case TintedText():
            return _show_tinted(block, room)
        case Contrast():
            share = room // max(1, len(block.tables))
            shown = [_show_table(table, share, allows_table=False) for table in block.tables]
            return Shown(tuple(one for each in shown for one in each.blocks), all(each.is_whole for each in shown))
        case Choices():
            return _show_choices(block, room)
        case Verbatim():
            return _show_verbatim(block.text, room)
        case Progress():
            line, is_whole = cut(progress_line(block), min(room, _MAX_QUIET))
            return Shown((preformatted(line) if block.num_total else quiet(line),), is_whole)


def progress_line(progress: Progress) -> str:
    """Return what is being done and how much of it is done, on a line."""
    if not progress.num_total:
        return f"{count_of(progress)} …"
    fraction = min(1.0, progress.num_done / progress.num_total)
    return f"{bar(fraction)} {fraction:>4.0%} {count_of(progress)}"


def cut(text: str, room: int) -> tuple[str, bool]:
    """Return `text` cut at a word to at most `room` characters, and whether it is whole."""
    if len(text) <= room:
        return text, True
    pieces = split_text(text[: room + 1], max(1, room - 2))
    piece = pieces[0] if pieces else cut_text(text, max(0, room - 2))
    # Behind a fence on the same line it would keep the code block open.
    return piece + ("\n…" if piece.endswith("```") else " …"), False


def _show_text(text: Text, room: int, *, is_title: bool) -> Shown:
    if text.is_blank:
        return Shown()
    if text.is_model_text:
        return _show_model_text(text.text.rstrip(), min(room, MAX_MARKDOWN))
    if text.is_quiet:
        shown, is_whole = cut(text.text.strip(), min(room, _MAX_QUIET))
        return Shown((quiet(shown),), is_whole)
    if is_title and len(text.text) <= _MAX_TITLE and "\n" not in text.text:
        return Shown((header(text.text),))
    shown, is_whole = cut(text.text.strip("\n"), room)
    return Shown((paragraph([words(shown)]),), is_whole)


def _show_model_text(text: str, room: int) -> Shown:
    # Escapes make a text longer, by how much depends on where it is cut.
    for share in (1.0, 0.8, 0.5, 0.15):
        shown, is_whole = cut(text, int(room * share))
        markdown = show_model_text(shown)
        if len(markdown) <= room:
            return Shown(({"type": "markdown", "text": markdown},), is_whole)
    return Shown((quiet("…"),), is_whole=False)


def _show_facts(facts: Facts, room: int, *, is_title: bool) -> Shown:
    items = list(facts.items)
    blocks: list[Json] = []
    if is_title and len(items) > 1 and FIGURE.fullmatch(items[0][1]) and sum(map(len, items[0])) < _MAX_TITLE:
        name, value = items.pop(0)
        blocks.append(header(f"{value} {name}"))
    elements: list[Json] = []
    is_whole = True
    for number, (name, value) in enumerate(items):
        shown = clip(value, _MAX_FACT)
        is_whole = is_whole and len(value) <= _MAX_FACT
        room -= len(name) + len(shown) + 4
        if room < 0:
            return Shown((*blocks, paragraph([*elements, words(" …")])), is_whole=False)
        elements += [words(f"{' · ' if number else ''}{name}\u00a0"), words(shown, is_bold=True)]
    return Shown((*blocks, paragraph(elements)) if elements else tuple(blocks), is_whole)


def _show_table(table: Table, room: int, *, allows_table: bool) -> Shown:
    if not table.rows:
        return Shown((quiet("nothing here yet"),))
    columns = [clip(name) for name in table.columns]
    rows = [tuple(clip(clean_model_text(cell[: 8 * MAX_CELL])) for cell in row) for row in table.rows]
    is_clipped = any(len(cell) > MAX_CELL for row in table.rows for cell in row)
    narrow = narrow_table(columns, rows)
    if narrow and len(narrow) <= room:
        return Shown((preformatted(narrow),))
    kept, num_characters = [], 0
    for row in rows[: _MAX_ROWS - 1]:
        num_characters += sum(map(len, row)) + 2 * len(row)
        if num_characters > room:
            break
        kept.append(row)
    missing = len(rows) - len(kept)
    if allows_table and len(columns) <= _MAX_COLUMNS:
        blocks: tuple[Json, ...] = (_native_table(columns, kept),) if kept else ()
    else:
        is_matrix = all(FIGURE.fullmatch(cell) for row in kept for cell in row[1:])
        blocks = (quiet(columns[0]),) if is_matrix and columns[0].strip() and kept else ()
        blocks += tuple(_row_lines(columns, row) for row in kept)
    if missing:
        blocks += (quiet(f"… and {missing} more {'rows' if missing > 1 else 'row'}"),)
    return Shown(blocks, not missing and not is_clipped)


def _native_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Json:
    lines = [columns, *rows] if any(columns) else list(rows)
    is_right = [i > 0 and all(FIGURE.fullmatch(row[i]) for row in rows) for i in range(len(columns))]
    settings = [{"align": "right" if right else "left", "is_wrapped": not right} for right in is_right]
    cells = [[{"type": "raw_text", "text": cell or "\u00a0"} for cell in line] for line in lines]
    return {"type": "table", "rows": cells, "column_settings": settings}


def _row_lines(columns: Sequence[str], row: Sequence[str]) -> Json:
    *named, last = [(name, cell) for name, cell in zip(columns[1:], row[1:], strict=True) if cell] or [("", "")]
    # What a row is about is a sentence of its own, on the next line.
    is_sentence = len(named) > 1 and len(last[1]) > _MAX_WORDS
    parts = [f"{name}: {cell}" if name else cell for name, cell in (named if is_sentence else [*named, last]) if cell]
    rest = " · ".join(parts) + (f"\n{last[1]}" if is_sentence else "")
    return paragraph([words(row[0], is_bold=True), *([words(f"  {rest}")] if rest else [])])


def _show_bars(bars: Bars, room: int) -> Shown:
    # A rest may be nearly everything: beside it the bars are relative to the longest one, without it to the whole.
    scale = (max((fraction for _, fraction in bars.items), default=0.0) or 1.0) if bars.rest_name else 1.0
    lines = [
        f"{bar(fraction / scale)} {fraction:>6.1%} {clip(clean_model_text(name), _MAX_BAR_NAME)}"
        for name, fraction in bars.items
    ]
    kept, is_whole = cut("\n".join(lines), room)
    is_whole = is_whole and all(len(name) <= _MAX_BAR_NAME for name, _ in bars.items)
    blocks = (preformatted(kept),) if lines else ()
    return Shown((*blocks, quiet(f"{bars.rest:.1%} {clip(bars.rest_name)}")) if bars.rest_name else blocks, is_whole)


def _show_tinted(tinted: TintedText, room: int) -> Shown:
    """Return the text with its most surprising words in bold, for a card without its picture."""
    elements: list[Json] = []
    for piece, bits in tinted.pieces:
        is_bold = bits is not None and bits >= _SURPRISING_BITS
        room -= len(piece)
        if room < 0:
            return Shown((paragraph([*elements, words(" …")]),), is_whole=False)
        if elements and ("style" in elements[-1]) == is_bold:
            elements[-1]["text"] += piece
        elif piece:
            elements.append(words(piece, is_bold=is_bold))
    return Shown((paragraph(elements),) if elements else ())


def _show_choices(choices: Choices, room: int) -> Shown:
    """Return the numbered continuations, each with the asker's last words plain and the new words bold."""
    if not choices.options:
        shown, is_whole = cut(choices.prompt, room)
        return Shown((paragraph([words(shown)]),), is_whole)
    prompt = choices.prompt if len(choices.prompt) <= _MAX_WHOLE_PROMPT else tail_of(choices.prompt, _MAX_TAIL)
    share = max(40, room // len(choices.options) - len(prompt))
    blocks: list[Json] = []
    is_whole = True
    for head, option in zip(choices.heads, choices.options, strict=True):
        new, fits = cut(clean_model_text(option), share)
        is_whole = is_whole and fits
        tail = words(new if new.strip() else "…", is_bold=True)
        blocks.append(paragraph([words(head, is_code=True), words(f" {prompt}"), tail]))
    return Shown(tuple(blocks), is_whole)


def _show_verbatim(text: str, room: int) -> Shown:
    if not text.strip():
        return Shown((quiet("(empty)"),))
    shown, is_whole = cut(text.rstrip(), room)
    return Shown((preformatted(shown),), is_whole)
