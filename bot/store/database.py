"""The database: one SQLite file with two connections, a writer for every commit and checkpoint, and a reader."""

import asyncio
import logging
import math
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiosqlite

from bot.background import cancel, keep_running, run_in_background
from bot.errors import StoreError, Unavailable
from bot.store.backend import Backend, Row, T, Transaction, Value, storable
from bot.store.backups import BackupFolder
from bot.store.failures import DAMAGED, cause_of, primary_code, translate
from bot.store.file_lock import KNOWS_USERS
from bot.store.gone_ids import GoneIds
from bot.store.outages import Retries, Use
from bot.store.preparation import PRAGMAS, Prepared, mark_suspect, prepare

BUSY_TIMEOUT_S: Final = 5.0
_CHECKPOINT_TIMEOUT_MS: Final = 100
# VACUUM rewrites the whole file, so after erasures it runs at most this often. Everybody who writes waits for it: in a
# quick file that is not noticed, a larger one is left until nothing was written for QUIET_S, or the bot ends.
_VACUUM_PAUSE_S: Final = 60.0
QUICK_BYTES: Final = 8 * 2**20
_SMALL_BYTES: Final = 64 * 2**20
QUIET_S: Final = 60.0
# Where no such minute comes for a day, everybody waits, once.
LONGEST_S: Final = 86_400.0

logger = logging.getLogger(__name__)
# At DEBUG, aiosqlite logs every statement with its parameters, which contain people's messages.
logging.getLogger("aiosqlite").setLevel(logging.INFO)


class SqliteTransaction(Transaction):
    """The statements of an open transaction of SQLite."""

    def __init__(
        self, connection: aiosqlite.Connection, gone_ids: GoneIds, prepared: Mapping[Hashable, Any] | None = None
    ) -> None:
        super().__init__(gone_ids, prepared)
        self._connection = connection

    async def execute(self, sql: str, *values: Value) -> list[Row]:
        """Run one statement with `values` for its `?`; return the rows of a SELECT or RETURNING."""
        return list(await self._connection.execute_fetchall(sql, [storable(value) for value in values]))


