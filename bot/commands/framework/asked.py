"""What a command was asked about, read again from the stored message."""

from collections.abc import Mapping

from bot.commands.framework.command import Command, TextSource
from bot.commands.framework.parsing import CommandLine, parse_command_line
from bot.core.history import HistoryMessage
from bot.core.messages import Scope
from bot.errors import RequestError
from bot.store.store import Store


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
    store: Store, scope: Scope, source: TextSource, prefix: str, commands: Mapping[str, Command]
) -> tuple[str, TextSource] | None:
    """Return the text at `source` as it is now, with its present revision; None where it is gone."""
    for message in await store.load_messages(scope, [source.message_id]):
        text = asked_text(message, is_command_line=source.is_command_line, prefix=prefix, commands=commands)
        if text is not None:
            return text, TextSource(message.id, message.revision, source.is_command_line)
    return None
