"""What the views of a tree have in common: numbered entries, pages of a select, and texts cut to a line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from bot.core.cards import Block, Button, Select, SelectOption
from bot.core.safe_text import clean_model_text
from bot.core.token_names import with_signs
from bot.services.completions import OPTIONS_VIEW, View

PICK: Final = "pick"  # the action of every select here
MAX_SHOWN: Final = 25  # entries on a page; with more pages one of them turns the page
MORE: Final = Button("more", "More")
BACK: Final = Button("back", "Back")
NOTHING_THERE: Final = "There is nothing with that number here."

_PAGE: Final = ":"
_NUMBER: Final = "#"
_MAX_CONTEXT: Final = 40
_MAX_LOOKED_AT: Final = 200  # characters; a text may have hundreds of thousands


@dataclass(frozen=True, slots=True)
class Shown:
    """What a view shows of the tree, without the card around it."""

    blocks: tuple[Block, ...]
    buttons: tuple[Button, ...]
    selects: tuple[Select, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


class _Entry(Protocol):
    @property
    def number(self) -> int:
        """Return its number in the list."""

    @property
    def value(self) -> str:
        """Return what a select's option for it carries."""


_EntryT = TypeVar("_EntryT", bound=_Entry)


def named_by_number(number: int) -> str:
    """Return the value that stands for the entry with a typed number."""
    return f"{_NUMBER}{number}"


def page_of(value: str) -> int | None:
    """Return the page that a select's option turns to, None for any other option."""
    page = value.removeprefix(_PAGE)
    return int(page) if value.startswith(_PAGE) and page.isascii() and page.isdigit() else None


def find(entries: Sequence[_EntryT], value: str) -> _EntryT | None:
    """Return the entry that a click or a typed number stands for."""
    values = (value for entry in entries for value in (entry.value, named_by_number(entry.number)))
    return next((entries[i // 2] for i, one in enumerate(values) if one == value), None)


def leave(view: View) -> View:
    """Return the view that Back leads to: a list from one of its entries, the options from a list."""
    if view.kind in ("word", "branch"):
        return View("words" if view.kind == "word" else "branches", view.page)
    return OPTIONS_VIEW


def turning(what: str, page: int, num_pages: int) -> tuple[SelectOption, ...]:
    """Return the option that turns to the next page, if there are more pages than one."""
    following = (page + 1) % num_pages
    about = f"page {following + 1} of {num_pages}"
    return (SelectOption(f"{_PAGE}{following}", f"More {what}", about),) if num_pages > 1 else ()


def share(probability: float) -> str:
    """Return a probability as people read it."""
    return f"{probability:.0%}" if probability >= 0.01 else "<1%"


def on_one_line(text: str) -> str:
    """Return the beginning of a text as a list shows it: one line, without characters that change what is around it."""
    return with_signs(clean_model_text(text[:_MAX_LOOKED_AT]))


def tail_of(text: str) -> str:
    """Return the last words of a text, on one line."""
    text = on_one_line(text[-_MAX_LOOKED_AT:])
    if len(text) <= _MAX_CONTEXT:
        return text
    tail = text[-_MAX_CONTEXT:]
    space = tail.find(" ")
    return "…" + tail[space + 1 if 0 <= space < _MAX_CONTEXT // 2 else 0 :]
