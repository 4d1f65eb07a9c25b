"""Everything that happens to the database file before it is used: its folder, its health, its schema."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from bot.errors import StoreError, Unavailable
from bot.store.failures import DAMAGED, primary_code
from bot.store.file_lock import FileLock
from bot.store.schema import migrate, read_migrations

OPEN_TIMEOUT_S: Final = 10.0


def prepare(path: Path) -> tuple[Path, FileLock]:
    """Make `path` a healthy database of the newest schema; return its real path and the open lock beside it.

    Blocking: call it in a thread. Raises StoreError, one sentence.
    """
    path = _real_path(path)
    lock = _open_lock(path)
    try:
        lock.acquire_blocking(OPEN_TIMEOUT_S)
        try:
            _make_healthy(path)
        finally:
            lock.release()
    except Unavailable as e:
        lock.close()
        raise StoreError(f"The database {path} is in use by another program.") from e
    except BaseException:
        lock.close()
        raise
    return path, lock


def _real_path(path: Path) -> Path:
    path = path.expanduser().resolve()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _open_lock(path: Path) -> FileLock:
    return FileLock(path.with_name(f"{path.name}-lock"))


def _make_healthy(path: Path) -> None:
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise StoreError(f"The database {path} is damaged.")
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, read_migrations(), path=path)
    except sqlite3.Error as e:
        if primary_code(e) in DAMAGED:
            raise StoreError(f"The database {path} is damaged or no database.") from e
        raise StoreError(f"The database {path} can't be opened: {e}.") from e
