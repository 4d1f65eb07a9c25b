"""Splitting a long reply into pieces that fit a platform's limit."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bot.core.safe_text import is_inside_character

_FENCE: Final = re.compile(r"```(?:([\w+#.-]*)(?=\n))?")
_FENCE_AT_END: Final = re.compile(r"```[\w+#.-]*\s*\Z")
# Where to cut, best first: after a paragraph, a line, a sentence, a word.
_BREAKS: Final = tuple(re.compile(p) for p in (r"\n[^\S\n]*\n", r"\n", r"[.!?…][\"'”’)]*\s|[。！？]", r"\s"))
# A break that would leave the piece shorter than this share of the limit is skipped for the next kind of break.
_MIN_FILL: Final = 0.4


@dataclass(frozen=True, slots=True)
class _Fence:
    """A code block that is open at a cut; it is closed there and opened again with its language."""

    language: str

    @property
    def opening(self) -> str:
        return f"```{self.language}\n"


_CLOSING: Final = "\n```"


def split_text(text: str, limit: int, *, length: Callable[[str], int] = len) -> list[str]:
    """Return `text` in pieces of at most `limit`, measured by `length` in the platform's unit.

    `length` must not shrink when a text grows. Cuts are made after a paragraph, else after a line, a sentence, a word
    or a character; white space at a cut is dropped, except a code line's indentation. A code block (```) with a cut in
    it is closed and opened again. A blank text gives no piece. Raises ValueError if one character is above the limit.
    """
    pieces: list[str] = []
    rest = text.rstrip()
    fence: _Fence | None = None
    while rest:
        piece, rest, fence = _cut_piece(rest, fence, limit, length)
        if fence and rest.lstrip("\n").startswith("```"):
            # The block is already closed at the cut; opening it again would show an empty one.
            rest, fence = rest.lstrip("\n")[3:].lstrip(), None
        if piece.strip():
            pieces.append(piece)
    return pieces


def _cut_piece(
    rest: str, fence: _Fence | None, limit: int, length: Callable[[str], int]
) -> tuple[str, str, _Fence | None]:
    """Return the next piece, the rest, and the code block that is open between them."""
    opening = fence.opening if fence else ""
    whole = opening + rest + (_CLOSING if _fence_after(rest, fence) else "")
    if length(whole) <= limit:
        return whole, "", None
    can_balance = length(opening + _CLOSING) * 2 <= limit
    if not can_balance:
        opening, fence = "", None
    has_fence = can_balance and (fence is not None or "```" in rest)
    end = _find_fitting(rest, lambda part: length(opening + part + (_CLOSING if has_fence else "")) <= limit)
    if end == 0:
        raise ValueError(f"a limit of {limit} is below the length of one character, {length(rest[0])}")
    cut = _find_cut(rest, end)
    if has_fence and (opened := _FENCE_AT_END.search(rest, 0, cut)) and opened.start() > 0:
        # A block with no content in this piece starts in the next one.
        cut = opened.start()
    head, tail = rest[:cut].rstrip(), rest[cut:]
    fence = _fence_after(rest[:cut], fence) if can_balance else None
    if fence is None:
        return opening + head, tail.lstrip(), None
    return opening + head + _CLOSING, tail.removeprefix("\n"), fence


def _find_fitting(text: str, is_fitting: Callable[[str], bool]) -> int:
    """Return the length of the longest start of `text` that fits."""
    high = 1
    while high < len(text) and is_fitting(text[:high]):
        high *= 2
    low, high = 0, min(high, len(text))
    while low < high:
        middle = (low + high + 1) // 2
        if is_fitting(text[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _find_cut(text: str, end: int) -> int:
    """Return where to cut at or before `end`, above 0."""
    for pattern in _BREAKS:
        # One character more is searched: white space right after a full piece is a good place too.
        ends = [found.end() for found in pattern.finditer(text, 0, end + 1) if found.start() <= end]
        if ends and ends[-1] >= end * _MIN_FILL and text[: min(ends[-1], end)].strip():
            return min(ends[-1], end)
    cut = end
    while cut > 0 and (is_inside_character(text, cut) or text[cut - 1 : cut + 1] == "``"):
        cut -= 1
    return cut or end


def _fence_after(text: str, fence: _Fence | None) -> _Fence | None:
    """Return the code block that is open after `text`, given the one open before it."""
    for found in _FENCE.finditer(text):
        fence = None if fence else _Fence(found[1] or "")
    return fence
