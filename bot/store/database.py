"""One SQLite file through two connections: a writer that does every commit and checkpoint, and a reader."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from bot.errors import StoreError, Unavailable
from bot.store.failures import translate, why_not_opened
from bot.store.file_lock import FileLock
from bot.store.preparation import PRAGMAS, Prepared, prepare

T = TypeVar("T")
Value = str | int | float | None

BUSY_TIMEOUT_S: Final = 5.0
_CHECKPOINT_TIMEOUT_MS: Final = 250

logger = logging.getLogger(__name__)
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
    `notices` are sentences for the operator about what was repaired at opening.
    """

    def __init__(self, prepared: Prepared, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self.path = prepared.path
        self.notices = prepared.notices
        self._file_lock = prepared.file_lock
        self._writer = writer
        self._reader = reader
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[Any] | None = None
        self._is_closed = False
        self._has_erased = False

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Database"]:
        """Open the database file at `path`, made where there is none, brought to the newest schema.

        Raises StoreError, one sentence.
        """
        prepared = await _prepare(path)
        connections: list[aiosqlite.Connection] = []
        database: Database | None = None
        try:
            try:
                writer = await _connect(prepared.path, "rw", connections)
                reader = await _connect(prepared.path, "ro", connections)
                await reader.execute_fetchall("PRAGMA query_only = ON")
            except sqlite3.Error as e:
                raise StoreError(f"The database {prepared.path} can't be opened: {why_not_opened(e)}.") from e
            database = cls(prepared, writer, reader)
            yield database
        finally:
            await _finish(asyncio.ensure_future(_close(database, connections, prepared.file_lock)))

    async def write(self, transaction: Callable[[Transaction], Awaitable[T]], *, erases: bool = False) -> T:
        """Run `transaction` between BEGIN IMMEDIATE and COMMIT and return its result: all of it happens, or nothing.

        Once begun it is finished even when the caller is cancelled. `erases` says that words must be gone from the
        files afterwards. Raises Unavailable (disk full, busy, closed).
        """
        await self._turn.acquire()
        task = asyncio.ensure_future(self._run(transaction, erases))
        self._running = task
        task.add_done_callback(lambda _: self._turn.release())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def read(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        """Return all rows of one SELECT, which sees everything committed before. Raises Unavailable."""
        self._check_open()
        with self._translated():
            return list(await self._reader.execute_fetchall(sql, [storable(value) for value in values]))

    async def close(self) -> None:
        """Let the running transaction finish, then refuse everything else."""
        async with self._turn:
            self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("The bot is shutting down; try again when it is back.")

    async def _run(self, transaction: Callable[[Transaction], Awaitable[T]], erases: bool) -> T:
        self._check_open()
        with self._translated():
            async with self._file_lock.hold(BUSY_TIMEOUT_S):
                try:
                    await self._writer.execute_fetchall("BEGIN IMMEDIATE")
                    result = await transaction(Transaction(self._writer))
                    await self._writer.execute_fetchall("COMMIT")
                finally:
                    # Always queued: when this task itself is cancelled, BEGIN may not have run yet.
                    await self._writer.rollback()
                self._has_erased = self._has_erased or erases
                if self._has_erased:
                    await self._checkpoint()
                return result

    async def _checkpoint(self) -> None:
        """Move the write-ahead log into the database and empty it, so that erased words are in neither file.

        What fails here (a reader in the way, a full disk) is done after the next write: the transaction stands.
        """
        try:
            await self._writer.execute_fetchall(f"PRAGMA busy_timeout = {_CHECKPOINT_TIMEOUT_MS}")
            rows = list(await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)"))
            self._has_erased = bool(rows[0][0])
        except sqlite3.OperationalError as e:
            logger.warning("emptying the log of the database failed: %s", e)
        finally:
            await self._writer.execute_fetchall(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as e:
            failure = translate(e, self.path)
            if failure is None:
                raise
            raise failure from e


async def _prepare(path: Path) -> Prepared:
    preparing = asyncio.ensure_future(asyncio.to_thread(prepare, path))
    try:
        return await asyncio.shield(preparing)
    except asyncio.CancelledError:
        preparing.add_done_callback(_drop_prepared)
        raise


def _drop_prepared(preparing: "asyncio.Task[Prepared]") -> None:
    if not preparing.cancelled() and preparing.exception() is None:
        preparing.result().file_lock.close()


async def _connect(path: Path, mode: str, connections: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    connection = aiosqlite.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )
    await connection  # when this fails it has stopped its thread by itself
    connections.append(connection)
    connection.row_factory = sqlite3.Row
    for pragma in PRAGMAS:
        await connection.execute_fetchall(pragma)
    return connection


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
    task.result()


def _log_failure(task: "asyncio.Task[Any]") -> None:
    """Say on the log what a cancelled caller no longer hears."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("a transaction whose caller was cancelled failed: %s", task.exception())
