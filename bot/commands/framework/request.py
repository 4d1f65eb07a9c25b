"""From a message to a request: limits of messages and quotas, the command, and the text it asks about."""

import time
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Command, Request, TextSource
from bot.commands.framework.parsing import CommandLine, parse_command_line
from bot.core.history import HistoryMessage
from bot.core.mentions import mention
from bot.core.messages import Author, Message, Reach, Scope
from bot.core.safe_text import clean_history_text, replace_lone_surrogates
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.store.cards import OpenCard
from bot.store.store import Store

MAX_TEXT_BYTES: Final = 256 * 1024
UNREADABLE: Final = (
    "That message can't be read: it is empty, deleted or not stored, or its author asked not to be read."
)
_MINUTE_S: Final = 60.0


def check_message(message: Message) -> Message:
    """Return `message` as it may be stored. Raises RequestError if it is too long or has no text."""
    text = replace_lone_surrogates(message.text)
    attachment = None if message.attachment is None else replace_lone_surrogates(message.attachment)
    for part in (text, attachment or ""):
        num_bytes = len(part.encode())
        if num_bytes > MAX_TEXT_BYTES:
            raise RequestError(f"The text has {num_bytes:,} bytes; the limit is {MAX_TEXT_BYTES:,}. Shorten it.")
    # Invisible characters are no text either: the model would answer the message before this one.
    if not clean_history_text(text + (attachment or "")).strip():
        raise RequestError(f"I can't read pictures, and there was no text. Send text, or try {mention('help')}.")
    return replace(message, text=text, attachment=attachment)


def check_owner(card: OpenCard, author: Author, what: str, command: str) -> None:
    """Raise RequestError unless the `what` (card or form) with the state `card` of `command` belongs to `author`."""
    if card.owner_id != author.id:
        raise RequestError(f"That {what} belongs to someone else. Get your own with {mention(command)}.")


def check_moderator(author: Author, command: str) -> None:
    """Raise RequestError unless `author` is a moderator, as `command` requires."""
    if not author.is_moderator:
        raise RequestError(f"Only moderators can use {mention(command)}.")


def is_command_line(text: str, prefix: str) -> bool:
    """Say whether `text` is a command line."""
    return text.startswith(prefix) and text[len(prefix) :][:1].isalpha()


def message_of(stored: HistoryMessage, scope: Scope, author: Author, reach: Reach) -> Message:
    """Return a stored message as if `author` sent it now."""
    return Message(
        stored.id,
        scope,
        author,
        stored.text,
        reply_to=stored.reply_to,
        attachment=stored.attachment,
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
    if command.who == "moderators":
        check_moderator(message.author, command.name)
    text, source = own_text(line, message.attachment), TextSource(message.id)
    if command.text == "required" and not text.strip():
        text, source = await _replied_text(services, commands, message) or (text, source)
    if command.text == "required" and not text.strip():
        if message.reply_to is not None:
            raise RequestError(UNREADABLE)
        raise RequestError(f"The text is missing. Write {mention(command.short_usage)}.")
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


def own_text(line: CommandLine, attachment: str | None) -> str:
    """Return the text that the message of a command asks about: after the command, or in the attached file."""
    if line.command.text != "required" or line.text.strip():
        return line.text
    return attachment or ""


def asked_text(
    message: HistoryMessage, *, is_command_line: bool, prefix: str, commands: Mapping[str, Command]
) -> str | None:
    """Return the text that the stored `message` asks about; None if an edit removed it."""
    if not is_command_line:
        return message.whole_text
    line = asked_line(message, prefix, commands)
    return own_text(line, message.attachment) if line else None


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
        text = asked_text(message, is_command_line=source.is_command_line, prefix=prefix, commands=commands)
        if text is not None:
            return text, TextSource(message.id, message.revision, source.is_command_line)
    return None


class Quotas:
    """Rate limits: the requests of each person in the last minute, in memory."""

    def __init__(self) -> None:
        self._asked: dict[Hashable, deque[float]] = {}

    def count(self, scope: Scope, author: Author, *, num_per_minute: int) -> None:
        """Count a request. Raises RequestError above `num_per_minute` of one person; moderators have no limit."""
        if author.is_moderator and not scope.is_direct:
            return
        now = time.monotonic()
        asked = self._asked.setdefault((scope.platform, scope.server, author.id), deque())
        while asked and asked[0] <= now - _MINUTE_S:
            asked.popleft()
        if len(asked) >= num_per_minute:
            wait_s = int(asked[len(asked) - num_per_minute] + _MINUTE_S - now) + 1
            raise RequestError(f"You made {num_per_minute} requests within a minute. Try again in {wait_s} s.")
        asked.append(now)
        self._forget_idle(now)

    def _forget_idle(self, now: float) -> None:
        if len(self._asked) > 1000:
            idle = [key for key, asked in self._asked.items() if not asked or asked[-1] <= now - _MINUTE_S]
            for key in idle:
                del self._asked[key]
