"""What may follow in a command line that is being typed: a name, an option, a value, or free text."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.commands.framework.command import Command
from bot.commands.framework.parsing import find_command
from bot.core.mentions import OPTION_SIGN
from bot.errors import RequestError

# Returns the values of the leading word, or of the whole text, NAME of a command, given the leading words before it.
ValuesOf = Callable[[Command, str, Sequence[str]], Sequence[str]]

# A value with what ends it: one word, or a quoted text.
_ENDED_VALUE: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|“[^”]*”|[^\s"'“]\S*)\s""")


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to go on; `help` says what it means."""

    value: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What may stand at the end of a line: one of `offers`, in place of its characters from `start` on.

    `hint` is a sentence for where nothing can be listed. `command` is the line's command, if it is known by then;
    `is_option` says that the name of one of its options may stand there, `is_text` that all from `start` on is the
    command's free text.
    """

    start: int
    offers: tuple[Offer, ...] = ()
    hint: str = ""
    command: Command | None = None
    is_option: bool = False
    is_text: bool = False


def expected_at_end(line: str, commands: Mapping[str, Command], values_of: ValuesOf) -> Expected:
    """Return what may stand at the end of `line` (without its prefix)."""
    first, rest = _split_word(line)
    seconds = {name.split()[1]: one for name, one in commands.items() if name.startswith(f"{first.lower()} ")}
    if first == line:
        return Expected(0, _starting_with(first, _first_words(commands)), "There is no such command.")
    if seconds and not any(map(str.isspace, rest)):
        offers = [Offer(second, command.summary) for second, command in seconds.items()]
        for command in seconds.values():
            if command.is_family_default:
                offers += [Offer(value) for value in values_of(command, command.arguments[0], ())]
        return Expected(len(line) - len(rest), _starting_with(rest, offers), "There is nothing of that name.")
    try:
        command, rest = find_command(line, commands)
    except RequestError as e:
        return Expected(len(line), hint=str(e))
    return _Reading(line, command, values_of).expected(rest)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A line, read from its command's name on."""

    line: str
    command: Command
    values_of: ValuesOf

    def expected(self, rest: str) -> Expected:
        """Return what may stand at the end of `rest`, the line after the command's name."""
        words: list[str] = []
        given: set[str] = set()
        while True:
            rest = rest.lstrip()
            word, after = _split_word(rest)
            is_last = word == rest
            if word == OPTION_SIGN and not is_last:
                return self._text(after, words)
            if word.startswith(OPTION_SIGN):
                found = self._option(rest, word, given, is_last=is_last)
                if not isinstance(found, str):
                    return found
                rest = found
            elif len(words) < len(self.command.arguments):
                if is_last:
                    return self._listed(word, self.command.arguments[len(words)], words)
                words.append(word)
                rest = after
            else:
                return self._text(rest, words)

    def _option(self, rest: str, word: str, given: set[str], *, is_last: bool) -> Expected | str:
        """Return what may stand at the end of the option that begins `rest`, or what follows it."""
        typed, equals, value = word[len(OPTION_SIGN) :].partition("=")
        name = typed.replace("-", "_")
        if is_last and not equals:
            hint = "There is no such option." if self.command.options else "This command has no options."
            offers = _starting_with(f"{OPTION_SIGN}{name}", self._options(given))
            return Expected(self._start(word), offers, hint, self.command, is_option=True)
        after = rest[len(word) - len(value) :] if equals else rest[len(word) :].lstrip()
        option = next((one for one in self.command.options if one.name == name), None)
        if option is None:
            return Expected(len(self.line), hint=f"There is no option {OPTION_SIGN}{typed}.", command=self.command)
        given.add(name)
        if ended := _ENDED_VALUE.match(after):
            return after[ended.end() :]
        start = self._start(after)
        values = option.choices or self.values_of(self.command, option.name, ())
        offers = _starting_with(after, [Offer(value) for value in values])
        return Expected(start, offers, f"{option.name} takes {option.takes}: {option.help}.", self.command)

    def _options(self, given: set[str]) -> list[Offer]:
        """Return the options that may still be given."""
        options = [one for one in self.command.options if one.is_repeatable or one.name not in given]
        return [Offer(f"{OPTION_SIGN}{one.name}", one.help) for one in options]

    def _text(self, rest: str, words: Sequence[str]) -> Expected:
        """Return what may stand at the end of the text."""
        if self.command.text == "none":
            return Expected(len(self.line), hint="Nothing may follow here. Press ENTER.", command=self.command)
        found = self._listed(rest, self.command.text_name, words)
        is_text = not found.offers and not self.command.is_text_raw
        return Expected(self._start(rest), command=self.command, is_text=True) if is_text else found

    def _listed(self, typed: str, name: str, words: Sequence[str]) -> Expected:
        values = [Offer(value) for value in self.values_of(self.command, name, words)]
        return Expected(self._start(typed), _starting_with(typed, values), f"Type {name}.", self.command)

    def _start(self, typed: str) -> int:
        return len(self.line) - len(typed)


def _split_word(text: str) -> tuple[str, str]:
    """Return the first word and what follows it, each without white space before it."""
    text = text.lstrip()
    word = re.split(r"\s", text, maxsplit=1)[0]
    return word, text[len(word) :].lstrip()


def _first_words(commands: Mapping[str, Command]) -> list[Offer]:
    """Return the first words of all commands, each with what it does, or with what may follow it."""
    seconds: dict[str, list[str]] = {}
    for name in commands:
        first, _, second = name.partition(" ")
        seconds.setdefault(first, []).append(second)
    return [
        Offer(first, commands[first].summary if first in commands else ", ".join(seconds[first]))
        for first in sorted(seconds)
    ]


def _starting_with(typed: str, offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """Return the offers that start with what was typed, whatever its case."""
    return tuple(offer for offer in offers if offer.value.casefold().startswith(typed.casefold()))
