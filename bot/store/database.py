"""The database: one SQLite file with two connections, a writer for every commit and checkpoint, and a reader."""

import asyncio
import logging
import math
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from bot.errors import StoreError, Unavailable
from bot.store.failures import translate, why_not_opened
from bot.store.file_lock import FileLock
from bot.store.preparation import PRAGMAS, Prepared, prepare, sync_file

T = TypeVar("T")
Value = str | int | float | None

BUSY_TIMEOUT_S: Final = 5.0
_CHECKPOINT_TIMEOUT_MS: Final = 250
# VACUUM rewrites the whole file, so after erasures it runs at most this often, and automatically only in small files.
_VACUUM_PAUSE_S: Final = 60.0
_SMALL_BYTES: Final = 64 * 2**20

logger = logging.getLogger(__name__)
# At DEBUG, aiosqlite logs every statement with its parameters, which contain people's messages.
logging.getLogger("aiosqlite").setLevel(logging.INFO)


def storable(value: Value) -> Value:
    """Return `value` in a form that SQLite can store: lone surrogates, which UTF-8 can't encode, become U+FFFD."""
    if not isinstance(value, str):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


class Transaction:
    """The statements of an open transaction; valid until the transaction's function returns."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self.has_erased = False

    def mark_erased(self) -> None:
        """Request that text erased by this transaction is removed from the files after the commit."""
        self.has_erased = True

    async def execute(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        """Run one statement with `values` for its `?`; return the rows of a SELECT or RETURNING."""
        return list(await self._connection.execute_fetchall(sql, [storable(value) for value in values]))


class Database:
    """An open database. `open` makes it; all access goes through `write` and `read`.

    SQLite before 3.51.3 can corrupt a file if one connection commits while another one checkpoints. So a process has
    one writer, and a lock file beside the database lets only one process write at a time. `notices` are sentences for
    the operator about repairs made while opening.
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
        self._is_log_due = False
        self._is_vacuum_due = False
        self._vacuumed_at_s = -math.inf

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Database"]:
        """Open the database file at `path`; create it if missing, and migrate it to the newest schema.

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

    async def write(self, transaction: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `transaction` between BEGIN IMMEDIATE and COMMIT and return its result: all or nothing takes effect.

        Once started, it finishes even if the caller is cancelled. Raises Unavailable (disk full, busy, closed).
        """
        return await self._take_turn(self._run(transaction))

    async def forget(self) -> None:
        """Remove all erased text from the files, however long that takes. Raises Unavailable."""
        await self._take_turn(self._tidy_alone())

    async def _take_turn(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end with exclusive use of the writer; if cancelled before its turn, never run it."""
        try:
            await self._turn.acquire()
        except BaseException:
            work.close()
            raise
        task = asyncio.ensure_future(work)
        self._running = task
        task.add_done_callback(lambda _: self._turn.release())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def read(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        """Return all rows of one SELECT, which sees every earlier commit. Raises Unavailable."""
        self._check_open()
        with self._translated():
            return list(await self._reader.execute_fetchall(sql, [storable(value) for value in values]))

    async def back_up(self) -> Path:
        """Write a copy of the database beside it, named NAME.backup-TIME, and return its path.

        Reads and writes continue meanwhile. Raises Unavailable, and leaves no partial copy, if it can't be written.
        """
        self._check_open()
        backup = self.path.with_name(f"{self.path.name}.backup-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        partial = backup.with_name(f"{backup.name}.partial")
        connections: list[aiosqlite.Connection] = []
        try:
            with self._translated():
                os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
                connection = await _connect(self.path, "ro", connections)
                await connection.execute_fetchall("VACUUM INTO ?", (str(partial),))
            await asyncio.to_thread(sync_file, partial)
            partial.rename(backup)
        except OSError as e:
            raise Unavailable(f"The backup {backup} can't be written: {(e.strerror or str(e)).lower()}.") from e
        finally:
            await _finish(asyncio.ensure_future(_stop(connections)))
            with suppress(OSError):
                partial.unlink()
        return backup

    async def close(self) -> None:
        """Finish the running transaction, refuse everything else, and remove erased text from the files."""
        async with self._turn:
            self._is_closed = True
            with suppress(Unavailable):
                async with self._file_lock.hold(BUSY_TIMEOUT_S):
                    await self._tidy(max_bytes=_SMALL_BYTES)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("The bot is shutting down; try again when it is back.")

    async def _run(self, transaction: Callable[[Transaction], Awaitable[T]]) -> T:
        self._check_open()
        with self._translated():
            async with self._file_lock.hold(BUSY_TIMEOUT_S):
                working = Transaction(self._writer)
                try:
                    await self._writer.execute_fetchall("BEGIN IMMEDIATE")
                    result = await transaction(working)
                    await self._writer.execute_fetchall("COMMIT")
                finally:
                    # Always queued: if this task is cancelled, BEGIN may still be waiting in the queue.
                    await self._writer.rollback()
                if working.has_erased:
                    self._is_log_due = self._is_vacuum_due = True
                await self._tidy(max_bytes=_SMALL_BYTES, pause_s=_VACUUM_PAUSE_S)
                return result

    async def _tidy_alone(self) -> None:
        self._check_open()
        async with self._file_lock.hold(BUSY_TIMEOUT_S):
            await self._tidy(max_bytes=math.inf)

    async def _tidy(self, *, max_bytes: float, pause_s: float = 0.0) -> None:
        """Remove erased text from the files, as far as that is due.

        `secure_delete` overwrites it in the database, but a copy can stay in a page that a row was moved from; VACUUM
        drops such pages. The write-ahead log keeps earlier pages until it is emptied. A failure here (an active reader,
        a full disk) is retried after the next write and does not affect the transaction.
        """
        if self._is_vacuum_due and time.monotonic() - self._vacuumed_at_s >= pause_s:
            with _logged("dropping pages with erased text"):
                await self._vacuum(max_bytes)
        if self._is_log_due:
            with _logged("emptying the write-ahead log"):
                await self._empty_log()

    async def _vacuum(self, max_bytes: float) -> None:
        (row,) = await self._writer.execute_fetchall(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        )
        if row[0] <= max_bytes:
            self._vacuumed_at_s = time.monotonic()
            await self._writer.execute_fetchall("VACUUM")
            self._is_vacuum_due, self._is_log_due = False, True

    async def _empty_log(self) -> None:
        await self._writer.execute_fetchall(f"PRAGMA busy_timeout = {_CHECKPOINT_TIMEOUT_MS}")
        try:
            (row,) = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            self._is_log_due = bool(row[0])
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


@contextmanager
def _logged(doing: str) -> Iterator[None]:
    """Log a failure that will be retried, instead of raising it."""
    try:
        yield
    except sqlite3.OperationalError as e:
        logger.warning("%s failed and will be retried: %s", doing, e)


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
    await connection  # if this fails, it stops its own thread
    connections.append(connection)
    connection.row_factory = sqlite3.Row
    for pragma in PRAGMAS:
        await connection.execute_fetchall(pragma)
    return connection


async def _close(database: Database | None, connections: list[aiosqlite.Connection], file_lock: FileLock) -> None:
    """Close everything; an open aiosqlite connection would keep the process alive forever."""
    try:
        if database is not None:
            await database.close()
        # Closing checkpoints, so it needs the lock between processes; it happens even if the lock is not free in time.
        with suppress(Unavailable):
            await file_lock.acquire(BUSY_TIMEOUT_S)
    finally:
        # The reader first: the last connection to close is the one that checkpoints.
        await _stop(reversed(connections))
        file_lock.close()


async def _stop(connections: Iterable[aiosqlite.Connection]) -> None:
    for connection in connections:
        stopped = connection.stop()
        if stopped is not None:
            await stopped


async def _finish(task: "asyncio.Future[None]") -> None:
    """Wait for the end of `task` despite cancellations; raise a cancellation after that."""
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
    """Log the failure that a cancelled caller does not get."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("a transaction whose caller was cancelled failed: %s", task.exception())
