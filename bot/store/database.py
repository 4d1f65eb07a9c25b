"""One SQLite file through two connections: a writer that does every commit and checkpoint, and a reader."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import aiosqlite

from bot.errors import StoreError, Unavailable
from bot.store.failures import translate
from bot.store.file_lock import FileLock
from bot.store.preparation import prepare

T = TypeVar("T")
Value = str | int | float | None

BUSY_TIMEOUT_S: Final = 5.0
_PRAGMAS: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
)

# At DEBUG aiosqlite logs every statement with its parameters: people's words.
logging.getLogger("aiosqlite").setLevel(logging.INFO)


def storable(value: Value) -> Value:
    """Return `value` as SQLite can hold it: lone surrogates, which UTF-8 has no form for, become U+FFFD."""
    if not isinstance(value, str):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


class Transaction:
    """What a transaction's function works with; it lives until the function returns."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        """Run one statement with `values` for its `?` and return its rows (of RETURNING or SELECT)."""
        return list(await self._connection.execute_fetchall(sql, [storable(value) for value in values]))


class Database:
    """An open database. `open` makes it; all access goes through `write` and `read`.

    SQLite before 3.51.3 can corrupt a file when one connection commits while another one checkpoints. Within a
    process there is one writer; between processes a lock file beside the database keeps writers apart.
    """

    def __init__(
        self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection, file_lock: FileLock
    ) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._file_lock = file_lock
        self._turn = asyncio.Lock()
        self._is_closed = False
        self._has_erased = False

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Database"]:
        """Open the database file at `path`, made where there is none, brought to the newest schema.

        Raises StoreError, one sentence.
        """
        path, file_lock = await asyncio.to_thread(prepare, path)
        connections: list[aiosqlite.Connection] = []
        database: Database | None = None
        try:
            with _translated_at_opening(path):
                writer = await _connect(path, "rw", connections)
                reader = await _connect(path, "ro", connections)
                await reader.execute_fetchall("PRAGMA query_only = ON")
            database = cls(path, writer, reader, file_lock)
            yield database
        finally:
            closing = asyncio.ensure_future(_close(database, connections, file_lock))
            await _finish(closing)

    async def write(self, transaction: Callable[[Transaction], Awaitable[T]], *, erases: bool = False) -> T:
        """Run `transaction` between BEGIN IMMEDIATE and COMMIT and return its result; it happens wholly or not at all.

        Once begun it is finished even when the caller is cancelled. `erases` says that words must be gone from the
        files afterwards. Raises Unavailable (disk full, busy, closed).
        """
        await self._turn.acquire()
        task = asyncio.ensure_future(self._run(transaction, erases))
        task.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(task)

    async def read(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        """Return all rows of one SELECT, which sees everything committed before. Raises Unavailable."""
        if self._is_closed:
            raise Unavailable("The bot is shutting down.")
        with self._translated():
            return list(await self._reader.execute_fetchall(sql, [storable(value) for value in values]))

    async def _run(self, transaction: Callable[[Transaction], Awaitable[T]], erases: bool) -> T:
        if self._is_closed:
            raise Unavailable("The bot is shutting down.")
        with self._translated():
            async with self._file_lock.hold(BUSY_TIMEOUT_S):
                try:
                    await self._writer.execute_fetchall("BEGIN IMMEDIATE")
                    result = await transaction(Transaction(self._writer))
                    await self._writer.execute_fetchall("COMMIT")
                finally:
                    await self._writer.rollback()
                self._has_erased = self._has_erased or erases
                if self._has_erased:
                    await self._checkpoint()
                return result

    async def _checkpoint(self) -> None:
        """Move the write-ahead log into the database and empty it, so that erased words are in neither file.

        What fails here (a reader in the way, a full disk) is done after the next write: the transaction stands.
        """
        with suppress(sqlite3.OperationalError):
            rows = list(await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)"))
            self._has_erased = bool(rows[0][0])

    async def close(self) -> None:
        """Wait for the running transaction, then refuse everything else."""
        async with self._turn:
            self._is_closed = True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as e:
            failure = translate(e, self.path)
            if failure is None:
                raise
            raise failure from e


async def _connect(path: Path, mode: str, connections: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    connection = aiosqlite.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )
    await connection
    connections.append(connection)
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        await connection.execute_fetchall(pragma)
    return connection


@contextmanager
def _translated_at_opening(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as e:
        raise StoreError(f"The database {path} can't be opened: {e}.") from e


async def _close(database: Database | None, connections: list[aiosqlite.Connection], file_lock: FileLock) -> None:
    """Close everything; an aiosqlite connection left open would keep the process alive for ever."""
    try:
        if database is not None:
            await database.close()
            # Closing checkpoints, so it takes its turn among the processes; it happens even without the lock.
            with suppress(Unavailable):
                await file_lock.acquire(BUSY_TIMEOUT_S)
    finally:
        # The reader first: the last connection to close is the one that checkpoints.
        for connection in reversed(connections):
            stopped = connection.stop()
            if stopped is not None:
                await stopped
        file_lock.close()


async def _finish(task: "asyncio.Future[None]") -> None:
    """Wait for `task` to its end, through cancellations, and raise the cancellation then."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as e:
            cancelled = e
    if cancelled is not None:
        raise cancelled
