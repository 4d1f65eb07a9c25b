"""What a reply is on any platform: blocks that say what they mean, and data for scripts. Platforms decide the looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. `is_model_text` marks words that the model wrote; `is_quiet` side remarks in a subdued tone."""

    text: str
    is_model_text: bool = False
    is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Short named values, in order."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; cells are texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """Named fractions (0-1) as bars; `rest` is what the named ones leave, under `rest_name`."""

    items: tuple[tuple[str, float], ...]
    rest: float = 0.0
    rest_name: str = "rest"


@dataclass(frozen=True, slots=True)
class TintedText:
    """A text in pieces, each with its surprisal in bits (None: not scored), to be tinted by it."""

    pieces: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """Numbered continuations of one text: `prompt` plain, each of `options` set off from it."""

    prompt: str
    options: tuple[str, ...]
    first_number: int = 1


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text to be shown exactly as it is, such as a prompt."""

    text: str


Block = Text | Facts | Table | Bars | TintedText | Choices | Verbatim


@dataclass(frozen=True, slots=True)
class Button:
    """An action on the card. `action` is what comes back in a click, `label` what a person reads and may type."""

    action: str
    label: str


@dataclass(frozen=True, slots=True)
class Card:
    """One snapshot of a reply. A handler yields complete snapshots; the last has `is_final`, and may be the only one.

    `data` is what a script gets (JSON-able). `answers` says who sees it. `error` is one sentence that replaces
    everything else. `open_card_id` ties buttons to their stored state.
    """

    blocks: tuple[Block, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    answers: Literal["public", "private"] = "public"
    buttons: tuple[Button, ...] = ()
    open_card_id: str | None = None
    is_final: bool = True


def error_card(sentence: str, **data: Any) -> Card:
    """Return the private card that shows one sentence about what went wrong."""
    return Card(error=sentence, data={**data, "error": sentence}, answers="private")


def model_text_of(blocks: Sequence[Block]) -> str:
    """Return the model's words among `blocks`, joined."""
    return "".join(block.text for block in blocks if isinstance(block, Text) and block.is_model_text)
