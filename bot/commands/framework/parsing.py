"""Parsing of typed command lines into name, leading words, options and verbatim text, and back."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.commands.framework.command import Command, Option
from bot.core.foreign_options import advise_option
from bot.core.mentions import mention, mention_option
from bot.core.suggesting import suggest
from bot.core.wording import MAX_QUOTED, quote, shorten
from bot.errors import RequestError

# Between the parts of a text; `\|` is a bar in a part.
_BAR: Final = re.compile(r"(?<!\\)\|")

# Which marks close a value opened by each: phones and word processors write curly ones, in every combination. A single
# curly mark is also the apostrophe, so it closes only a whole word.
_QUOTES: Final = {
    '"': '"',
    "'": "'",
    **dict.fromkeys("“”„‟", "“”‟"),
    **dict.fromkeys("‘’‚‛", "‘’‛"),
    "«": "»",
    "»": "«",
}
_APOSTROPHES: Final = "‘’‛"
# Phones turn two hyphens into one of these.
DASHES: Final = "-‐‑‒–—―−"
_MAX_DASHES: Final = 8  # alone, one after another
_OPTION_SIGN: Final = re.compile(f"[{DASHES}]{{2}}|[–—―−-]")
_NUMBER: Final = re.compile(r"\d*\.?\d+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command with what was typed after it."""

    command: Command
    arguments: Mapping[str, str]
    options: Mapping[str, Any]
    text: str


_SPACE: Final = re.compile(r"\s")
_NOTHING_REFUSED: Final[Mapping[str, str]] = {}
# In the value of a repeatable option: a line break, or the backslash itself.
_ESCAPE: Final = re.compile(r"\\([n\\])")


def join_text_parts(parts: Sequence[str]) -> str:
    """Return one text that `split_text_parts` reads back as `parts`, white space around each apart."""
    return " | ".join(part.replace("|", r"\|") for part in parts)


def split_text_parts(text: str) -> list[str]:
    """Return the parts of a text, which stand between bars, without white space around each."""
    return [part.replace(r"\|", "|").strip() for part in _BAR.split(text)]


def _split_word(text: str) -> tuple[str, str]:
    """Return the first word and the rest, without the one white space character between them."""
    found = _SPACE.search(text)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


def _split_value(text: str, option: str) -> tuple[str, str]:
    """Return an option's value, quoted or one word, and the rest, without the white space character between them."""
    text = text.lstrip(" \t")
    closing = _QUOTES.get(text[:1])
    if not closing:
        return _split_word(text)
    value = []
    i = 1
    while i < len(text):
        character, following = text[i], text[i + 1 : i + 2]
        if character == "\\" and following and following in f"{closing}\\":
            value.append(following)
            i += 2
        elif character in closing and (character not in _APOSTROPHES or not following or following.isspace()):
            rest = text[i + 1 :]
            return "".join(value), rest[1:] if rest[:1].isspace() else rest
        else:
            value.append(text[i])
            i += 1
    raise RequestError(f"The quoted value of {mention_option(option)} has no closing {closing[0]}")


def _split_argument(text: str) -> tuple[str, str]:
    """Return a leading word, which may be quoted, and the rest, without the white space character between them."""
    if text[:1] in _QUOTES:
        # An unclosed quotation mark is part of the word.
        with contextlib.suppress(RequestError):
            return _split_value(text, "")
    return _split_word(text)


def split_options(
    text: str, options: Sequence[Option], *, refused: Mapping[str, str] = _NOTHING_REFUSED
) -> tuple[dict[str, Any], str]:
    """Return the values of the leading options of `text`, and the text after them, verbatim.

    `--` ends the options. `--name=value` and hyphens for underscores are accepted too, so are the dashes that phones
    write for `--` before a known name, and one hyphen before a known name and a number; other dashes begin the text.
    Raises RequestError for an unknown option (with the nearest name), one of `refused` (with its sentence), a missing
    or wrong value, and an option given twice.
    """
    known = {option.name: option for option in options}
    values: dict[str, Any] = {}
    while sign := _option_sign(text, known):
        word, rest = _split_word(text)
        if word == sign:
            return values, rest
        typed, has_equals, inline = word[len(sign) :].partition("=")
        name = typed.replace("-", "_")
        if name not in known:
            raise RequestError(refused.get(name) or _unknown_option(typed, list(known)))
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


