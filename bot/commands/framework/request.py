"""From a message to a request: limits of messages and quotas, the command, and the text it asks about."""

import re
import time
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Command, Request, TextSource
from bot.commands.framework.help_topics import TOPICS
from bot.commands.framework.parsing import CommandLine, parse_command_line
from bot.core.history import HistoryMessage
from bot.core.mentions import mention
from bot.core.messages import AttachmentFormat, Author, Message, Reach, Scope
from bot.core.platform_traits import PlatformTraits
from bot.core.rights import has_quota
from bot.core.safe_text import clean_history_text, replace_lone_surrogates
from bot.core.stopping import Stopper
from bot.core.suggesting import nearest
from bot.core.wording import quote
from bot.errors import RequestError
from bot.store.cards import OpenCard
from bot.store.store import Store

MAX_TEXT_BYTES: Final = 256 * 1024
UNREADABLE: Final = (
    "That message can't be read: it is empty, deleted or not stored, or its author asked not to be read."
)
MAX_BYTES_PER_HOUR: Final = 8 * 2**20
_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_MAX_HELP: Final = 200  # characters of a message that asks for help
_MAX_LOOKED_AT: Final = 4096  # characters at once
# A code block around all of a text, with the name of its language.
_FENCED: Final = re.compile(r"\s*```(?:[\w+#.-]*[ \t]*\n)?((?:(?!```).)*?)\n?```\s*", re.DOTALL)
_HELP: Final = re.compile(r"help(?:\s+(\S*\w.*?))?\s*[.?!]*", re.IGNORECASE | re.DOTALL)


def check_message(message: Message, traits: PlatformTraits) -> Message:
    """Return `message` as it may be stored. Raises RequestError if it is too long, or has neither text nor picture."""
    text = replace_lone_surrogates(message.text)
    attachment = None if message.attachment is None else replace_lone_surrogates(message.attachment)
    for part in (text, attachment or ""):
        num_bytes = len(part.encode())
        if num_bytes > MAX_TEXT_BYTES:
            raise RequestError(f"The text has {num_bytes:,} bytes; the limit is {MAX_TEXT_BYTES:,}. Shorten it.")
    # Invisible characters are no text either: the model would answer the message before this one.
    if not (_has_words(text) or _has_words(attachment or "") or message.picture_ids):
        what = (
            "There is no text in that message, and nothing else that I can read. Send text"
            if traits.has_pictures
            else "There was no text. Type a message"
        )
        raise RequestError(f"{what}, or try {mention('help')}.")
    return replace(message, text=text, attachment=attachment)


def has_words(message: Message) -> bool:
    """Say whether there is something to read in `message` besides its pictures."""
    return _has_words(message.text) or _has_words(message.attachment or "")


def _has_words(text: str) -> bool:
    """Say whether something of `text` can be seen; it is cleaned only as far as that takes."""
    parts = (text[i : i + _MAX_LOOKED_AT] for i in range(0, len(text), _MAX_LOOKED_AT))
    return any(clean_history_text(part).strip() for part in parts)


def check_owner(card: OpenCard, author: Author, what: str, command: str) -> None:
    """Raise RequestError unless the `what` (card or form) with the state `card` of `command` belongs to `author`."""
    if card.owner_id != author.id:
        raise RequestError(f"That {what} belongs to someone else. Get your own with {mention(command)}.")


def check_moderator(author: Author, command: str) -> None:
    """Raise RequestError unless `author` is a moderator, as `command` requires."""
    if not author.is_moderator:
        raise RequestError(f"Only moderators can use {mention(command)}.")


def why_not(command: Command, message: Message, traits: PlatformTraits) -> str | None:
    """Return the reason why the author of `message` can't use `command` where it was sent, None if they can."""
    author, kind = message.author, message.scope.kind
    if command.who == "moderators" and not author.is_moderator:
        return f"Only moderators can use {mention(command.name)}."
    if command.needs_conversation and (kind == "foreign" or (kind == "group" and not traits.reads_groups)):
        where = "group conversations" if kind == "group" else "servers that I am not in"
        return f"I read no messages in {where}, so there is no {mention(command.name)} here."
    if command.needs_moderators and kind == "direct":
        return f"Direct messages have no moderators. To erase an answer here, use {mention('forget')}."
    return None


def is_command_line(text: str, prefix: str) -> bool:
    """Say whether `text` is a command line."""
    return text.startswith(prefix) and text[len(prefix) :][:1].isalpha()


