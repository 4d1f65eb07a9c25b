"""Copies of a database: made while others use it, checked, and only then given their name; blocks."""

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from bot.errors import Unavailable
from bot.store.failures import DAMAGED, cause_of, primary_code
from bot.store.file_lock import FileLock
from bot.store.preparation import OPEN_TIMEOUT_S, connect
from bot.store.schema import APPLICATION_ID

# Called with the bytes that are written, and those that there will be.
Progress = Callable[[int, int], None]

PARTIAL: Final = ".partial"
# So many of SQLite's small steps between two looks at the progress: some milliseconds.
_LOOK_EVERY: Final = 20_000
# What is written goes to the disk in pieces: all of it at once would keep the commits of others waiting for seconds.
_SYNC_BYTES: Final = 8 * 2**20


def ignore_progress(_: int, __: int) -> None:
    """Show no progress."""


@contextmanager
def open_shared(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read it while other programs may use it; leave nothing beside it."""
    # A file that is no bot's database, such as a backup, has no lock beside it, and nobody writes to it.
    lock_path, wal = path.with_name(f"{path.name}-lock"), path.with_name(f"{path.name}-wal")
    if not lock_path.exists() and not wal.exists():
        with closing(connect(path, "ro&immutable=1", 0)) as connection:
            yield connection
        return
    # Not read-only: the last connection to close has to empty the log, under the lock of those who write.
    lock = FileLock(lock_path)
    try:
        connection = connect(path, "rw", OPEN_TIMEOUT_S)
        try:
            yield connection
        finally:
            with suppress(Unavailable):
                lock.acquire_blocking(OPEN_TIMEOUT_S)
            connection.close()
    finally:
        lock.close()


def copy_database(
    source: Path, target: Path, *, tell: Progress = ignore_progress, stopped: threading.Event | None = None
) -> None:
    """Write a copy of the database `source` to the new file `target`, as it is when the copy starts.

    Nobody who reads or writes waits for it, and it has no bytes of erased text. Setting `stopped` ends it. `target`
    appears only when all of it is on the disk and was found undamaged. Raises Unavailable, one sentence.
    """
    stopped = stopped or threading.Event()
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            version = _copy(source, partial, descriptor, tell, stopped)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if problem := _find_problem(partial, version, stopped):
            raise Unavailable(f"The backup {target} was not written well ({problem}), so it was removed; try again.")
        _give_name(partial, target)
    except sqlite3.Error as e:
        # Ctrl-C, too, ends it like this.
        if primary_code(e) == sqlite3.SQLITE_INTERRUPT:
            raise Unavailable("The backup was stopped before its end.") from e
        whose = (
            f"database {source} can't be read" if primary_code(e) in DAMAGED else f"backup {target} can't be written"
        )
        raise Unavailable(f"The {whose}: {cause_of(e)}.") from e
    except OSError as e:
        raise Unavailable(f"The backup {target} can't be written: {(e.strerror or str(e)).lower()}.") from e
    finally:
        for name in (partial.name, f"{partial.name}-journal"):
            with suppress(OSError):
                partial.with_name(name).unlink()


def _copy(source: Path, partial: Path, descriptor: int, tell: Progress, stopped: threading.Event) -> int:
    """Copy what is stored in `source` into the empty file `partial`; return the version of its schema."""
    num_synced = 0

    def look() -> bool:
        nonlocal num_synced
        num_written = os.fstat(descriptor).st_size
        if num_written - num_synced >= _SYNC_BYTES:
            os.fsync(descriptor)
            num_synced = num_written
        tell(min(num_written, num_bytes), num_bytes)
        return stopped.is_set()

    with open_shared(source) as connection:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise Unavailable(f"{source} is not a database of Fewshot, so it was not backed up.")
        (num_bytes,) = connection.execute(
            "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count,"
            " pragma_page_size"
        ).fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.set_progress_handler(look, _LOOK_EVERY)
        # A reader with a view of its own: whoever writes meanwhile neither waits nor is seen.
        connection.execute("VACUUM INTO ?", (str(partial),))
        connection.set_progress_handler(None, 0)
    tell(num_bytes, num_bytes)
    return int(version)


def _find_problem(copy: Path, version: int, stopped: threading.Event) -> str:
    """Return what is wrong with a finished copy, "" for nothing."""
    with closing(connect(copy, "ro&immutable=1", 0)) as connection:
        connection.set_progress_handler(stopped.is_set, _LOOK_EVERY)
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            return found
        if connection.execute("PRAGMA user_version").fetchone()[0] != version:
            return "its schema is another one"
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            return "it has no mark of Fewshot"
    return ""


def _give_name(partial: Path, target: Path) -> None:
    """Rename a finished file; the name is on the disk too. Raises OSError if `target` exists."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(f"{target} exists") from None
        partial.rename(target)
    else:
        partial.unlink()
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
