"""The part that the interactive and the piped terminal share: a typed line becomes a message, cards answer it."""

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from bot.commands.bot import COMMANDS, MAX_TEXT_BYTES, Bot
from bot.commands.framework.parsing import CommandLine, parse_command_line
from bot.core.cards import Card, Form, error_card
from bot.core.mentions import type_mentions
from bot.core.messages import AttachmentFormat, Author, FormSubmitted, Message, Scope, attachment_format
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.platforms.terminal.traits import TERMINAL
from bot.trace import note_step

# A file instead of a command's text: `prompt import tale --file tale.prompt`, `perplexity --file "a text.txt"`.
_FILE: Final = re.compile(r"""\s--file(?:(?:=|\s+)(?P<path>"[^"]+"|'[^']+'|\S+)|=?\s*$)""")

_NUM_LINES: Final = 200  # among so many messages of the channel a person's earlier lines are looked for


def new_id() -> str:
    """Return an id for the next message."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Conversation:
    """One person in one channel of the terminal."""

    bot: Bot
    scope: Scope
    author: Author

    @classmethod
    def of(cls, bot: Bot, *, server: str, channel: str, name: str, is_moderator: bool) -> "Conversation":
        """Return the conversation of the person `name` in `channel` of `server`."""
        author = Author(id=name, name=name, is_moderator=is_moderator)
        return cls(bot, Scope(TERMINAL.key, server, channel, kind="terminal"), author)

    async def typed_lines(self, *, before_utc: datetime) -> tuple[str, ...]:
        """Return the person's stored lines, newest first. Raises Unavailable."""
        return await self.bot.said_by(self.scope, self.author, before_utc=before_utc, limit=_NUM_LINES)

    def message(self, text: str) -> Message:
        """Return a typed line as a message that is not sent yet."""
        return Message(new_id(), self.scope, self.author, text)

    def say(self, text: str, stopper: Stopper, *, message_id: str) -> AsyncIterator[Card]:
        """Send `text` as the message `message_id` and return the snapshots of the answer."""
        note_step(message_id, "received")
        message = Message(message_id, self.scope, self.author, text)
        text = self.bot.line_of(message)
        if (found := _FILE.search(text)) and (line := self._line_before(text[: found.start()])):
            try:
                message = self._with_file(replace(message, text=text), line, found)
            except RequestError as e:
                sentence = type_mentions(str(e), self.bot.command_prefix)
                return _only(error_card(sentence, command=line.command.name))
        return self.bot.answer(message, stopper)

    def submit(self, form: Form, values: Mapping[str, str], *, submission_id: str) -> AsyncIterator[Card]:
        """Send a completed form as the event `submission_id` and return the snapshots of the answer."""
        note_step(submission_id, "received")
        return self.bot.submit(FormSubmitted(submission_id, self.scope, self.author, form.id, values))

    def no_editor(self, card: Card) -> Card:
        """Return the error for a card that needs an editor if there is none."""
        prefix, name, command = self.bot.command_prefix, card.data.get("template", "NAME"), card.data.get("command")
        # A new template has nothing to export yet.
        shown = "OTHER prints another template" if command == "prompt new" else f"{name} prints the template"
        return error_card(
            "This command needs an editor, and there is none here. Use a file instead:"
            f" {prefix}prompt export {shown}, {prefix}prompt import {name} --file PATH reads it.",
            command=command or "chat",
        )

    def _line_before(self, text: str) -> CommandLine | None:
        """Return `text`, what stands before `--file`, as a command line without text; None if it is none."""
        if not text.startswith(self.bot.command_prefix):
            return None
        try:
            line = parse_command_line(text.removeprefix(self.bot.command_prefix), COMMANDS)
        except RequestError:
            return None
        return None if line.text.strip() else line

    def _with_file(self, message: Message, line: CommandLine, found: re.Match[str]) -> Message:
        """Return `message` without its `--file PATH`, with the file attached. Raises RequestError."""
        prefix, name = self.bot.command_prefix, line.command.name
        if line.command.text != "required" and not line.command.takes_file:
            raise RequestError(f"{prefix}{name} reads no file.")
        rest = message.text[: found.start()] + message.text[found.end() :]
        if parse_command_line(rest.removeprefix(prefix), COMMANDS).text.strip():
            raise RequestError(f"{prefix}{name} takes a text or a file, not both.")
        if found["path"] is None:
            raise RequestError("--file needs the path of a file.")
        text, format = _read_file(found["path"].strip("\"'"))
        return replace(message, text=rest, attachment=text, attachment_format=format)


def _read_file(typed: str) -> tuple[str, AttachmentFormat]:
    """Return the text in the file at the path `typed`, and its format. Raises RequestError."""
    path = Path(typed).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise RequestError(f"The file {typed} is too large: the limit is {MAX_TEXT_BYTES:,} bytes.")
        return data.decode("utf-8-sig"), attachment_format(path.name)
    except OSError as e:
        raise RequestError(f"The file {typed} can't be read: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise RequestError(f"The file {typed} is not UTF-8 text. Save it as UTF-8.") from e


async def _only(card: Card) -> AsyncIterator[Card]:
    yield card