def typed_line(message: Message, prefix: str, commands: Mapping[str, Command]) -> str:
    """Return the text of `message` as a command line if it addresses the bot and means one; else unchanged.

    `/complete …` is what a slash command looks like that was typed or pasted as a message, `! complete …` what some
    keyboards make of a command, and `help` or `?` what a newcomer writes first.
    """
    text = message.text
    if not message.is_addressed or is_command_line(text, prefix):
        return text
    if message.reply_to is None and text.strip() in ("?", "/", "/?", prefix, f"{prefix}?"):
        return f"{prefix}help"
    first_words = {name.split()[0] for name in commands}
    if text.startswith(f"{prefix} "):
        line = text[len(prefix) :].lstrip()
        word = re.split(r"\s", line, maxsplit=1)[0]
        return f"{prefix}{line}" if word.casefold() in first_words else text
    if text.startswith("/"):
        word = re.split(r"\s", text[1:], maxsplit=1)[0]
        name = word.casefold().removesuffix("-edit")
        return f"{prefix}{name}{text[1 + len(word) :]}" if name in first_words else text
    asked = _HELP.fullmatch(text.strip()) if len(text) <= _MAX_HELP else None
    topic = " ".join(asked[1].split()).casefold().removeprefix(prefix) if asked and asked[1] else ""
    return (
        f"{prefix}help {topic}".strip()
        if asked and (not topic or topic in {*first_words, *commands, *TOPICS})
        else text
    )


def message_of(stored: HistoryMessage, scope: Scope, author: Author, reach: Reach) -> Message:
    """Return a stored message as if `author` sent it now."""
    return Message(
        stored.id,
        scope,
        author,
        stored.text,
        reply_to=stored.reply_to,
        attachment=stored.attachment,
        attachment_format=stored.attachment_format,
        created_at_utc=stored.created_at_utc,
        reach=reach,
    )


async def read_request(
    services: Services,
    commands: Mapping[str, Command],
    message: Message,
    stopper: Stopper,
    *,
    may_store: bool = True,
    click_id: str = "",
) -> Request:
    """Return the request in the command line of `message`, made by a click if `click_id` is given.

    Raises RequestError.
    """
    prefix = services.command_prefix
    line = parse_command_line(message.text[len(prefix) :], commands)
    command = line.command
    if (reason := why_not(command, message, services.traits)) is not None:
        raise RequestError(reason)
    await _check_template(services, commands, message, line)
    text, format = own_text(line, message.attachment, message.attachment_format)
    source = TextSource(message.id, format=format)
    if command.text == "required" and not text.strip():
        text, source = await _replied_text(services, commands, message) or (text, source)
    if command.text == "required" and not text.strip():
        if message.reply_to is not None:
            raise RequestError(UNREADABLE)
        raise RequestError(_text_missing(services, message, line))
    return Request(
        services,
        commands,
        stopper,
        message,
        command,
        line.arguments,
        line.options,
        text,
        source,
        may_store,
        click_id,
    )


async def _check_template(
    services: Services, commands: Mapping[str, Command], message: Message, line: CommandLine
) -> None:
    """Raise RequestError if a command for published templates names none: it may be a draft or a typing error."""
    command, name = line.command, line.arguments.get("NAME")
    if not command.needs_published or name is None:
        return
    templates = await services.templates.of(message.scope)
    if name in templates.names:
        return
    if await services.store.get_draft(message.scope, name, message.author.id):
        publish, draft = mention(f"prompt publish {name}"), mention(f"prompt draft {name}")
        raise RequestError(f"{name} is only a draft of yours. Publish it with {publish}, or see it with {draft}.")
    if command.is_family_default:
        # What follows the family's name may be another command of it.
        family = command.name.split()[0]
        words = [other.split()[1] for other in commands if other.startswith(f"{family} ")]
        meant = nearest(name, (*templates.names, *words))
        if meant in words:
            raise RequestError(f"There is no template {quote(name)}; did you mean {mention(f'{family} {meant}')}?")
    templates.get(name)


def _text_missing(services: Services, message: Message, line: CommandLine) -> str:
    """Return what to write: a picture or a document that was attached is no text either."""
    command, name, traits = line.command, line.arguments.get("NAME"), services.traits
    # Where a slash command is one typed line, nothing can be attached to it.
    may_attach = traits.has_files and (message.reach != "form" or traits.has_slash_groups)
    attach = ", or attach a text file" if may_attach else ""
    if not command.is_family_default:
        return f"The text is missing. Write {mention(command.short_usage)}{attach}."
    family = command.name.split()[0]
    show = mention(f"{family} show {name}")
    return f"The text is missing. Write {mention(f'{family} {name} TEXT')}{attach}; {show} shows the template."


async def _replied_text(
    services: Services, commands: Mapping[str, Command], message: Message
) -> tuple[str, TextSource] | None:
    """Return the text of the message that a command without text replies to, if its author may be read."""
    if message.reply_to is None:
        return None
    source = TextSource(message.reply_to, is_command_line=False)
    return await load_asked(
        services.store, message.scope, source, services.command_prefix, commands, leaves_out_opted_out=True
    )


def asked_line(message: HistoryMessage, prefix: str, commands: Mapping[str, Command]) -> CommandLine | None:
    """Return the command line that the stored `message` holds now; None if it is not valid any more."""
    if not message.text.startswith(prefix):
        return None
    try:
        return parse_command_line(message.text[len(prefix) :], commands)
    except RequestError:
        return None


def own_text(
    line: CommandLine, attachment: str | None, attachment_format: AttachmentFormat
) -> tuple[str, AttachmentFormat]:
    """Return the text that the message of a command asks about, and its format: after the command, or in its file."""
    takes_file = line.command.text == "required" or line.command.takes_file
    if attachment and takes_file and not line.text.strip():
        return attachment, attachment_format
    return _unfenced(line.text), ""


