"""How a command is called where somebody reads of it: `!name --option value`, or `/name option:value`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from bot.commands.framework.command import Command, Option
from bot.commands.framework.parsing import find_command, split_options
from bot.core.cards import Card, Choices, Text, TextFile, TintedText, Verbatim
from bot.core.mentions import spell_mentions
from bot.errors import RequestError

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The form of commands for one reader: typed behind `prefix`, or as slash commands."""

    commands: Mapping[str, Command]
    prefix: str
    is_slash: bool = False

    def line(self, line: str) -> str:
        """Return the command `line` (name, options, leading words, text; without a prefix) as the reader calls it."""
        if not self.is_slash:
            return f"{self.prefix}{line}"
        try:
            command, rest = find_command(line, self.commands)
            options, rest = split_options(rest.strip(), command.options)
        except RequestError:
            return f"/{line}"
        words = [f"/{command.slash_name}", *(f"{name}:{value}" for name, value in options.items())]
        given = rest.split(maxsplit=max(len(command.arguments) - 1, 0) if command.text == "none" else -1)
        words += [f"{name.lower()}:{word}" for name, word in zip(command.arguments, given, strict=False)]
        if text := given[len(command.arguments) :]:
            words.append(f"{command.text_name.lower()}:{' '.join(text)}")
        return " ".join(words)

    def usage(self, command: Command) -> str:
        """Return how `command` is written, with its leading words and text by name; optional ones in brackets."""
        if not self.is_slash:
            return f"{self.prefix}{command.usage}"
        num_required = len(command.arguments) - command.num_optional_arguments
        words = [name if i < num_required else f"[{name}]" for i, name in enumerate(command.arguments)]
        if command.text != "none":
            words.append(command.text_name if command.text == "required" else f"[{command.text_name}]")
        return " ".join([f"/{command.slash_name}", *(word.lower() for word in words)])

    def option(self, option: Option) -> str:
        """Return how `option` is named."""
        return option.name if self.is_slash else f"--{option.name}"

    def card(self, card: Card) -> Card:
        """Return `card` with every command that it mentions spelled so."""
        return self._spelled(card)

    def _spelled(self, value: ValueT) -> ValueT:
        """Return `value` with what is marked in it spelled; the same object where nothing is."""
        found: Any = value
        if isinstance(value, str):
            found = spell_mentions(value, self.line)
        elif isinstance(value, tuple):
            parts = tuple(self._spelled(part) for part in value)
            found = value if all(new is old for new, old in zip(parts, value, strict=True)) else parts
        elif isinstance(value, Mapping):
            parts_by_key = {key: self._spelled(part) for key, part in value.items()}
            found = value if all(parts_by_key[key] is part for key, part in value.items()) else parts_by_key
        elif is_dataclass(value) and not isinstance(value, type) and not _is_theirs(value):
            old = {one.name: getattr(value, one.name) for one in fields(value)}
            new = {name: self._spelled(part) for name, part in old.items()}
            changes = {name: part for name, part in new.items() if part is not old[name]}
            found = replace(value, **changes) if changes else value
        return found  # type: ignore[no-any-return]


def _is_theirs(part: object) -> bool:
    """Say whether `part` of a card holds what people or the model wrote, which stays as it is."""
    return isinstance(part, Choices | TextFile | TintedText | Verbatim) or (
        isinstance(part, Text) and part.is_model_text
    )
