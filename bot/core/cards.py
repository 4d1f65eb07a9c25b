"""What a reply is on any platform: blocks that say what they mean, and data for scripts. Platforms decide the looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal


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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something long has come: `num_done` of `num_total` (None: not known), and what is being done."""

    what: str
    num_done: int = 0
    num_total: int | None = None


Block = Text | Facts | Table | Bars | TintedText | Choices | Verbatim | Progress


@dataclass(frozen=True, slots=True)
class Button:
    """An action on the card. `action` is what comes back in a click, `label` what a person reads and may type."""

    action: str
    label: str
    style: Literal["plain", "primary", "danger"] = "plain"


@dataclass(frozen=True, slots=True)
class SelectOption:
    """One thing to choose: `value` comes back, `label` is read, `help` says more."""

    value: str
    label: str
    help: str = ""
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """A choice of one among as many options as the platform has room for.

    The click carries `action` and the option's value.
    """

    action: str
    label: str
    options: tuple[SelectOption, ...]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text to be handed over as a file: UTF-8."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class FormField:
    """One thing to fill in: a line, a paragraph, one of `options`, or a text file whose text becomes the value.

    `value` is what stands there already. `max_characters` is None where only the platform's own limit holds.
    """

    name: str
    label: str
    kind: Literal["line", "paragraph", "choice", "file"] = "line"
    help: str = ""
    value: str = ""
    is_required: bool = True
    max_characters: int | None = None
    options: tuple[SelectOption, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """What a person fills in: at most five fields. `id` comes back with the values and leads to the stored state."""

    id: str
    title: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One snapshot of a reply. A handler yields complete snapshots; the last has `is_final`, and may be the only one.

    `data` is what a script gets (JSON-able). `answers` says who sees it. `error` is one sentence that replaces
    everything else. `open_card_id` ties buttons and selects to their stored state, at `revision`: a click on an older
    one does nothing. `form` is opened instead of showing anything. `reply_id` names the stored answer that the card
    shows. `removed_ids` are the platform's ids of the bot's own messages that are to be taken away. `notices` are cards
    for other channels of the server, each with the channel's id.
    """

    blocks: tuple[Block, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    answers: Literal["public", "private"] = "public"
    buttons: tuple[Button, ...] = ()
    open_card_id: str | None = None
    is_final: bool = True
    selects: tuple[Select, ...] = ()
    file: TextFile | None = None
    form: Form | None = None
    revision: int = 0
    reply_id: str | None = None
    removed_ids: tuple[str, ...] = ()
    notices: tuple[tuple[str, "Card"], ...] = ()


# For a mistake in the program: nothing that whoever asked could mend.
BROKEN: Final = "Something broke inside the bot; its log says what."


def error_card(sentence: str, **data: Any) -> Card:
    """Return the private card that shows one sentence about what went wrong."""
    return Card(error=sentence, data={**data, "error": sentence}, answers="private")
