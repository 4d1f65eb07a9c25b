"""Replies, independent of the platform: blocks with a meaning, and data for scripts. Platforms decide how they look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bot.core.safe_text import clean_model_text


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. `is_model_text` marks the model's words; `is_quiet` marks a side note, shown less prominently."""

    text: str
    is_model_text: bool = False
    is_quiet: bool = False

    @property
    def is_blank(self) -> bool:
        """Say whether nothing of it is seen; of a model's words, control characters are not."""
        return not (clean_model_text(self.text) if self.is_model_text else self.text).strip()


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
    """Named fractions (0-1), shown as bars; `rest` is the remaining fraction, named `rest_name`.

    `what` says what the bars show, for the alt text of a picture; without it they are shown as text only.
    """

    items: tuple[tuple[str, float], ...]
    rest: float = 0.0
    rest_name: str = "rest"
    what: str = ""


@dataclass(frozen=True, slots=True)
class TintedText:
    """A text in pieces, each tinted by its surprisal in bits (None: not scored)."""

    pieces: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class ContrastedText:
    """One text of a Contrast: its name, its total bits, and its pieces as in TintedText.

    The bits of the first text's pieces are their own; those of the others are more (or, below 0, fewer) bits than in
    the first text.
    """

    name: str
    total_bits: float
    pieces: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Contrast:
    """Texts held word by word against the first of them; `tables` say the same where no picture can be shown."""

    texts: tuple[ContrastedText, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """Numbered continuations of one text: `prompt` is shown plain, each of `options` is highlighted.

    `labels`, one for each option or none, say how each was written; they are shown beside the numbers.
    """

    prompt: str
    options: tuple[str, ...]
    first_number: int = 1
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) not in (0, len(self.options)):
            raise ValueError("There must be a label for each option, or none.")

    @property
    def heads(self) -> tuple[str, ...]:
        """Return what stands before each option: its number, and its label if it has one."""
        numbers = range(self.first_number, self.first_number + len(self.options))
        labels = self.labels or ("",) * len(self.options)
        return tuple(f"{number} {label}".rstrip() for number, label in zip(numbers, labels, strict=True))


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text shown unchanged, such as a prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a long job: `num_done` of `num_total` (None: unknown); `what` says what is being done."""

    what: str
    num_done: int = 0
    num_total: int | None = None


Answers = Literal["public", "private"]  # who sees a card: everybody there, or only the person who asked
Block = Text | Facts | Table | Bars | TintedText | Contrast | Choices | Verbatim | Progress


@dataclass(frozen=True, slots=True)
class Button:
    """An action on the card. A click carries `action`; a person reads, and may type, `label`."""

    action: str
    label: str
    style: Literal["plain", "primary", "danger"] = "plain"


@dataclass(frozen=True, slots=True)
class SelectOption:
    """One option of a select: a click carries `value`; a person reads `label` and `help`."""

    value: str
    label: str
    help: str = ""
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """A choice of one option; a click carries `action` and the option's value. Platforms limit how many they show."""

    action: str
    label: str
    options: tuple[SelectOption, ...]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text to attach as a UTF-8 file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form: a line, a paragraph, one of `options`, or a text file whose text becomes the value.

    `value` is the initial value. `max_characters` is None where only the platform's own limit applies.
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
    """A form of at most five fields. `id` comes back with the values and identifies the stored state."""

    id: str
    title: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One snapshot of a reply. A handler yields complete snapshots; the last has `is_final`, and may be the only one.

    `data` is what a script gets (JSON-able). `answers` says who sees it. `error` is one sentence that replaces
    everything else. `open_card_id` connects buttons and selects to their stored state at `revision`: a click on an
    older revision does nothing. `form` opens instead of showing anything. `reply_id` names the stored answer that the
    card shows. `removed_ids` are the platform's ids of the bot's own messages to delete. The answers being written to
    `withdrawn_ids`, or with `withdraws_all` to all messages of the asker, end and are removed. `notices` are cards for
    other channels of the server, each with the channel's id. A card with `keeps_shown` says only that a Stop came
    before the first word, so words of this answer that are visible from before a restart stay instead.
    """

    blocks: tuple[Block, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    answers: Answers = "public"
    buttons: tuple[Button, ...] = ()
    open_card_id: str | None = None
    is_final: bool = True
    selects: tuple[Select, ...] = ()
    file: TextFile | None = None
    form: Form | None = None
    revision: int = 0
    reply_id: str | None = None
    removed_ids: tuple[str, ...] = ()
    withdrawn_ids: tuple[str, ...] = ()
    withdraws_all: bool = False
    notices: tuple[tuple[str, "Card"], ...] = ()
    keeps_shown: bool = False


# In the data of a snapshot that says only which model is being loaded.
LOADING: Final = "loading"

# For a mistake in the program, which the person who asked can't fix.
BROKEN: Final = "Something broke inside the bot. Its operator can find the cause in the log."


def error_card(sentence: str, **data: Any) -> Card:
    """Return a private card that shows one sentence about what went wrong."""
    return Card(error=sentence, data={**data, "error": sentence}, answers="private")
