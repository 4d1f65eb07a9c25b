"""Restoring a backup on the operator's word: checked and updated beside the database, then put in its place; blocks."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bot.errors import StoreError, Unavailable
from bot.store.checking import check_backup, check_database
from bot.store.copying import Progress, ignore_progress, open_shared, sync_folder
from bot.store.failures import cause_of
from bot.store.file_lock import KNOWS_USERS, FileLock, UsersLock
from bot.store.preparation import (
    bring_up_to_date,
    clear_suspicion,
    connect,
    open_lock,
    open_users,
    real_path,
    sync_file,
)

_WAIT_S: Final = 5.0
_PAGES_AT_ONCE: Final = 2048
_SUFFIXES: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored database: where the file is that it replaced (None if there was none), and the schemas."""

    replaced: Path | None
    old_version: int
    version: int


def restore_backup(backup: Path, path: Path, *, tell: Progress = ignore_progress) -> Restored:
    """Put a copy of `backup`, with the newest schema, in the place of the database at `path`.

    The replaced file is kept beside it. Until the copy is found to be good, nothing changes. Raises StoreError, one
    sentence: a bot uses the database, the backup is damaged or of a newer version, the disk is full.
    """
    path, backup = real_path(path), backup.expanduser().resolve()
    if backup == path:
        raise StoreError(f"{path} is the database itself, so there is nothing to restore.")
    lock = open_lock(path)
    users: UsersLock | None = None
    try:
        users = _hold_alone(path, lock)
        check_backup(backup)
        new = path.with_name(f"{path.name}.restoring")
        try:
            _remove(new)
            old_version, version = _make_copy(backup, new, tell)
            replaced = _put_in_place(new, path)
        finally:
            _remove(new)
        _verify(path)
        clear_suspicion(path)
        return Restored(replaced, old_version, version)
    except sqlite3.Error as e:
        raise StoreError(f"The backup {backup} can't be restored: {cause_of(e)}.") from e
    except OSError as e:
        raise StoreError(f"The backup {backup} can't be restored: {(e.strerror or str(e)).lower()}.") from e
    finally:
        if users is not None:
            users.close()
        lock.close()


def _hold_alone(path: Path, lock: FileLock) -> UsersLock:
    """Return a lock with which nobody else can open the database. Raises StoreError."""
    in_use = f"A program is using the database {path}; stop the bot, then restore the backup."
    try:
        lock.acquire_blocking(_WAIT_S)
    except Unavailable as e:
        raise StoreError(in_use) from e
    users = open_users(path)
    # Where the system can't tell, a file that somebody has open can't be replaced either.
    if KNOWS_USERS and not users.try_alone():
        users.close()
        raise StoreError(in_use)
    return users


def _make_copy(backup: Path, new: Path, tell: Progress) -> tuple[int, int]:
    """Copy the backup to `new`, update that and check it; return its schema's versions before and after."""
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with open_shared(backup) as source, closing(connect(new, "rw", _WAIT_S)) as copy:
        (page_size,) = source.execute("PRAGMA page_size").fetchone()
        (old_version,) = source.execute("PRAGMA user_version").fetchone()

        def show(_: int, num_left: int, num_pages: int) -> None:
            tell((num_pages - num_left) * page_size, num_pages * page_size)

        source.backup(copy, pages=_PAGES_AT_ONCE, progress=show)
    bring_up_to_date(new, _WAIT_S)
    _verify(new)
    sync_file(new)
    with closing(connect(new, "ro", _WAIT_S)) as copy:
        (version,) = copy.execute("PRAGMA user_version").fetchone()
    return old_version, version


def _verify(path: Path) -> None:
    """Raise StoreError unless all is well with the database."""
    for finding in check_database(path):
        if not finding.is_good:
            raise StoreError(finding.sentence)


def _put_in_place(new: Path, path: Path) -> Path | None:
    """Put `new` in the place of the database; return where the replaced file is.

    The log moves first and a file always stays at `path`: after a crash in between the next start finds one whole file.
    """
    replaced = path.with_name(f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    has_old = path.exists()
    if has_old:
        # What is in the log belongs into the file; of a damaged one the log goes along.
        with suppress(sqlite3.Error), closing(connect(path, "rw", _WAIT_S)) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in _SUFFIXES:
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(replaced.with_name(replaced.name + suffix))
        try:
            os.link(path, replaced)
        except OSError:  # a file system without hard links
            shutil.copy2(path, replaced)
            sync_file(replaced)
    new.replace(path)
    sync_folder(path.parent)
    return replaced if has_old else None


def _remove(new: Path) -> None:
    for suffix in ("", "-journal", *_SUFFIXES):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
