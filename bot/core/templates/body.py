"""The text below a prompt file's front matter, and its slots: which are valid where, and how they are filled."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Final, Literal

from bot.core.suggesting import suggest
from bot.core.wording import MAX_QUOTED, list_words, shorten
from bot.errors import TemplateError

Kind = Literal["complete", "classify", "chat"]
KINDS: Final[tuple[Kind, ...]] = ("complete", "classify", "chat")

SLOTS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "complete": ("examples", "input"),
    "classify": ("examples", "input"),
    "chat": ("examples", "history", "bot_name"),
}
_ALL_SLOTS: Final = ("examples", "input", "history", "bot_name")
# The query of every chat template; a fixed one lets both forms of the prompt be built.
CHAT_QUERY: Final = "$history\n$bot_name:"
_BLANK_LINES: Final = re.compile(r"\A(?:[^\S\n]*\n)+")


@dataclass(frozen=True, slots=True)
class Body:
    """The two parts of the text, with their slots: the instruction above the examples, and the query of one case."""

    instruction: str
    query: str
    has_examples_slot: bool


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot in the body: its name, its line in the file, and whether it is alone on that line."""

    name: str
    line: int
    is_alone: bool


def fill_slots(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with its slots filled in one pass: slots inside a value stay unfilled.

    Raises KeyError for a slot without a value.
    """
    return Template(text).substitute(values)


def read_body(body: str, first_line: int, kind: Kind, source: str) -> Body:
    """Check the slots of `body`, which starts on the file's line `first_line`, and split it. Raises TemplateError."""
    if not body.strip():
        raise TemplateError(
            "There is no text below the front matter. Write the prompt there.", source=source, line=first_line
        )
    slots = [_checked(slot, kind, source) for slot in _find_slots(body, first_line, kind, source)]
    lines = body.split("\n")
    examples = _single("examples", slots, source)
    end = first_line + len(lines) - 1
    if kind == "chat":
        return _read_chat(lines, first_line, slots, examples, source)
    asked = _single("input", slots, source)
    if asked is None:
        raise TemplateError("The text needs $input exactly once, where the input goes.", source=source, line=end)
    if examples is None:
        return Body("", body, False)
    if asked.line < examples.line:
        problem = "$input is above $examples. Move it below, into the query."
        raise TemplateError(problem, source=source, line=asked.line)
    above = lines[: examples.line - first_line]
    below = "\n".join(lines[examples.line - first_line + 1 :])
    return Body(_joined(above), _BLANK_LINES.sub("", below), True)


def _read_chat(
    lines: Sequence[str], first_line: int, slots: Sequence[_Slot], examples: _Slot | None, source: str
) -> Body:
    history = _single("history", slots, source)
    end = first_line + len(lines) - 1
    if history is None:
        problem = "A chat template needs $history on a line of its own, where the conversation goes."
        raise TemplateError(problem, source=source, line=end)
    if lines[-1].strip() not in {"$bot_name:", "${bot_name}:"}:
        raise TemplateError("A chat template's last line must be $bot_name: and nothing else.", source=source, line=end)
    if examples and examples.line > history.line:
        raise TemplateError("$examples must be above $history.", source=source, line=examples.line)
    # The model's own markup has no place for text between the turns.
    first = (examples or history).line - first_line
    for i, line in enumerate(lines[first:-1], start=first):
        is_slot = first_line + i in {history.line, examples.line if examples else history.line}
        if line.strip() and not is_slot:
            problem = "Text between $examples, $history and $bot_name: is not possible. Move it above them."
            raise TemplateError(problem, source=source, line=first_line + i)
    return Body(_joined(lines[:first]), CHAT_QUERY, examples is not None)


def _find_slots(body: str, first_line: int, kind: Kind, source: str) -> list[_Slot]:
    lines = body.split("\n")
    slots = []
    index = counted = 0
    for match in Template.pattern.finditer(body):
        index += body.count("\n", counted, match.start())
        counted = match.start()
        if match["invalid"] is not None:
            problem = "Write a dollar sign as $$. A single one starts a slot, such as $" + SLOTS[kind][-1] + "."
            raise TemplateError(problem, source=source, line=first_line + index)
        if name := match["named"] or match["braced"]:
            slots.append(_Slot(name, first_line + index, lines[index].strip() == match[0]))
    return slots


def _checked(slot: _Slot, kind: Kind, source: str) -> _Slot:
    names = SLOTS[kind]
    if slot.name not in names:
        slots = [f"${name}" for name in names]
        if slot.name in _ALL_SLOTS:
            problem = f"A template of kind {kind} has no ${slot.name}; its slots are {list_words(slots)}."
        else:
            hint = suggest(slot.name, names, f"use {list_words(slots, last='or')}.", shown=lambda found: f"${found}")
            problem = f"There is no slot ${shorten(slot.name, MAX_QUOTED)}; {hint}"
        raise TemplateError(problem, source=source, line=slot.line)
    if slot.name in {"examples", "history"} and not slot.is_alone:
        raise TemplateError(f"${slot.name} must be alone on its line.", source=source, line=slot.line)
    return slot


def _single(name: str, slots: Sequence[_Slot], source: str) -> _Slot | None:
    """Return the slot `name`, None if there is none. Raises TemplateError if there are several."""
    found = [slot for slot in slots if slot.name == name]
    if len(found) > 1:
        raise TemplateError(f"${name} is here a second time. Remove one of them.", source=source, line=found[1].line)
    return found[0] if found else None


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
