"""What a command is: its name, who may use it, its typed options and the function that answers it."""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bot.commands.context import Services
from bot.core.cards import Card
from bot.core.messages import Click, FormSubmitted, Message
from bot.core.sampling_params import OPTIONS, PRESETS, SamplingOption
from bot.core.stopping import Stopper
from bot.core.wording import quote
from bot.errors import RequestError
from bot.store.cards import OpenCard

OptionKind = Literal["whole", "real", "text", "choice"]


@dataclass(frozen=True, slots=True)
class Option:
    """One `--name value`. A repeatable option may be given several times and gathers its values in a tuple.

    `number` says what a whole or real one takes.
    """

    name: str
    kind: OptionKind
    help: str
    choices: tuple[str, ...] = ()
    is_repeatable: bool = False
    number: SamplingOption | None = None

    @property
    def takes(self) -> str:
        """Describe the values that are taken."""
        if self.kind == "choice":
            return ", ".join(self.choices)
        return "a text" if self.number is None else self.number.takes

    def read(self, value: str) -> int | float | str:
        """Return the typed value. Raises RequestError that states what the option takes."""
        if self.kind == "choice" and value not in self.choices:
            raise RequestError(f"{self.name} takes one of {self.takes}, not {quote(value)}.")
        if self.number is None:
            return value
        try:
            number: int | float = int(value) if self.kind == "whole" else float(value)
        except ValueError:
            raise RequestError(f"{self.name} takes {self.takes}, not {quote(value)}.") from None
        return self.number.check(number, typed=value)


SAMPLING_OPTIONS: Final = (
    *(Option(one.name, "real" if one.is_real else "whole", one.help, number=one) for one in OPTIONS.values()),
    Option("stop", "text", "a text that ends the answer; may be given four times", is_repeatable=True),
    Option("preset", "choice", "a set of options by name", choices=tuple(PRESETS)),
)


@dataclass(frozen=True, slots=True)
class TextSource:
    """The stored message that a request's text stands in, at its revision: behind a command, or all of it."""

    message_id: str
    revision: int = 1
    is_command_line: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """One command as it was asked for: what a command's function gets.

    `commands` are all that there are, by name. `arguments` are the leading words by name, `options` the typed options
    that were given, `text` the rest, verbatim, or the words of the message replied to. `source` is the message that the
    text stands in. `has_buttons` says that the platform has buttons and forms. Without `may_store` the asker wants
    nothing to be stored.
    """

    services: Services
    commands: Mapping[str, "Command"]
    stopper: Stopper
    message: Message
    command: "Command"
    arguments: Mapping[str, str]
    options: Mapping[str, Any]
    text: str
    source: TextSource
    has_buttons: bool = True
    may_store: bool = True


Cards = AsyncGenerator[Card]
# What a command does.
Run = Callable[[Request], Cards]
# What a click on an open card, or a form that was filled in, leads to.
Act = Callable[[Services, Click, OpenCard, Stopper], Cards]
Submit = Callable[[Services, FormSubmitted, OpenCard], Cards]


@dataclass(frozen=True, slots=True)
class Command:
    """A command, declared once for every platform.

    `name` may have two words (`prompt show`). `arguments` name the leading words. `text` says whether the rest of the
    line is wanted; a form may ask for it in `text_parts` instead, of which the first `num_required_parts` are needed.
    `takes_rest` gives the last leading word all that follows. `answers` is how the reply is shown; with one of
    `public_options`, or without `is_secret`, all may see it where there is no other way. `is_family_default` makes the
    two-word command answer when its first word is followed by none of its family's second words. `argument_choices`
    holds the values of leading words that take one of a few. `menu` is its name in
    a message's context menu, None where it has none there. `details` is what else help says about it.
    """

    name: str
    summary: str
    answer: Run
    text: Literal["required", "optional", "none"] = "none"
    text_name: str = "TEXT"
    arguments: tuple[str, ...] = ()
    num_optional_arguments: int = 0
    argument_choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    who: Literal["all", "moderators"] = "all"
    answers: Literal["public", "private", "form"] = "public"
    public_options: tuple[str, ...] = ()
    is_secret: bool = True
    is_family_default: bool = False
    takes_rest: bool = False
    text_parts: tuple[str, ...] = ()
    num_required_parts: int = 0
    menu: str | None = None
    details: str = ""
    examples: tuple[str, ...] = field(default=())

    @property
    def slash_name(self) -> str:
        """Return the name where commands begin with a slash, without it.

        There permissions apply to whole groups, so what a family keeps for moderators stands in a group of its own.
        """
        first, _, second = self.name.partition(" ")
        return f"{first}-edit {second}" if second and self.who == "moderators" else self.name

    @property
    def usage(self) -> str:
        """Return the form of the command as help shows it, without the prefix."""
        words = [self.name]
        if self.options:
            words.append("[--option value …]")
        num_required = len(self.arguments) - self.num_optional_arguments
        words += [name if i < num_required else f"[{name}]" for i, name in enumerate(self.arguments)]
        if self.text != "none":
            words.append(self.text_name if self.text == "required" else f"[{self.text_name}]")
        return " ".join(words)