class Database(Backend):
    """An open database file. `open` makes it; all access goes through `write` and `read`.

    SQLite before 3.51.3 can corrupt a file if one connection commits while another one checkpoints. So a process has
    one writer, and a lock file beside the database lets only one process write at a time.
    """

    size_sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    path: Path
    backups: BackupFolder

    def __init__(
        self, prepared: Prepared, writer: aiosqlite.Connection, reader: aiosqlite.Connection, backups: BackupFolder
    ) -> None:
        super().__init__(str(prepared.path), prepared.path, backups, prepared.notices)
        self._file_lock = prepared.file_lock
        self._users = prepared.users
        self._writer = writer
        self._reader = reader
        self._is_log_due = False
        # Beside the database, so that erased words are not forgotten with the process; as old as they are.
        self._erased_mark = prepared.path.with_name(f"{prepared.path.name}-erased")
        self._is_vacuum_due = self._erased_mark.exists()
        self._vacuumed_at_s = -math.inf
        self._retries = Retries()
        self._wrote_at_s = time.monotonic()
        self._is_vacuuming = False
        self._num_long_reads = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, backup_dir: Path | None = None) -> AsyncIterator["Database"]:
        """Open the database file at `path`; create it if missing, and migrate it to the newest schema.

        `backup_dir` is the folder of its backups (None: one beside it). Raises StoreError, one sentence.
        """
        prepared = await _prepare(path, backup_dir)
        connections: list[aiosqlite.Connection] = []
        database: Database | None = None
        tidying: asyncio.Task[None] | None = None
        checking: asyncio.Task[None] | None = None
        try:
            try:
                writer = await _connect(prepared.path, "rw", connections)
                reader = await _connect(prepared.path, "ro", connections)
                await reader.execute_fetchall("PRAGMA query_only = ON")
            except sqlite3.Error as e:
                raise StoreError(f"The database {prepared.path} can't be opened: {cause_of(e)}.") from e
            database = cls(prepared, writer, reader, BackupFolder.of(prepared.path, backup_dir))
            tidying = keep_running(database._tidy_when_quiet, "removing erased text from the files")
            checking = None if prepared.is_checked else run_in_background(database._check(), "checking the database")
            yield database
        finally:
            for task in (tidying, checking):
                if task is not None:
                    await cancel(task)
            await _finish(asyncio.ensure_future(_close(database, connections, prepared)))

    async def forget(self) -> None:
        """Remove all erased text from the files; what takes long is done when nobody writes. Raises Unavailable."""
        await self._take_turn(self._tidy_alone(QUICK_BYTES))

    async def _check(self) -> None:
        """Look for damage in the file while it is used."""
        async with self._long_read():
            await _check(self.path)

    @asynccontextmanager
    async def _long_read(self) -> AsyncIterator[None]:
        """Let nobody wait for the end of a block that reads for seconds; the log, which it keeps, is emptied then."""
        self._num_long_reads += 1
        try:
            yield
        finally:
            self._num_long_reads -= 1
        with suppress(Unavailable):
            await self._take_turn(self._tidy_alone(QUICK_BYTES))

    async def _tidy_when_quiet(self) -> None:
        """Drop the pages with erased text of a large file while nobody writes, or after LONGEST_S in any case."""
        while True:
            await asyncio.sleep(QUIET_S / 4)
            # Another program may have left it to this one.
            self._is_vacuum_due = self._is_vacuum_due or self._erased_mark.exists()
            if not self._is_vacuum_due or self._turn.locked():
                continue
            is_quiet = time.monotonic() - self._wrote_at_s >= QUIET_S
            if is_quiet or self._is_overdue():
                try:
                    await self._take_turn(self._tidy_alone(math.inf, gives_way=is_quiet))
                except Unavailable as e:
                    logger.info("could not remove erased text from the files yet: %s", e)

    async def _make_way(self) -> None:
        if self._is_vacuuming:
            await self._writer.interrupt()

    async def read(self, sql: str, *values: Value) -> list[Row]:
        """Return all rows of one SELECT, which sees every earlier commit. Raises Unavailable."""
        self._check_open()
        with self._translated("read"):
            return list(await self._reader.execute_fetchall(sql, [storable(value) for value in values]))

    async def last_ids(self) -> Mapping[str, int]:
        """Return the highest id that each table has given so far, of those with AUTOINCREMENT."""
        rows = await self.read("SELECT name, seq FROM sqlite_sequence")
        return {row["name"]: int(row["seq"]) for row in rows}

    async def set_last_ids(self, transaction: Transaction, last_ids: Mapping[str, int]) -> None:
        """Have tables with AUTOINCREMENT give higher ids than these; others give one more than their highest."""
        for row in await transaction.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
        ):
            table, last_id = row["name"], last_ids.get(row["name"], 0)
            rows = await transaction.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1 RETURNING seq", table, last_id
            )
            if not rows:
                await transaction.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, last_id)

    def try_alone(self) -> bool:
        """Let no other program open the file until this one closes it; return False if another has it open."""
        return not KNOWS_USERS or self._users.try_alone()

    async def back_up(self) -> Path:
        """Write a backup into its folder, and return its path.

        Reads and writes continue meanwhile. Raises Unavailable, and leaves no partial copy, if it can't be written.
        """
        self._check_open()
        async with self._long_read():
            return await self._copy()

    async def _copy(self) -> Path:
        stopped = threading.Event()
        copying = asyncio.ensure_future(asyncio.to_thread(self.backups.back_up, stopped=stopped))
        try:
            return await asyncio.shield(copying)
        except asyncio.CancelledError:
            stopped.set()
            await _finish(asyncio.ensure_future(_wait_quietly(copying)))
            raise

    async def close(self) -> None:
        """Finish the running transaction, refuse everything else, and remove erased text from the files."""
        async with self._turn:
            self._is_closed = True
            with suppress(Unavailable):
                async with self._file_lock.hold(BUSY_TIMEOUT_S):
                    await self._tidy(max_bytes=_SMALL_BYTES)

    async def _run(
        self, transaction: Callable[[Transaction], Awaitable[T]], prepared: Mapping[Hashable, Any] | None = None
    ) -> T:
        """Run `transaction` between BEGIN IMMEDIATE and COMMIT."""
        self._check_open()
        self._wrote_at_s = time.monotonic()
        with self._translated("written"):
            async with self._file_lock.hold(BUSY_TIMEOUT_S):
                started_at_s = time.monotonic()
                working = SqliteTransaction(self._writer, self.gone_ids, prepared)
                try:
                    await self._writer.execute_fetchall("BEGIN IMMEDIATE")
                    result = await transaction(working)
                    if working.has_erased:
                        self._note_erased()
                    await self._writer.execute_fetchall("COMMIT")
                finally:
                    # Always queued: if this task is cancelled, BEGIN may still be waiting in the queue.
                    await self._writer.rollback()
                self.erased_hosted.extend(working.erased_hosted)
                if working.has_erased:
                    self._is_log_due = True
                await self._tidy(max_bytes=QUICK_BYTES, pause_s=_VACUUM_PAUSE_S)
                self.longest_turn_s = max(self.longest_turn_s, time.monotonic() - started_at_s)
                return result

    def _note_erased(self) -> None:
        """Note that pages with erased text are to be dropped, also for the next start."""
        if not self._is_vacuum_due:
            self._is_vacuum_due = True
            try:
                self._erased_mark.touch(0o600)
            except OSError as e:
                logger.warning("%s can't be written: %s", self._erased_mark, e.strerror or e)

    def _is_overdue(self) -> bool:
        """Say whether erased text has been in the files for so long that others have to wait for its end."""
        try:
            return time.time() - self._erased_mark.stat().st_mtime > LONGEST_S
        except OSError:
            return False

    async def _tidy_alone(self, max_bytes: float, *, gives_way: bool = True) -> None:
        self._check_open()
        async with self._file_lock.hold(BUSY_TIMEOUT_S):
            await self._tidy(max_bytes=max_bytes, gives_way=gives_way)

    async def _tidy(self, *, max_bytes: float, pause_s: float = 0.0, gives_way: bool = True) -> None:
        """Remove erased text from the files, as far as that is due; with `gives_way`, whoever writes interrupts that.

        `secure_delete` overwrites it in the database, but a copy can stay in a page that a row was moved from; VACUUM
        drops such pages. The write-ahead log keeps earlier pages until it is emptied. A failure here (an active reader,
        a full disk) is retried after the next write and does not affect the transaction.
        """
        if self._is_vacuum_due and time.monotonic() - self._vacuumed_at_s >= pause_s:
            with self._retries.trying("dropping pages with erased text", sqlite3.OperationalError):
                await self._vacuum(max_bytes, gives_way=gives_way)
        if self._is_log_due:
            with self._retries.trying("emptying the write-ahead log", sqlite3.OperationalError):
                await self._empty_log()

    async def _vacuum(self, max_bytes: float, *, gives_way: bool) -> None:
        (row,) = await self._writer.execute_fetchall(self.size_sql)
        if row[0] > max_bytes:
            return
        # Another program can't interrupt this one, so it is left alone where it would wait.
        is_alone = row[0] > QUICK_BYTES and gives_way and self._users.try_alone()
        if row[0] <= QUICK_BYTES or is_alone or not gives_way:
            self._vacuumed_at_s = time.monotonic()
            self._is_vacuuming = gives_way
            try:
                await self._writer.execute_fetchall("VACUUM")
            finally:
                self._is_vacuuming = False
                if is_alone:
                    self._users.share()
            self._is_vacuum_due, self._is_log_due = False, True
            with suppress(OSError):
                self._erased_mark.unlink()

    async def _empty_log(self) -> None:
        # A check or a backup of a large file reads for seconds: no use to wait for it, and the log is emptied then.
        timeout_ms = 0 if self._num_long_reads else _CHECKPOINT_TIMEOUT_MS
        await self._writer.execute_fetchall(f"PRAGMA busy_timeout = {timeout_ms}")
        try:
            (row,) = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            self._is_log_due = bool(row[0])
        finally:
            await self._writer.execute_fetchall(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")

    @contextmanager
    def _translated(self, use: Use | None) -> Iterator[None]:
        """Translate SQLite's errors; tell the operator when `use` of the database begins and ceases to fail."""
        try:
            yield
        except sqlite3.Error as e:
            failure = translate(e)
            if failure is None:
                raise
            if primary_code(e) in DAMAGED:
                mark_suspect(self.path)
            if use is not None:
                self._outages.failed(use, cause_of(e))
            raise failure from e
        if use is not None:
            self._outages.works(use)


async def _check(path: Path) -> None:
    """Look for damage in a large file that was closed well; if there is any, the next start restores a backup."""
    connections: list[aiosqlite.Connection] = []
    try:
        connection = await _connect(path, "ro", connections)
        try:
            (row,) = await connection.execute_fetchall("PRAGMA quick_check(1)")
            problem = str(row[0])
        except sqlite3.DatabaseError as e:
            if primary_code(e) not in DAMAGED:
                return
            problem = str(e)
        if problem != "ok":
            mark_suspect(path)
            logger.error("The database %s is damaged (%s). Restart the bot: it then restores a backup.", path, problem)
    finally:
        for connection in connections:
            await connection.interrupt()
        await _stop(connections)


async def _prepare(path: Path, backup_dir: Path | None) -> Prepared:
    preparing = asyncio.ensure_future(asyncio.to_thread(prepare, path, backup_dir=backup_dir))
    try:
        return await asyncio.shield(preparing)
    except asyncio.CancelledError:
        preparing.add_done_callback(_drop_prepared)
        raise


def _drop_prepared(preparing: "asyncio.Task[Prepared]") -> None:
    if not preparing.cancelled() and preparing.exception() is None:
        preparing.result().file_lock.close()
        preparing.result().users.close()


async def _connect(path: Path, mode: str, connections: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    connection = aiosqlite.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )
    opening = asyncio.ensure_future(_wait_for(connection))
    try:
        await asyncio.shield(opening)  # if this fails, it stops its own thread
    except asyncio.CancelledError:
        # Its thread would outlive the loop.
        with suppress(sqlite3.Error):
            connections.append(await opening)
        raise
    connections.append(connection)
    connection.row_factory = sqlite3.Row
    for pragma in PRAGMAS:
        await connection.execute_fetchall(pragma)
    return connection


async def _wait_for(connection: aiosqlite.Connection) -> aiosqlite.Connection:
    return await connection


async def _close(database: Database | None, connections: list[aiosqlite.Connection], prepared: Prepared) -> None:
    """Close everything; an open aiosqlite connection would keep the process alive forever."""
    try:
        if database is not None:
            await database.close()
        # Closing checkpoints, so it needs the lock between processes; it happens even if the lock is not free in time.
        with suppress(Unavailable):
            await prepared.file_lock.acquire(BUSY_TIMEOUT_S)
    finally:
        # The reader first: the last connection to close is the one that checkpoints.
        await _stop(reversed(connections))
        prepared.file_lock.close()
        prepared.users.close()


async def _stop(connections: Iterable[aiosqlite.Connection]) -> None:
    for connection in connections:
        stopped = connection.stop()
        if stopped is not None:
            await stopped


async def _wait_quietly(task: "asyncio.Future[Any]") -> None:
    """Wait for the end of `task`; nobody wants its result any more."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


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