def _option_sign(text: str, known: Mapping[str, Option]) -> str:
    """Return the sign with which an option, or the end of the options, stands at the start of `text`; "" for none."""
    first = ""
    for _ in range(_MAX_DASHES):
        match = _OPTION_SIGN.match(text)
        if match is None:
            break
        sign = match[0]
        first = first or sign
        word, text = _split_word(text[len(sign) :])
        name, has_equals, inline = word.partition("=")
        option = known.get(name.replace("-", "_"))
        # A text may begin with a list's hyphen, and with a word that is an option's name.
        is_meant = sign not in "-−" or (option and option.number and _NUMBER.match(inline if has_equals else text))
        if sign == "--" or (option and is_meant):
            return first
        # A dash alone ends the options only before what would be one.
        if word:
            break
    return ""


def _unknown_option(typed: str, known: Sequence[str]) -> str:
    if not known:
        return "This command has no options. If the text starts with --, write -- and a space before it."
    advice = advise_option(typed, mention_option) if "max_new_tokens" in known else None
    if advice is not None:
        return f"There is no option {mention_option(typed)} here. {advice}"
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
        raise RequestError(_second_word_missing(first, family))
    names = sorted({name.split()[0] for name in commands})
    hint = suggest(first, names, f"{mention('help')} lists all commands.", shown=mention)
    raise RequestError(f"There is no command {quote(first)}; {hint}")


def _second_word_missing(first: str, family: Mapping[str, Command]) -> str:
    """Return what to write after the first word of a family of commands."""
    usage = next((f"{mention(one.short_usage)}, or " for one in family.values() if one.is_family_default), "")
    words = [word for word, one in family.items() if not one.is_family_default]
    return f"A word is missing. Write {usage}one of these after {mention(first)}: {', '.join(words)}."


def parse_command_line(text: str, commands: Mapping[str, Command]) -> CommandLine:
    """Return the command line in `text` (without the prefix). Options may stand before and after the leading words.

    Raises RequestError, one sentence, for an unknown command or option, a wrong value or a missing leading word.
    """
    command, rest = find_command(text, commands)
    # White space before leading words and their options means nothing; before the text it is part of the text.
    if command.arguments:
        rest = rest.lstrip()
    options, rest = (
        ({}, rest) if command.is_text_raw else split_options(rest, command.options, refused=command.refused_options)
    )
    arguments: dict[str, str] = {}
    for i, name in enumerate(command.arguments):
        rest = rest.lstrip()
        word, after = _split_argument(rest)
        if not rest:
            if i < len(command.arguments) - command.num_optional_arguments:
                such_as = f", such as {mention(command.examples[0])}" if command.examples else ""
                raise RequestError(f"{name} is missing. Write {mention(command.short_usage)}{such_as}.")
            break
        arguments[name] = word
        rest = after
    if arguments and command.options:
        rest = rest.lstrip() if command.text == "none" else rest
        more, rest = split_options(rest, command.options, refused=command.refused_options)
        both = sorted(set(options) & set(more))
        if both:
            raise RequestError(f"{mention_option(both[0])} is given twice.")
        options |= more
    if command.takes_rest and len(arguments) == len(command.arguments) and rest.strip():
        arguments[command.arguments[-1]] += f" {rest.strip()}"
    elif command.text == "none" and rest.strip():
        raise RequestError(_takes_no_text(command, rest.strip()))
    return CommandLine(command, arguments, options, "" if command.text == "none" else rest)


def _takes_no_text(command: Command, text: str) -> str:
    """Return the sentence about a text that nothing reads: it may be the value of an option."""
    for option in command.options:
        if text.casefold() in option.choices:
            meant = mention(f"{command.name} --{option.name} {text.casefold()}")
            return f"{mention(command.short_usage)} takes no text after it; did you mean {meant}?"
    return f"{mention(command.short_usage)} takes no text after it."


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
    known = {option.name: option for option in command.options}
    is_read = not command.is_text_raw and (command.options or not command.arguments)
    is_misread = is_read and bool(_option_sign(text, known))
    return f"{line} {'-- ' if is_misread else ''}{text}"


def _quoted(value: str) -> str:
    """Return `value` in quotation marks if it would otherwise not be read back as one value."""
    is_plain = value and value[0] not in _QUOTES and value[0] not in DASHES and not any(map(str.isspace, value))
    if is_plain:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
