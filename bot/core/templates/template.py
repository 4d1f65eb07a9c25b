"""The data of a prompt template, and the check of its name."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bot.core.templates.body import Kind
from bot.core.wording import quote
from bot.errors import TemplateError

Markup = Literal["auto", "transcript"]

MARKUPS: Final[tuple[Markup, ...]] = ("auto", "transcript")
# What the version that comes with the bot is called, by people and to them.
BUILT_IN: Final = "built-in"
# Subcommands of `prompt`: `prompt list` must never be a template.
RESERVED_NAMES: Final = frozenset(
    [
        "list",
        "show",
        "history",
        "diff",
        "new",
        "edit",
        "draft",
        "example",
        "examples",
        "tests",
        "test",
        "tune",
        "neighbours",
        "publish",
        "discard",
        "rollback",
        "delete",
        "import",
        "export",
        "run",
    ]
)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Example:
    """One case: an input and the right output. A row of `[[examples]]` or `[[tests]]`."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """How a classify template uses more examples than its prompt holds.

    `num_in_prompt` examples are in the prompt. Of all others, the `num_nearest` that are most like the input count with
    `weight` (0-1), and the model's own calibrated probabilities with the rest.
    """

    num_in_prompt: int
    num_nearest: int
    weight: float

    def __post_init__(self) -> None:
        if self.num_in_prompt < 0 or self.num_nearest < 1 or not 0 <= self.weight <= 1:
            raise ValueError("neighbours need at least 1 nearest example and a weight of 0 to 1")


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A valid template. Two are equal if they mean the same, however their files are written.

    `instruction` (the text before the examples) and `query` (the prompt of one case; in a chat template, the history
    and the bot's line) still hold their slots and `$$`. `stop` holds the stop texts, defaults included.
    `sampling` holds options as a person gives them (`apply_options`). `model` is the model that answers, "" for that of
    the place. `version` is the first 12 hex digits of the
    SHA-256 of `source_text`, the normalised file.
    """

    name: str
    kind: Kind
    description: str
    instruction: str
    query: str
    has_examples_slot: bool = False
    examples: tuple[Example, ...] = ()
    tests: tuple[Example, ...] = ()
    labels: tuple[str, ...] = ()
    separator: str = " "
    example_separator: str = "\n"
    is_multiline: bool = False
    markup: Markup = "auto"
    stop: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict, hash=False)
    model: str = ""
    neighbours: Neighbours | None = None
    source: str = field(default="", compare=False)
    source_text: str = field(default="", compare=False)
    version: str = field(default="", compare=False)

    @property
    def prompt_examples(self) -> tuple[Example, ...]:
        """Return the examples that are in the prompt: all of them without `neighbours`."""
        if self.neighbours is None:
            return self.examples
        return tuple(self.examples[i] for i in _first_of_each(self.examples, self.neighbours.num_in_prompt))

    @property
    def kept_examples(self) -> tuple[Example, ...]:
        """Return the examples that are not in the prompt and are compared with the input."""
        if self.neighbours is None:
            return ()
        chosen = set(_first_of_each(self.examples, self.neighbours.num_in_prompt))
        return tuple(example for i, example in enumerate(self.examples) if i not in chosen)

    @property
    def compares(self) -> bool:
        """Say whether examples outside the prompt count in an answer."""
        return self.neighbours is not None and self.neighbours.weight > 0 and bool(self.kept_examples)

    @property
    def examples_in_words(self) -> str:
        """Return the number of examples, and where they are used if not all are in the prompt."""
        num, num_kept = len(self.examples), len(self.kept_examples)
        if self.neighbours is None:
            return str(num)
        return f"{num}: {num - num_kept} in the prompt, {num_kept} compared with the message"


def _first_of_each(examples: Sequence[Example], num: int) -> tuple[int, ...]:
    """Return the indexes of `num` examples in their order: the first of each output, then the second, and so on."""
    times: Counter[str] = Counter()
    turns = []
    for i, example in enumerate(examples):
        turns.append((times[example.output], i))
        times[example.output] += 1
    return tuple(sorted(i for _, i in sorted(turns)[:num]))


def check_template_name(name: str, *, source: str) -> str:
    """Return `name` if it is valid for a template. Raises TemplateError."""
    if not _NAME.fullmatch(name):
        raise TemplateError(
            f"A template's name has 1 to 32 characters of a-z, 0-9, _ and -, and starts with a letter or digit. Choose "
            f"another name than {quote(name)}.",
            source=source,
        )
    if name in RESERVED_NAMES:
        raise TemplateError(
            f"No template can be named {name!r}, because a subcommand has that name. Choose another one.",
            source=source,
        )
    return name


def default_stop(kind: Kind, examples: Sequence[Example], example_separator: str) -> tuple[str, ...]:
    """Return the stop texts of a template whose file sets none."""
    return (example_separator,) if kind == "complete" and examples else ()
