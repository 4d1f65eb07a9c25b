"""From a message to a request: what may come in, which command it names, and what that is asked about."""

import time
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Command, Request, TextSource
from bot.commands.framework.parsing import CommandLine, parse_command_line
from bot.core.history import HistoryMessage
from bot.core.messages import Author, Message, Reach, Scope
from bot.core.safe_text import clean_history_text, replace_lone_surrogates
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.store.store import Store

MAX_TEXT_BYTES: Final = 256 * 1024
UNREADABLE: Final = (
    "The message replied to can't be read: it is empty, gone or unknown here, or its author asked not to be read."
)
_MINUTE_S: Final = 60.0


def check_message(message: Message) -> Message:
    """Return `message` as it may be stored. Raises RequestError where it is too long or says nothing."""
    text = replace_lone_surrogates(message.text)
    attachment = None if message.attachment is None else replace_lone_surrogates(message.attachment)
    for part in (text, attachment or ""):
        num_bytes = len(part.encode())
        if num_bytes > MAX_TEXT_BYTES:
            raise RequestError(f"That text has {num_bytes:,} bytes; at most {MAX_TEXT_BYTES:,} are read. Shorten it.")
    # Invisible characters alone say nothing either: the model would answer what was said before.
    if not clean_history_text(text + (attachment or "")).strip():
        raise RequestError("That message is empty; say something, or ask for help.")
    return replace(message, text=text, attachment=attachment)


def is_command_line(text: str, prefix: str) -> bool:
    """Say whether `text` is meant as a command."""
    return text.startswith(prefix) and text[len(prefix) :][:1].isalpha()


def message_of(stored: HistoryMessage, scope: Scope, author: Author, reach: Reach) -> Message:
    """Return a stored message as if `author` said it now."""
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
    has_buttons: bool,
    may_store: bool = True,
) -> Request:
    """Return what the command line in `message` asks for. Raises RequestError, one sentence."""
    prefix = services.command_prefix
    line = parse_command_line(message.text[len(prefix) :], commands)
    command = line.command
    if command.who == "moderators" and not message.author.is_moderator:
        raise RequestError(f"{command.name} is for moderators.")
    text, source = own_text(line, message.attachment), TextSource(message.id)
    if command.text == "required" and not text.strip():
        text, source = await _replied_text(services, commands, message) or (text, source)
    if command.text == "required" and not text.strip():
        if message.reply_to is not None:
            raise RequestError(UNREADABLE)
        raise RequestError(f"{command.text_name} is missing: {prefix}{command.usage}")
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
        has_buttons,
        may_store,
    )


async def _replied_text(
    services: Services, commands: Mapping[str, Command], message: Message
) -> tuple[str, TextSource] | None:
    """Return the words of the message that a command without a text replies to, if its author may be read."""
    if message.reply_to is None:
        return None
    source = TextSource(message.reply_to, is_command_line=False)
    return await load_asked(
        services.store, message.scope, source, services.command_prefix, commands, leaves_out_opted_out=True
    )


def asked_line(message: HistoryMessage, prefix: str, commands: Mapping[str, Command]) -> CommandLine | None:
    """Return the command line that the stored `message` holds now; None where it no longer is a valid one."""
    if not message.text.startswith(prefix):
        return None
    try:
        return parse_command_line(message.text[len(prefix) :], commands)
    except RequestError:
        return None


def own_text(line: CommandLine, attachment: str | None) -> str:
    """Return the text that was asked about in the message of a command: behind it, or in the attached file."""
    if line.command.text != "required" or line.text.strip():
        return line.text
    return attachment or ""


def asked_text(
    message: HistoryMessage, *, is_command_line: bool, prefix: str, commands: Mapping[str, Command]
) -> str | None:
    """Return the text in the stored `message` that was asked about; None where an edit took it away."""
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
    """Return the text at `source` as it is now, with its present revision; None where it is gone.

    With `leaves_out_opted_out` also where its author asked not to be read.
    """
    for message in await store.load_messages(scope, [source.message_id], leaves_out_opted_out=leaves_out_opted_out):
        text = asked_text(message, is_command_line=source.is_command_line, prefix=prefix, commands=commands)
        if text is not None:
            return text, TextSource(message.id, message.revision, source.is_command_line)
    return None


class Quotas:
    """How often each person has asked in the last minute, in memory."""

    def __init__(self) -> None:
        self._asked: dict[Hashable, deque[float]] = {}

    def count(self, scope: Scope, author: Author, *, num_per_minute: int) -> None:
        """Count a request. Raises RequestError above `num_per_minute` of one person; moderators are not counted."""
        if author.is_moderator and not scope.is_direct:
            return
        now = time.monotonic()
        asked = self._asked.setdefault((scope.platform, scope.server, author.id), deque())
        while asked and asked[0] <= now - _MINUTE_S:
            asked.popleft()
        if len(asked) >= num_per_minute:
            wait_s = int(asked[len(asked) - num_per_minute] + _MINUTE_S - now) + 1
            raise RequestError(f"You have asked {num_per_minute} times within a minute; ask again in {wait_s} s.")
        asked.append(now)
        self._forget_idle(now)

    def _forget_idle(self, now: float) -> None:
        if len(self._asked) > 1000:
            idle = [key for key, asked in self._asked.items() if not asked or asked[-1] <= now - _MINUTE_S]
            for key in idle:
                del self._asked[key]
