"""The declaration of a command: name, permissions, typed options and the function that answers it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from bot.commands.context import Services
from bot.core.cards import Card, Table
from bot.core.engine import Asker
from bot.core.messages import AttachmentFormat, Click, FormSubmitted, Message
from bot.core.sampling_params import OPTIONS, PRESETS, SamplingOption
from bot.core.stopping import Stopper
from bot.core.wording import quote
from bot.errors import RequestError
from bot.services.chat import asker_of
from bot.store.cards import OpenCard

OptionKind = Literal["whole", "real", "text", "choice"]


@dataclass(frozen=True, slots=True)
class Option:
    """One `--name value`. A repeatable option may be given several times; its values form a tuple.

    `number` is the range of a whole or real one. With `is_suggested` its values are names that a platform may suggest.
    """

    name: str
    kind: OptionKind
    help: str
    choices: tuple[str, ...] = ()
    is_repeatable: bool = False
    number: SamplingOption | None = None
    is_suggested: bool = False

    @property
    def takes(self) -> str:
        """Return a description of the valid values."""
        if self.kind == "choice":
            return ", ".join(self.choices)
        return "a text" if self.number is None else self.number.takes

    def read(self, value: str) -> int | float | str:
        """Return `value` as the option's type. Raises RequestError that names the valid values."""
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
    Option("stop", "text", "a text that ends the answer; up to four", is_repeatable=True),
    Option("preset", "choice", "a named set of options", choices=tuple(PRESETS)),
)

MODEL: Final = Option("model", "text", "another model than the one that answers here", is_suggested=True)
ONE_OR_TWO_MODELS: Final = Option("model", "text", "another model, or two with a comma between", is_suggested=True)


@dataclass(frozen=True, slots=True)
class TextSource:
    """The stored message that holds a request's text, at its revision: after a command, or all of it.

    `format` is that of the attached file that is the text, "" where it is not one with rows.
    """

    message_id: str
    revision: int = 1
    is_command_line: bool = True
    format: AttachmentFormat = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a command: what the command's function gets.

    `commands` are all commands by name. `arguments` are the leading words by name, `options` the given options,
    `text` the rest, verbatim, or the text of the message replied to. `source` is the message that holds the text.
    Without `may_store` nothing may be stored for the asker; a request that `is_look` asked for no more than the answer.
    `click_id` is the id of the click that asked, "" if the message itself did.
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
    may_store: bool = True
    click_id: str = ""
    is_look: bool = False

    @property
    def asker(self) -> Asker:
        """Return the asker of the engine's work for this request."""
        asker = asker_of(self.message)
        return replace(asker, request_id=self.click_id) if self.click_id else asker


Cards = AsyncGenerator[Card]
# Answers a command.
Run = Callable[[Request], Cards]
# Answers a click on an open card, or a submitted form.
Act = Callable[[Services, Click, OpenCard, Stopper], Cards]
Submit = Callable[[Services, FormSubmitted, OpenCard], Cards]


@dataclass(frozen=True, slots=True)
class Command:
    """A command, declared once for all platforms.

    `name` may have two words (`prompt show`). `summary` is an imperative. `arguments` are the names of the leading
    words; with `takes_rest` the last one takes the rest of the line. `text` says whether text follows; slash commands
    may ask for it in `text_parts`, of which the first `num_required_parts` are required. `answers` is how the answer is
    shown; with one of `public_options`, without `is_secret`, or for a request that `is_secret_for` denies, it may be
    public if the platform has no other way. With `is_text_raw` the text is a name, which may begin with `--`.
    `is_family_default` makes the two-word command answer when no second word of its family follows the first word.
    `argument_choices` are the valid values of leading words. `menu` is its name in a message's context menu, None if it
    has none. With `takes_file` an optional text may be an attached file, as a required one always may. With
    `continues_text` a platform may suggest continuations while the text is typed. `texts_measured` takes a
    command's text apart into what the model reads of it exactly; None if it does more than measure. A measurement's
    answer is not stored. With `allows_look` the page may ask for its answer alone: nothing is stored or changed then.
    With `needs_reply` it acts on the message that is replied to; with `needs_conversation` on what is stored of the
    talk around it, which is nothing where the bot reads none, and with `needs_moderators` there must be others who are
    moderators; with `needs_published` its NAME is a published template. It is answered with the model of its template
    or place, unless `find_model` returns another (None: whichever); without `needs_model` it asks none. `words` act on
    its answer when they are typed to that, as its buttons do. `refused_options` says of options that the command sets
    itself why it does not take them. `details` is a longer explanation for help, `details_in_threads` the one where
    nothing can be replied to but in threads, if it differs. `help_table` is what help lists besides the options.
    """

    name: str
    summary: str
    answer: Run
    text: Literal["required", "optional", "none"] = "none"
    text_name: str = "TEXT"
    is_text_raw: bool = False
    arguments: tuple[str, ...] = ()
    num_optional_arguments: int = 0
    argument_choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    refused_options: Mapping[str, str] = field(default_factory=dict)
    who: Literal["all", "moderators"] = "all"
    answers: Literal["public", "private", "form"] = "public"
    public_options: tuple[str, ...] = ()
    is_secret: bool = True
    is_secret_for: Callable[["Request"], Awaitable[bool]] | None = None
    is_family_default: bool = False
    takes_rest: bool = False
    text_parts: tuple[str, ...] = ()
    num_required_parts: int = 0
    menu: str | None = None
    takes_file: bool = False
    continues_text: bool = False
    texts_measured: Callable[[str], Sequence[str]] | None = None
    allows_look: bool = False
    needs_reply: bool = False
    needs_conversation: bool = False
    needs_moderators: bool = False
    needs_published: bool = False
    needs_model: bool = True
    find_model: Callable[["Request"], Awaitable[str | None]] | None = None
    words: tuple[str, ...] = ()
    details: str = ""
    details_in_threads: str = ""
    help_table: Callable[["Request"], Awaitable[Table]] | None = None
    examples: tuple[str, ...] = field(default=())

    @property
    def slash_name(self) -> str:
        """Return the name of the slash command, without the slash.

        Permissions of slash commands hold for whole groups, so a family's commands for moderators form their own group.
        """
        first, _, second = self.name.partition(" ")
        return f"{first}-edit {second}" if second and self.who == "moderators" else self.name

    @property
    def usage(self) -> str:
        """Return the full form of the command for help, without the prefix."""
        words = [self.name]
        if self.options:
            words.append("[--option value …]")
        num_required = len(self.arguments) - self.num_optional_arguments
        words += [name if i < num_required else f"[{name}]" for i, name in enumerate(self.arguments)]
        if self.text != "none":
            words.append(self.text_name if self.text == "required" else f"[{self.text_name}]")
        return " ".join(words)

    @property
    def short_usage(self) -> str:
        """Return the shortest valid form of the command, with placeholders and without the prefix."""
        num_required = len(self.arguments) - self.num_optional_arguments
        text = (self.text_name,) if self.text == "required" else ()
        return " ".join([self.name, *self.arguments[:num_required], *text])
