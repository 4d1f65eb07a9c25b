"""The right to answer on a platform, held by one program at a time as a lock on the server."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import Connection

from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError
from bot.store.postgres.database import complete
from bot.store.postgres.failures import cause_of

# Of the locks that are two numbers, the first one of those that hold a platform: "Few1" in ASCII.
_HOLDING: Final = 0x46657731
_LOOK_EVERY_S: Final = 10.0

logger = logging.getLogger(__name__)


@contextmanager
def hold_platform_on_server(address: DatabaseUrl, platform: str) -> Iterator[None]:
    """Let no other program answer on `platform` from the database while the block runs. Raises StoreError.

    The lock lasts as long as a transaction on a connection of its own, which also pgbouncer leaves to one client. It
    ends with the program; if the server ends, it is taken again when that is back.
    """
    held = _Held(complete(address), platform.lower())
    try:
        is_free = held.take()
    except psycopg.Error as e:
        raise StoreError(f"The database {address} can't be opened: {cause_of(e)}.") from e
    if not is_free:
        raise StoreError(
            f"Another program already runs the bot on {platform} with the database {address}; stop it first."
        )
    watching = threading.Thread(target=held.watch, name=f"holding {platform}", daemon=True)
    watching.start()
    try:
        yield
    finally:
        held.is_over.set()
        watching.join()
        held.close()


class _Held:
    """The lock of one platform, with the connection that has it."""

    def __init__(self, conninfo: str, platform: str) -> None:
        self._conninfo = conninfo
        self._platform = platform
        self._connection: Connection[Any] | None = None
        self.is_over = threading.Event()

    def take(self) -> bool:
        """Take the lock; return False if another program has it. Raises psycopg.Error."""
        connection = psycopg.connect(self._conninfo, prepare_threshold=None)
        try:
            (row,) = connection.execute(
                "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_HOLDING, self._platform]
            ).fetchall()
        except psycopg.Error:
            connection.close()
            raise
        if not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def watch(self) -> None:
        """Look at the connection until the end, and take the lock again if it was lost."""
        while not self.is_over.wait(_LOOK_EVERY_S):
            try:
                if self._connection is None:
                    if not self.take():
                        logger.error("Another program runs the bot on %s with this database; stop it.", self._platform)
                else:
                    self._connection.execute("SELECT 1")
            except psycopg.Error:
                self.close()

    def close(self) -> None:
        """Give the lock up, if it is held."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                # Closing alone is noticed later, by pgbouncer or the server, and until then nobody else can have it.
                self._connection.rollback()
            self._connection.close()
            self._connection = None
