"""The store's one face: everything that the bot remembers, in one SQLite file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.store.cards import OpenCards
from bot.store.channel_settings import ChannelSettings
from bot.store.database import Database
from bot.store.drafts import Drafts
from bot.store.inbox import Inbox
from bot.store.messages import Messages
from bot.store.notes import Notes
from bot.store.people import People
from bot.store.replies import Replies
from bot.store.retention import Retention
from bot.store.rewriting import Rewriting
from bot.store.row_outcomes import RowOutcomes
from bot.store.templates import ServerTemplates
from bot.store.watermarks import Watermarks


class Store(
    Messages,
    Replies,
    Rewriting,
    ChannelSettings,
    OpenCards,
    Inbox,
    Watermarks,
    Notes,
    ServerTemplates,
    Drafts,
    RowOutcomes,
    People,
    Retention,
):
    """Messages, replies, settings, open cards, the inbox and servers' templates; each noun's module holds its methods.

    Every method may raise Unavailable: the disk is full, the file is busy, or the bot is shutting down. A call that
    returned has been written to the disk.
    """

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Store"]:
        """Open the store in the file `path`, made where there is none. Raises StoreError, one sentence."""
        async with Database.open(path) as database:
            yield cls(database)

    @property
    def path(self) -> Path:
        """Return the database file's real path."""
        return self._database.path

    @property
    def notices(self) -> tuple[str, ...]:
        """Return sentences for the operator about what was repaired at opening: a damaged file, a backup restored."""
        return self._database.notices

    async def back_up(self) -> Path:
        """Write a copy of everything beside the database file and return its path; a damaged file is restored from it.

        It still holds words that are deleted later: whoever makes copies removes them in time. Raises Unavailable.
        """
        return await self._database.back_up()
