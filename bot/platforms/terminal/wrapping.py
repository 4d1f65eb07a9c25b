"""Styled text in rows that fit a width: broken at words, and inside a word only where it is longer than a row."""

import unicodedata
from typing import Final

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import split_lines
from prompt_toolkit.utils import get_cwidth

_TAB: Final = " " * 4
_JOINER: Final = "\u200d"

Row = StyleAndTextTuples


def wrap(fragments: StyleAndTextTuples, width: int, *, hang: int = 0) -> list[Row]:
    """Return the rows of styled text, each at most `width` cells and without a line break.

    The continuation of a line is indented like the line itself, and every row but the first by `hang` more cells.
    """
    rows: list[Row] = []
    tabless: StyleAndTextTuples = [(fragment[0], fragment[1].replace("\t", _TAB)) for fragment in fragments]
    for line in split_lines(tabless):
        text = "".join(fragment[1] for fragment in line)
        cursor = _Cursor(line)
        first = hang if rows and hang <= width // 2 else 0
        indent = hang + len(text) - len(text.lstrip(" "))
        indent = indent if indent <= width // 2 else 0
        for i, (start, end) in enumerate(_spans(text, max(1, width), first, indent)):
            margin = indent if i else first
            rows.append([*([("", " " * margin)] if margin else []), *cursor.take(start, end)])
    # A final line break ends the last line, and begins none.
    return rows[:-1] if len(rows) > 1 and not text else rows


def wrap_text(text: str, width: int, *, hang: int = 0) -> list[str]:
    """Return the rows of plain text as `wrap` does."""
    return ["".join(fragment[1] for fragment in row) for row in wrap([("", text)], width, hang=hang)]


def clip(text: str, width: int) -> str:
    """Return `text` as one line of at most `width` cells; a cut one ends in "…"."""
    text = " ".join(text.split())
    if get_cwidth(text) <= width:
        return text
    end, used = 0, 0
    while used + get_cwidth(text[end]) <= width - 1:
        used += get_cwidth(text[end])
        end += 1
    return text[:end] + "…"


class _Cursor:
    """Takes parts of a line of styled text, each after the one before: a long line has ten thousands of fragments."""

    def __init__(self, fragments: StyleAndTextTuples) -> None:
        self._fragments = fragments
        self._index = 0
        self._at = 0  # where the fragment `_index` begins in the line

    def take(self, start: int, end: int) -> Row:
        """Return the characters from `start`, not before the last end, to `end`."""
        row: Row = []
        while self._index < len(self._fragments):
            fragment = self._fragments[self._index]
            if part := fragment[1][max(0, start - self._at) : max(0, end - self._at)]:
                row.append((fragment[0], part))
            if self._at + len(fragment[1]) > end:
                break
            self._at += len(fragment[1])
            self._index += 1
        return row


def _spans(text: str, width: int, first: int, indent: int) -> list[tuple[int, int]]:
    """Return where each row of a line begins and ends, with `first` cells left free in the first and `indent` below.

    Spaces at a break are in neither row.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    while True:
        overflow = _overflow(text, start, width - (indent if spans else first))
        if overflow == len(text):
            spans.append((start, overflow))
            return spans
        cut = _last_break(text, start, overflow)
        end = start + len(text[start:cut].rstrip())
        spans.append((start, end if end > start else cut))
        start = cut
        while start < len(text) and text[start].isspace():
            start += 1
        if start == len(text):
            return spans


def _overflow(text: str, start: int, width: int) -> int:
    """Return the first character from `start` on that does not fit into `width` cells; at least one character does.

    Characters that a joiner connects stay together where a row has room for them.
    """
    if text.isascii():
        return min(len(text), start + max(1, width))
    used = 0
    for i in range(start, len(text)):
        used += get_cwidth(text[i])
        if used > width and i > start:
            first = i
            while first > start and (
                text[first - 1] == _JOINER or text[first] == _JOINER or not get_cwidth(text[first])
            ):
                first -= 1
            return first if first > start else i
    return len(text)


def _last_break(text: str, start: int, overflow: int) -> int:
    """Return the last place in `text[start:overflow]` to break at: a space, beside a wide character, or the end."""
    if text[overflow].isspace():
        return overflow
    for cut in range(overflow, start, -1):
        if not text[start:cut].strip():
            break  # an indented line is not broken in its indentation
        if text[cut - 1].isspace():
            return cut
        # Scripts of wide characters are broken anywhere, except before punctuation that closes something.
        is_wide = get_cwidth(text[cut - 1]) == 2 or get_cwidth(text[cut]) == 2
        closes = unicodedata.category(text[cut]) in ("Po", "Pe", "Pf")
        if is_wide and not closes and get_cwidth(text[cut]) and text[cut - 1] != _JOINER:
            return cut
    return overflow
