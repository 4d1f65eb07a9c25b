"""Rich text, in which Slack takes every character literally: no mention, link or markup can hide in it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from bot.core.safe_text import cut_text
from bot.core.wording import shorten

Json = dict[str, Any]

_EMPTY: Final = "\u00a0"
# Slack refuses an element of more than 4,000 characters.
_MAX_ELEMENT: Final = 3_000
_MAX_QUIET: Final = 2_000
_MAX_HEADER: Final = 150


def words(text: str, *, is_bold: bool = False, is_code: bool = False) -> Json:
    """Return an element that shows `text`; Slack refuses an empty one, so that is a space."""
    element: Json = {"type": "text", "text": text or _EMPTY}
    style = {name: True for name, is_set in (("bold", is_bold), ("code", is_code)) if is_set}
    return {**element, "style": style} if style else element


def paragraph(elements: Sequence[Json]) -> Json:
    """Return a block with one paragraph."""
    return {"type": "rich_text", "elements": [_part("rich_text_section", elements)]}


def preformatted(text: str) -> Json:
    """Return a block with `text` in a fixed-width font."""
    return {"type": "rich_text", "elements": [_part("rich_text_preformatted", [words(text)])]}


def quiet(text: str) -> Json:
    """Return a block with `text` in small grey letters, cut to 2,000 characters."""
    return {"type": "context", "elements": [plain_text(text, _MAX_QUIET)]}


def header(text: str) -> Json:
    """Return a block with `text` in large letters, cut to 150 characters."""
    return {"type": "header", "text": plain_text(text, _MAX_HEADER)}


def plain_text(text: str, limit: int, *, empty: str = _EMPTY) -> Json:
    """Return `text` without any markup, cut to `limit` characters; `empty` stands for no text, which Slack refuses."""
    return {"type": "plain_text", "text": _shortened(text, limit) or empty, "emoji": False}


def _shortened(text: str, limit: int) -> str:
    """Return `text` cut to `limit` characters, at a word if there is one near the end."""
    if len(text) <= limit:
        return text
    cut = shorten(text, limit).removesuffix("…")
    words = cut.rpartition(" ")[0].rstrip(" ,;:·–-")
    return f"{words if 2 * len(words) > len(cut) else cut}…"


def label(text: str, limit: int) -> Json:
    """Return `text` on one line, for a button, an option, a field or a title."""
    return plain_text(" ".join(text.split()), limit, empty="—")


def _part(kind: str, elements: Sequence[Json]) -> Json:
    return {"type": kind, "elements": [piece for element in elements for piece in _pieces(element)]}


def _pieces(element: Json) -> Iterator[Json]:
    """Yield `element` in as many elements as Slack needs; they look like one."""
    rest = str(element["text"])
    while len(rest) > _MAX_ELEMENT:
        piece = cut_text(rest, _MAX_ELEMENT)
        yield {**element, "text": piece}
        rest = rest[len(piece) :]
    yield {**element, "text": rest}
