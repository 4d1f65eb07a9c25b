"""Parsing of typed command lines into name, leading words, options and verbatim text, and back."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.commands.framework.command import Command, Option
from bot.core.mentions import mention, mention_option
from bot.core.suggesting import suggest
from bot.core.wording import MAX_QUOTED, quote, shorten
from bot.errors import RequestError

TEXT_PART_SEPARATOR: Final = " | "

_QUOTES: Final = {'"': '"', "'": "'", "“": "”", "„": "“"}


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command with what was typed after it."""

    command: Command
    arguments: Mapping[str, str]
    options: Mapping[str, Any]
    text: str


# In the value of a repeatable option: a line break, or the backslash itself.
_ESCAPE: Final = re.compile(r"\\([n\\])")


def _split_word(text: str) -> tuple[str, str]:
    """Return the first word and the rest, without the one white space character between them."""
    for i, character in enumerate(text):
        if character.isspace():
            return text[:i], text[i + 1 :]
    return text, ""


def _split_value(text: str, option: str) -> tuple[str, str]:
    """Return an option's value, quoted or one word, and the rest, without the white space character between them."""
    text = text.lstrip(" \t")
    closing = _QUOTES.get(text[:1])
    if not closing:
        return _split_word(text)
    value = []
    i = 1
    while i < len(text):
        if text[i] == "\\" and text[i + 1 : i + 2] in (closing, "\\"):
            value.append(text[i + 1])
            i += 2
        elif text[i] == closing:
            rest = text[i + 1 :]
            return "".join(value), rest[1:] if rest[:1].isspace() else rest
        else:
            value.append(text[i])
            i += 1
    raise RequestError(f"The quoted value of {mention_option(option)} has no closing {closing}")


def _split_argument(text: str) -> tuple[str, str]:
    """Return a leading word, which may be quoted, and the rest, without the white space character between them."""
    if text[:1] in _QUOTES:
        # An unclosed quotation mark is part of the word.
        with contextlib.suppress(RequestError):
            return _split_value(text, "")
    return _split_word(text)


def split_options(text: str, options: Sequence[Option]) -> tuple[dict[str, Any], str]:
    """Return the values of the leading options of `text`, and the text after them, verbatim.

    `--` ends the options. `--name=value` and hyphens for underscores are accepted too. Raises RequestError for an
    unknown option (with the nearest name), a missing or wrong value, and an option given twice.
    """
    known = {option.name: option for option in options}
    values: dict[str, Any] = {}
    while text.startswith("--"):
        word, rest = _split_word(text)
        if word == "--":
            return values, rest
        typed, has_equals, inline = word[2:].partition("=")
        name = typed.replace("-", "_")
        if name not in known:
            raise RequestError(_unknown_option(typed, list(known)))
        option = known[name]
        if has_equals:
            # The value may be quoted and contain spaces, so it is read from the text, not from the word.
            value, rest = _split_value(text[len(word) - len(inline) :], name)
        else:
            value, rest = _split_value(rest, name)
        if not value and option.kind != "text":
            raise RequestError(f"{mention_option(name)} needs a value.")
        if option.is_repeatable:
            value = _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else "\\", value)
            values[name] = (*values.get(name, ()), option.read(value))
        elif name in values:
            raise RequestError(f"{mention_option(name)} is given twice.")
        else:
            values[name] = option.read(value)
        text = rest
    return values, text


def _unknown_option(typed: str, known: Sequence[str]) -> str:
    if not known:
        return "This command has no options. If the text starts with --, write -- and a space before it."
    hint = suggest(typed, known, f"choose from {', '.join(map(mention_option, known))}.", shown=mention_option)
    return f"There is no option {mention_option(shorten(typed, MAX_QUOTED))}; {hint}"


def find_command(text: str, commands: Mapping[str, Command]) -> tuple[Command, str]:
    """Return the command that `text` (without the prefix) names, and the rest of the text.

    In a family such as `prompt` the second word names the command; any other second word means the default command.
    Raises RequestError that suggests the nearest name.
    """
    first, rest = _split_word(text)
    first = first.lower()
    if first in commands:
        return commands[first], rest
    family = {name.split()[1]: command for name, command in commands.items() if name.startswith(f"{first} ")}
    if family:
        second, after = _split_word(rest)
        if second.lower() in family:
            return family[second.lower()], after
        for command in family.values():
            if command.is_family_default and rest.strip():
                return command, rest
        raise RequestError(f"A second word is missing after {mention(first)}: {', '.join(family)}.")
    names = sorted({name.split()[0] for name in commands})
    hint = suggest(first, names, f"{mention('help')} lists all commands.", shown=mention)
    raise RequestError(f"There is no command {quote(first)}; {hint}")


def parse_command_line(text: str, commands: Mapping[str, Command]) -> CommandLine:
    """Return the command line in `text` (without the prefix). Options may stand before and after the leading words.

    Raises RequestError, one sentence, for an unknown command or option, a wrong value or a missing leading word.
    """
    command, rest = find_command(text, commands)
    # White space before leading words and their options means nothing; before the text it is part of the text.
    if command.arguments:
        rest = rest.lstrip()
    options, rest = split_options(rest, command.options)
    arguments: dict[str, str] = {}
    for i, name in enumerate(command.arguments):
        rest = rest.lstrip()
        word, after = _split_argument(rest)
        if not rest:
            if i < len(command.arguments) - command.num_optional_arguments:
                raise RequestError(f"{name} is missing. Write {mention(command.short_usage)}.")
            break
        arguments[name] = word
        rest = after
    if arguments and command.options:
        more, rest = split_options(rest.lstrip() if command.text == "none" else rest, command.options)
        both = sorted(set(options) & set(more))
        if both:
            raise RequestError(f"{mention_option(both[0])} is given twice.")
        options |= more
    if command.takes_rest and len(arguments) == len(command.arguments) and rest.strip():
        arguments[command.arguments[-1]] += f" {rest.strip()}"
    elif command.text == "none" and rest.strip():
        raise RequestError(f"{mention(command.short_usage)} takes no text after it.")
    return CommandLine(command, arguments, options, "" if command.text == "none" else rest)


def format_command_line(
    command: Command, arguments: Mapping[str, str], options: Mapping[str, Any], text: str, prefix: str
) -> str:
    """Return the line that `parse_command_line` reads back as exactly this command with these values and text."""
    words = [f"{prefix}{command.name}"]
    for option in command.options:
        if option.name not in options:
            continue
        value = options[option.name]
        for one in value if option.is_repeatable else (value,):
            written = str(one)
            if option.is_repeatable:
                written = written.replace("\\", "\\\\").replace("\n", "\\n")
            words.append(f"--{option.name} {_quoted(written)}")
    for name in command.arguments:
        if name not in arguments:
            break
        words.append(_quoted(arguments[name]))
    line = " ".join(words)
    if command.text == "none" or not text:
        return line
    # After leading words, options are parsed only if the command has some.
    is_misread = text.startswith("--") and not (command.arguments and not command.options)
    return f"{line} {'-- ' if is_misread else ''}{text}"


def _quoted(value: str) -> str:
    """Return `value` in quotation marks if it would otherwise not be read back as one value."""
    is_plain = value and value[0] not in _QUOTES and not value.startswith("--") and not any(map(str.isspace, value))
    if is_plain:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
