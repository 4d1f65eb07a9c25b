"""A command's options on Discord, and the command line that is equivalent to the given options."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from discord import AppCommandOptionType

from bot.commands.framework.command import Command, Option
from bot.commands.framework.parsing import format_command_line, join_text_parts
from bot.commands.framework.spelling import Spelling
from bot.core.sampling_params import MAX_STOPS
from bot.errors import RequestError
from bot.platforms.discord.traits import DISCORD, MAX_OPTIONS

MAX_TEXT: Final = 6000
MAX_DESCRIPTION: Final = 100
# Discord accepts no larger integer: above it JavaScript's numbers are not exact.
MAX_WHOLE: Final = 2**53 - 1

FILE_OPTION: Final = "file"
_FREE_TEXT: Final = "TEXT"
_TEXT: Final = AppCommandOptionType.string


@dataclass(frozen=True, slots=True)
class SlashOption:
    """One option of a slash command; `lowest` and `highest` limit a number, or the length of a text.

    `declared_name` is its name in the declaration. `is_suggested` says that it has autocomplete.
    """

    name: str
    declared_name: str
    help: str
    kind: AppCommandOptionType = _TEXT
    is_required: bool = False
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str, ...] = ()
    is_suggested: bool = False


def slash_options(command: Command) -> tuple[SlashOption, ...]:
    """Return the options of `command`: its leading words, its text, its options.

    A required text can also be given as a file, so neither option is required; the bot's own error asks for it.
    """
    options = (*_arguments(command), *_texts(command), *_declared(command))
    return tuple(sorted(options, key=lambda option: not option.is_required))


def command_line_of(command: Command, given: Mapping[str, Any], command_prefix: str) -> str:
    """Return the line that is equivalent to the options `given` by name (None: not given).

    Raises RequestError for what a line can't express: a leading word, or a text, without the leading word before it.
    """
    arguments: dict[str, str] = {}
    for i, name in enumerate(command.arguments):
        value = given.get(_argument_name(name))
        if value is None:
            continue
        if len(arguments) < i:
            raise _missing(command, command.arguments[len(arguments)], before=name)
        arguments[name] = value
    options: dict[str, Any] = {}
    for option in command.options:
        values = [given[name] for name in _option_names(option) if given.get(name) is not None]
        if values:
            # Discord's option fields have one line, so a line break is written as \n, as in a typed command.
            values = [value.replace("\\n", "\n") for value in values] if option.is_repeatable else values
            options[option.name] = tuple(values) if option.is_repeatable else values[0]
    texts = [given[option.name] for option in _texts(command) if given.get(option.name) and option.kind is _TEXT]
    if texts and len(arguments) < len(command.arguments):
        raise _missing(command, command.arguments[len(arguments)], before=command.text_name)
    text = join_text_parts(texts) if command.text_parts else "".join(texts)
    return format_command_line(command, arguments, options, text, command_prefix)


def _missing(command: Command, name: str, *, before: str) -> RequestError:
    """Return the error for the option `before`, given without the option `name`."""
    usage = Spelling({command.name: command}, DISCORD.slash_prefix, is_slash=True).usage(command)
    return RequestError(f"{before.lower()} also needs {name.lower()}: {usage}")


def description_of(text: str) -> str:
    """Return `text` as an option's or command's description: one line of at most 100 characters, cut between words."""
    return textwrap.shorten(text, MAX_DESCRIPTION, placeholder=" …") or "…"


def _argument_name(name: str) -> str:
    return name.lower()


def _arguments(command: Command) -> Iterator[SlashOption]:
    num_required = len(command.arguments) - command.num_optional_arguments
    example = f", as in: {command.examples[0]}" if command.examples else ""
    for i, declared in enumerate(command.arguments):
        name = _argument_name(declared)
        yield SlashOption(name, declared, name + example, is_required=i < num_required, lowest=1, is_suggested=True)


def _texts(command: Command) -> Iterator[SlashOption]:
    if command.text == "none":
        return
    if command.text_parts:
        for i, name in enumerate(command.text_parts):
            is_required = i < command.num_required_parts
            yield SlashOption(name, name, f"text {name.upper()}", is_required=is_required, lowest=1, highest=MAX_TEXT)
        return
    if command.text_name != _FREE_TEXT and command.text_name.isidentifier():
        is_required = command.text == "required"
        yield SlashOption(
            command.text_name.lower(),
            command.text_name,
            command.text_name.lower(),
            is_required=is_required,
            is_suggested=True,
        )
        return
    yield SlashOption("text", command.text_name, "the text", highest=MAX_TEXT, is_suggested=command.continues_text)
    yield SlashOption(FILE_OPTION, FILE_OPTION, "a text file instead of the text", AppCommandOptionType.attachment)


def _option_names(option: Option) -> list[str]:
    """Return the names of an option: a repeatable one has a name for each value."""
    if not option.is_repeatable:
        return [option.name]
    return [option.name, *(f"{option.name}_{i}" for i in range(2, MAX_STOPS + 1))]


def _declared(command: Command) -> Iterator[SlashOption]:
    for option in command.options:
        for name in _option_names(option):
            # Only the first name of a repeatable option says that it is repeatable.
            yield _declared_option(option, name, option.help if name == option.name else option.help.partition(";")[0])


def _declared_option(option: Option, name: str, help_text: str) -> SlashOption:
    if option.kind == "choice":
        if len(option.choices) > MAX_OPTIONS:
            return SlashOption(name, option.name, help_text, is_suggested=True)
        return SlashOption(name, option.name, help_text, choices=option.choices)
    if option.number is None:
        return SlashOption(name, option.name, help_text, lowest=1, is_suggested=option.is_suggested)
    kind = AppCommandOptionType.number if option.number.is_real else AppCommandOptionType.integer
    highest = min(option.number.highest, MAX_WHOLE)
    return SlashOption(name, option.name, help_text, kind, lowest=option.number.lowest, highest=highest)
