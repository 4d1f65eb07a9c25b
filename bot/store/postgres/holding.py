"""The right to answer on a platform, or on a part of one, held by one program at a time as locks on the server."""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
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
_LOOK_EVERY_S: Final = 2.0

logger = logging.getLogger(__name__)


@contextmanager
def hold_platform_on_server(
    address: DatabaseUrl, platform: str, *, parts: Sequence[str] = (), num_places: int = 0
) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Let no other program answer on `platform` from the database while the block runs. Raises StoreError.

    With `parts` (of the platform) others may have other parts, and with `num_places` so many programs may answer at a
    time, each in a place of its own. Yields a function that returns the names of what this program has.

    The locks last as long as a transaction on a connection of its own, which also pgbouncer leaves to one client. They
    end with the program; if the server ends, they are taken again when that is back.
    """
    held = _Held(complete(address), platform.lower(), parts, num_places)
    try:
        missing = held.take()
    except psycopg.Error as e:
        raise StoreError(f"The database {address} can't be opened: {cause_of(e)}.") from e
    if missing:
        if num_places:
            raise StoreError(
                f"{num_places} other programs run the bot on {platform} with the database {address}, which is the most"
                " that can; stop one of them first."
            )
        where = platform if missing == platform.lower() else f"{platform}, shard {missing.partition(' ')[2]},"
        raise StoreError(f"Another program already runs the bot on {where} with the database {address}; stop it first.")
    watching = threading.Thread(target=held.watch, name=f"holding {platform}", daemon=True)
    watching.start()
    try:
        yield lambda: held.seats
    finally:
        held.is_over.set()
        watching.join()
        held.close()


class _Held:
    """The locks of one platform, with the connection that has them; `seats` are those of this program alone."""

    def __init__(self, conninfo: str, platform: str, parts: Sequence[str], num_places: int) -> None:
        self._conninfo = conninfo
        self._platform = platform
        self._parts = [f"{platform} {part}" for part in parts]
        self._places = [f"{platform} {number}" for number in range(num_places)]
        self._connection: Connection[Any] | None = None
        self.seats: tuple[str, ...] = ()
        self.is_over = threading.Event()

    def take(self) -> str:
        """Take the locks; return "", or the name of one that another program has. Raises psycopg.Error."""
        connection = psycopg.connect(self._conninfo, prepare_threshold=None)
        try:
            missing = self._take(connection)
        except psycopg.Error:
            connection.close()
            raise
        if missing:
            connection.close()
            # Of no other program: what is in no seat is left to whoever comes.
            self.seats = (f"{self._platform} {uuid.uuid4().hex}",)
            return missing
        self._connection = connection
        return ""

    def _take(self, connection: Connection[Any]) -> str:
        if not (self._parts or self._places):
            self.seats = (self._platform,)
            return "" if _lock(connection, self._platform) else self._platform
        if not _lock(connection, self._platform, is_shared=True):
            return self._platform
        for part in self._parts:
            if not _lock(connection, part):
                return part
        place = next((place for place in self._places if _lock(connection, place)), "")
        if self._places and not place:
            return self._platform
        self.seats = (*self._parts, *([place] if place else []))
        return ""

    def watch(self) -> None:
        """Look at the connection until the end, and take the locks again if they were lost."""
        while not self.is_over.wait(_LOOK_EVERY_S):
            try:
                if self._connection is None:
                    if missing := self.take():
                        logger.error("Another program runs the bot on %s with this database; stop it.", missing)
                else:
                    self._connection.execute("SELECT 1")
            except psycopg.Error:
                self.close()

    def close(self) -> None:
        """Give the locks up, if they are held."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                # Closing alone is noticed later, by pgbouncer or the server, and until then nobody else can have it.
                self._connection.rollback()
            self._connection.close()
            self._connection = None


def _lock(connection: Connection[Any], name: str, *, is_shared: bool = False) -> bool:
    """Take a lock for the transaction; return False if another program has it. Raises psycopg.Error."""
    function = "pg_try_advisory_xact_lock_shared" if is_shared else "pg_try_advisory_xact_lock"
    (row,) = connection.execute(f"SELECT {function}(%s, hashtext(%s))".encode(), [_HOLDING, name]).fetchall()
    return bool(row[0])
