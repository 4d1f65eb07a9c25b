"""From what a person said to a message: its words as people read them, and whether they are for the bot."""

from collections.abc import Mapping
from typing import Final

from bot.commands.bot import Bot
from bot.core.messages import Author, Message
from bot.core.safe_text import FALLBACK_NAME
from bot.platforms.slack.incoming.people import People
from bot.platforms.slack.incoming.reading import Said, mentioned_ids, mentions_bot, message_of, plain_text
from bot.platforms.slack.incoming.threads import Threads
from bot.platforms.slack.workspaces import Workspace

NO_NAMES: Final[Mapping[str, str]] = {}


class MessageReader:
    """Reads what people say; Slack is asked for names only where they matter."""

    def __init__(self, bot: Bot, people: People, threads: Threads) -> None:
        self._bot = bot
        self._people = people
        self._threads = threads

    async def names_in(self, said: Said, workspace: Workspace) -> Mapping[str, str]:
        """Return the names of the people whom a message mentions."""
        others = [user_id for user_id in mentioned_ids(said.text) if user_id != workspace.user_id]
        return await self._people.names(workspace, others)

    def text_of(self, said: Said, workspace: Workspace, names: Mapping[str, str]) -> str:
        """Return the words of a message, with `names` for the people whom it mentions."""
        names = {**names, workspace.user_id: self._bot.name}
        return plain_text(
            said.text,
            workspace,
            command_prefix=self._bot.command_prefix,
            name_of=lambda user_id: names.get(user_id, ""),
        )

    async def read(self, said: Said, workspace: Workspace, names: Mapping[str, str]) -> Message:
        """Return what was said as a message, without asking Slack who said it.

        Raises Unavailable if it is unknown whether its thread is the bot's.
        """
        text = self.text_of(said, workspace, names)
        is_addressed = (
            said.kind == "direct" or mentions_bot(said.text, workspace) or await self._threads.is_ours(said, workspace)
        )
        author = Author(said.user_id, FALLBACK_NAME)
        message = message_of(said, author, text=text, is_addressed=is_addressed)
        if not is_addressed and self._bot.is_meant(message):  # a command
            message = message_of(said, author, text=text, is_addressed=False, is_command=True)
        return message
