"""The store's public interface: everything that the bot remembers, in one database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError, Unavailable
from bot.store.backends import open_backend
from bot.store.backups import BackupFolder
from bot.store.cards import OpenCards
from bot.store.channel_settings import ChannelSettings
from bot.store.drafts import Drafts
from bot.store.hosted import Hosted
from bot.store.hosted_places import HostedPlaces
from bot.store.inbox import Inbox
from bot.store.messages import Messages
from bot.store.moving import find_move
from bot.store.notes import Notes
from bot.store.people import People
from bot.store.pictures import Pictures
from bot.store.processes import Processes
from bot.store.proposals import Proposals
from bot.store.replies import Replies
from bot.store.retention import Retention
from bot.store.rewriting import Rewriting
from bot.store.row_outcomes import RowOutcomes
from bot.store.story import Stories
from bot.store.templates import ServerTemplates
from bot.store.watermarks import Watermarks


class Store(
    Messages,
    Replies,
    Rewriting,
    ChannelSettings,
    OpenCards,
    Proposals,
    Stories,
    Inbox,
    Processes,
    Pictures,
    Watermarks,
    Notes,
    ServerTemplates,
    Drafts,
    RowOutcomes,
    People,
    Hosted,
    HostedPlaces,
    Retention,
):
    """Messages, replies, settings, open cards, stories, the inbox and servers' templates, each in its own module.

    Every method may raise Unavailable: the disk is full, the file is busy, or the bot is shutting down. When a call
    returns, its changes are on the disk.
    """

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Path | DatabaseUrl, backup_dir: Path | None = None) -> AsyncIterator["Store"]:
        """Open the store in the database at `address`; create or migrate it. Raises StoreError, one sentence.

        `backup_dir` is the folder of the backups of a file (None: one beside it).
        """
        async with open_backend(address, backup_dir) as database:
            try:
                moving_from = await find_move(database)
            except Unavailable:
                moving_from = ""  # who asks for something first is told
            if moving_from:
                raise StoreError(
                    f"The database {database.name} is only partly filled: a move from {moving_from} was interrupted."
                    " Finish it: python -m bot store move FROM TO."
                )
            yield cls(database)

    @property
    def path(self) -> Path | None:
        """Return the database file's real path; None for one on a server."""
        return self._database.path

    @property
    def notices(self) -> tuple[str, ...]:
        """Return sentences for the operator about repairs while opening, such as a restored backup."""
        return self._database.notices

    @property
    def longest_turn_s(self) -> float:
        """Return how long the longest write took since the store was opened, in seconds."""
        return self._database.longest_turn_s

    @property
    def problem(self) -> str:
        """Return one sentence if the database can't be read or written now, "" if it can."""
        return self._database.problem

    @property
    def backups(self) -> BackupFolder | None:
        """Return the folder of the backups; None for a database on a server, which has its own."""
        return self._database.backups

    async def back_up(self) -> Path:
        """Write a backup into its folder and return its path; a damaged database is restored from it.

        Text that is erased later stays in it, so the caller must remove old backups. Raises Unavailable.
        """
        return await self._database.back_up()
