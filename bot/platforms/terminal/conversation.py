"""The part that the interactive and the piped terminal share: a typed line becomes a message, cards answer it."""

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.commands.bot import MAX_TEXT_BYTES, Bot
from bot.core.cards import Card, Form, error_card
from bot.core.messages import Author, FormSubmitted, Message, Scope
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.platforms.terminal.traits import TERMINAL
from bot.trace import note_step

# A file instead of a command's text: `prompt import tale --file tale.prompt`, `perplexity --file "a text.txt"`.
_FILE: Final = re.compile(
    r"""(?P<command>(?:prompt\s+(?:(?:run|import)\s+)?[^\s-]\S*|\w+))\s+--file(?:=|\s+)(?P<path>"[^"]+"|'[^']+'|\S+)\s*\Z"""
)


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
        return cls(bot, Scope(TERMINAL.key, server, channel), author)

    def say(self, text: str, stopper: Stopper, *, message_id: str) -> AsyncIterator[Card]:
        """Send `text` as the message `message_id` and return the snapshots of the answer."""
        note_step(message_id, "received")
        try:
            text, attachment = self._with_file(text)
        except RequestError as e:
            return _only(error_card(str(e)))
        message = Message(message_id, self.scope, self.author, text, attachment=attachment)
        return self.bot.answer(message, stopper)

    def submit(self, form: Form, values: Mapping[str, str], *, submission_id: str) -> AsyncIterator[Card]:
        """Send a completed form as the event `submission_id` and return the snapshots of the answer."""
        note_step(submission_id, "received")
        return self.bot.submit(FormSubmitted(submission_id, self.scope, self.author, form.id, values))

    def no_editor(self, card: Card) -> Card:
        """Return the error for a card that needs an editor if there is none."""
        prefix, name = self.bot.command_prefix, card.data.get("template", "NAME")
        return error_card(
            "This command needs an editor, and there is none here. Use a file instead:"
            f" {prefix}prompt export {name} prints the template, {prefix}prompt import {name} --file PATH reads it.",
            command=card.data.get("command", "chat"),
        )

    def _with_file(self, text: str) -> tuple[str, str | None]:
        """Return the line without its `--file PATH`, and the file's text. Raises RequestError."""
        prefix = self.bot.command_prefix
        found = _FILE.fullmatch(text.removeprefix(prefix)) if text.startswith(prefix) else None
        if found is None:
            return text, None
        path = Path(found["path"].strip("\"'")).expanduser()
        try:
            with path.open("rb") as file:
                data = file.read(MAX_TEXT_BYTES + 1)
            if len(data) > MAX_TEXT_BYTES:
                raise RequestError(f"The file {path.name} is too large: the limit is {MAX_TEXT_BYTES:,} bytes.")
            return f"{prefix}{found['command']}", data.decode()
        except OSError as e:
            raise RequestError(f"The file {path.name} can't be read: {e.strerror or e}.") from e
        except UnicodeDecodeError as e:
            raise RequestError(f"The file {path.name} is not UTF-8 text. Save it as UTF-8.") from e


async def _only(card: Card) -> AsyncIterator[Card]:
    yield card