def asked_text(
    message: HistoryMessage, *, is_command_line: bool, prefix: str, commands: Mapping[str, Command]
) -> tuple[str, AttachmentFormat] | None:
    """Return the text that the stored `message` asks about, and its format; None if an edit removed it."""
    if is_command_line:
        line = asked_line(message, prefix, commands)
        return own_text(line, message.attachment, message.attachment_format) if line else None
    if message.attachment and not message.text.strip():
        return message.attachment, message.attachment_format
    return _unfenced(message.whole_text), ""


def _unfenced(text: str) -> str:
    """Return `text` without the one code block that holds all of it."""
    fenced = _FENCED.fullmatch(text)
    return fenced[1] if fenced else text


async def load_asked(
    store: Store,
    scope: Scope,
    source: TextSource,
    prefix: str,
    commands: Mapping[str, Command],
    *,
    leaves_out_opted_out: bool = False,
) -> tuple[str, TextSource] | None:
    """Return the current text at `source` with its current revision; None if it is deleted.

    With `leaves_out_opted_out` also None if its author asked not to be read.
    """
    for message in await store.load_messages(scope, [source.message_id], leaves_out_opted_out=leaves_out_opted_out):
        asked = asked_text(message, is_command_line=source.is_command_line, prefix=prefix, commands=commands)
        if asked is not None:
            text, format = asked
            return text, TextSource(message.id, message.revision, source.is_command_line, format)
    return None


class Quotas:
    """Rate limits: the requests of each person and of each server in the last minute, in memory."""

    def __init__(self) -> None:
        self._asked: dict[Hashable, deque[float]] = {}

    def count(
        self,
        scope: Scope,
        author: Author,
        *,
        num_per_minute: int,
        num_per_server: int = 0,
        server_word: str = "server",
    ) -> None:
        """Count a request of a person, and of their server; one that is refused counts for neither.

        Raises RequestError above `num_per_minute` of a person with a quota, and above `num_per_server` of a server, of
        which nobody is exempt (0: no limit).
        """
        now = time.monotonic()
        counted: list[deque[float]] = []
        if has_quota(scope.kind, author):
            asked = self._since_a_minute((scope.platform, scope.server, author.id), now)
            if wait_s := _wait_s(asked, num_per_minute, now):
                raise RequestError(f"You made {_requests(num_per_minute)} within a minute. Try again in {wait_s} s.")
            counted.append(asked)
        if num_per_server and scope.has_server:
            asked = self._since_a_minute((scope.platform, scope.server), now)
            if wait_s := _wait_s(asked, num_per_server, now):
                raise RequestError(
                    f"This {server_word} made {_requests(num_per_server)} within a minute, which is its limit."
                    f" Try again in {wait_s} s."
                )
            counted.append(asked)
        for asked in counted:
            asked.append(now)
        self._forget_idle(now)

    def _since_a_minute(self, key: Hashable, now: float) -> deque[float]:
        """Return when the requests of the last minute were made."""
        asked = self._asked.setdefault(key, deque())
        while asked and asked[0] <= now - _MINUTE_S:
            asked.popleft()
        return asked

    def _forget_idle(self, now: float) -> None:
        if len(self._asked) > 1000:
            idle = [key for key, asked in self._asked.items() if not asked or asked[-1] <= now - _MINUTE_S]
            for key in idle:
                del self._asked[key]


def _requests(num: int) -> str:
    return "1 request" if num == 1 else f"{num:,} requests"


def _wait_s(asked: deque[float], num_per_minute: int, now: float) -> int:
    """Return in how many seconds there is room for another request, 0 if there is now."""
    if len(asked) < num_per_minute:
        return 0
    return int(asked[len(asked) - num_per_minute] + _MINUTE_S - now) + 1


class TextBudget:
    """How much each person may have stored within an hour, in memory."""

    def __init__(self) -> None:
        self._sent: dict[Hashable, deque[tuple[float, int]]] = {}

    def count(self, message: Message) -> None:
        """Count the text and the pictures of a message. Raises RequestError above MAX_BYTES_PER_HOUR of one person."""
        now = time.monotonic()
        key = (message.scope.platform, message.author.id)
        sent = self._sent.setdefault(key, deque())
        while sent and sent[0][0] <= now - _HOUR_S:
            sent.popleft()
        num_bytes = len((message.text + (message.attachment or "")).encode("utf-8", "replace"))
        num_bytes += sum(len(picture.data) for picture in message.pictures)
        if sum(size for _, size in sent) + num_bytes > MAX_BYTES_PER_HOUR:
            wait_min = int((sent[0][0] + _HOUR_S - now) / 60) + 1
            raise RequestError(
                f"You sent {MAX_BYTES_PER_HOUR // 2**20} MiB within an hour, which is the limit. Try again in"
                f" {wait_min} min."
            )
        sent.append((now, num_bytes))
        if len(self._sent) > 1000:
            self._sent = {one: sizes for one, sizes in self._sent.items() if sizes[-1][0] > now - _HOUR_S}
