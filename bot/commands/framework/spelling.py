"""The form of commands and options in sentences: `!name --option value`, or `/name option:value`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from operator import is_
from typing import Any, TypeVar

from bot.commands.framework.command import Command, Option
from bot.commands.framework.parsing import find_command, split_options, split_text_parts
from bot.core.cards import Card, Choices, Contrast, Text, TextFile, TintedText, Verbatim
from bot.core.mentions import OPTION_SIGN, spell_mentions
from bot.core.messages import Reach
from bot.core.platform_traits import PlatformTraits
from bot.errors import RequestError

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The form of commands for one reader: behind `prefix`, typed, or with `is_slash` with every value under a name."""

    commands: Mapping[str, Command]
    prefix: str
    is_slash: bool = False

    @classmethod
    def for_reader(
        cls, commands: Mapping[str, Command], traits: PlatformTraits, prefix: str, reach: Reach
    ) -> "Spelling":
        """Return the form for a person whose request had `reach`: anyone who used a slash command gets that form.

        A platform without groups of slash commands takes all behind its prefix as one typed line.
        """
        if reach != "form" or not traits.slash_prefix:
            return cls(commands, prefix)
        return cls(commands, traits.slash_prefix, is_slash=traits.has_slash_groups)

    def spell(self, marked: str) -> str:
        """Return a mention, of a command line or an option, as the reader writes it."""
        if marked.startswith(OPTION_SIGN):
            return marked.removeprefix(OPTION_SIGN) if self.is_slash else marked
        return self.line(marked)

    def line(self, line: str) -> str:
        """Return the command `line` (name, options, leading words, text; without a prefix) as the reader writes it."""
        if not self.is_slash:
            return f"{self.prefix}{line}"
        try:
            command, rest = find_command(line, self.commands)
            options, rest = split_options(rest.strip(), command.options)
        except RequestError:
            return f"{self.prefix}{line}"
        words = [f"{self.prefix}{command.slash_name}"]
        for name, value in options.items():
            values = value if isinstance(value, tuple) else (value,)
            words += [f"{name}_{i}:{one}" if i > 1 else f"{name}:{one}" for i, one in enumerate(values, start=1)]
        given = rest.split(maxsplit=max(len(command.arguments) - 1, 0) if command.text == "none" else -1)
        words += [f"{name.lower()}:{word}" for name, word in zip(command.arguments, given, strict=False)]
        if text := " ".join(given[len(command.arguments) :]):
            parts = split_text_parts(text) if command.text_parts else [text]
            names = command.text_parts or (command.text_name.lower(),)
            words += [f"{name}:{part}" for name, part in zip(names, parts, strict=False)]
        return " ".join(words)

    def usage(self, command: Command) -> str:
        """Return the form of `command` with its leading words and text by name; optional ones in brackets."""
        if not self.is_slash:
            return f"{self.prefix}{command.usage}"
        num_required = len(command.arguments) - command.num_optional_arguments
        words = [name if i < num_required else f"[{name}]" for i, name in enumerate(command.arguments)]
        if command.text_parts:
            num_required = command.num_required_parts
            words += [name if i < num_required else f"[{name}]" for i, name in enumerate(command.text_parts)]
        elif command.text != "none":
            words.append(command.text_name if command.text == "required" else f"[{command.text_name}]")
        return " ".join([f"{self.prefix}{command.slash_name}", *(word.lower() for word in words)])

    def option(self, option: Option) -> str:
        """Return the name of `option`."""
        return option.name if self.is_slash else f"{OPTION_SIGN}{option.name}"

    def card(self, card: Card) -> Card:
        """Return `card` with every mention in it spelled."""
        return self._spelled(card)

    def _spelled(self, value: ValueT) -> ValueT:
        """Return `value` with every mention in it spelled; the same object where there is none."""
        found: Any = value
        if isinstance(value, str):
            found = spell_mentions(value, self.spell)
        elif isinstance(value, list | tuple):
            if value and isinstance(value[0], dict):
                return value  # rows of figures, which name no command; a long text has tens of thousands
            parts = [self._spelled(part) for part in value]
            found = value if all(map(is_, parts, value)) else type(value)(parts)
        elif isinstance(value, dict):
            parts = [self._spelled(part) for part in value.values()]
            found = value if all(map(is_, parts, value.values())) else dict(zip(value, parts, strict=True))
        elif is_dataclass(value) and not isinstance(value, type) and not _is_quoted(value):
            old = {one.name: getattr(value, one.name) for one in fields(value)}
            new = {name: self._spelled(part) for name, part in old.items()}
            changes = {name: part for name, part in new.items() if part is not old[name]}
            found = replace(value, **changes) if changes else value
        return found  # type: ignore[no-any-return]


def _is_quoted(part: object) -> bool:
    """Say whether `part` of a card holds words of people or of the model, which stay unchanged."""
    return isinstance(part, Choices | Contrast | TextFile | TintedText | Verbatim) or (
        isinstance(part, Text) and part.is_model_text
    )
