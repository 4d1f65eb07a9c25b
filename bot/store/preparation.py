"""Preparation of the database file before use: path, check for damage, migrations; blocks, so run it in a thread."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bot.errors import StoreError, Unavailable
from bot.store.failures import DAMAGED, cause_of, primary_code
from bot.store.file_lock import FileLock, UsersLock
from bot.store.schema import APPLICATION_ID, migrate, read_migrations

OPEN_TIMEOUT_S: Final = 5.0
BACKUPS: Final = "backups"  # the folder beside the database
_CHECKED_BYTES: Final = 32 * 2**20  # looking through them takes a tenth of a second
LOWEST_SQLITE: Final = (3, 37, 0)  # the first with STRICT tables

# Set first by every connection that may write.
PRAGMAS: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A database that can be opened: its real path, the locks beside it, and a sentence about each repair.

    `is_checked` says that all of the file was looked through for damage.
    """

    path: Path
    file_lock: FileLock
    users: UsersLock
    notices: tuple[str, ...]
    is_checked: bool = True


def prepare(path: Path, *, backup_dir: Path | None = None, timeout_s: float = OPEN_TIMEOUT_S) -> Prepared:
    """Make `path` an undamaged database with the newest schema. Raises StoreError, one sentence.

    A damaged one is replaced by the newest good backup beside it or in `backup_dir` (None: the folder `backups` there).
    Waits up to `timeout_s` for other programs that use the file.
    """
    if sqlite3.sqlite_version_info < LOWEST_SQLITE:
        raise StoreError(f"This Python has SQLite {sqlite3.sqlite_version}; Fewshot needs SQLite 3.37 or newer.")
    path = real_path(path)
    file_lock = open_lock(path)
    users: UsersLock | None = None
    try:
        file_lock.acquire_blocking(timeout_s)
        try:
            is_checked = _needs_check(path)
            notices = _make_healthy(path, backup_dir or path.parent / BACKUPS, timeout_s, is_checked=is_checked)
            bring_up_to_date(path, timeout_s)
            users = open_users(path)
        finally:
            file_lock.release()
    except BaseException as e:
        file_lock.close()
        if users is not None:
            users.close()
        if isinstance(e, Unavailable):
            raise StoreError(f"Another program is using the database {path}; stop it first.") from e
        raise
    return Prepared(path, file_lock, users, notices, is_checked)


@contextmanager
def hold_platform(path: Path, platform: str) -> Iterator[None]:
    """Let no other program answer on `platform` from the database at `path` while the block runs.

    Two programs would each answer the other's unfinished requests. Raises StoreError, one sentence.
    """
    path = real_path(path)
    # "the page" is held by fewshot.db-page-lock: a name with a space is awkward to type.
    file_lock = open_lock(path, f"{platform.lower().rpartition(' ')[2]}-lock")
    try:
        try:
            file_lock.acquire_blocking(0)
        except Unavailable as e:
            raise StoreError(
                f"Another program already runs the bot on {platform} with the database {path}; stop it first."
            ) from e
        yield
    finally:
        file_lock.close()


def real_path(path: Path) -> Path:
    """Return `path` without `~` and links; create its folder, for this user only, if there is none."""
    try:
        # RuntimeError: no home folder or a loop of links; ValueError: a NUL in the name.
        path = path.expanduser().resolve()
        if path.is_dir():
            raise StoreError(f"The database {path} is a folder; set DATABASE to a file.")
        if path.exists() and not path.is_file():
            raise StoreError(f"The database {path} is not a regular file; set DATABASE to one.")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as e:
        raise StoreError(f"The database {path} can't be created: {_reason(e)}.") from e
    return path


def open_users(path: Path) -> UsersLock:
    """Return the lock that everybody shares who has the database open. Raises StoreError."""
    try:
        return UsersLock(path.with_name(f"{path.name}-users"))
    except OSError as e:
        raise StoreError(f"The database's folder {path.parent} can't be written: {_reason(e)}.") from e


def open_lock(path: Path, suffix: str = "lock") -> FileLock:
    """Return the lock of those who write, or another one beside the database. Raises StoreError."""
    try:
        return FileLock(path.with_name(f"{path.name}-{suffix}"))
    except OSError as e:
        raise StoreError(f"The database's folder {path.parent} can't be written: {_reason(e)}.") from e


def mark_suspect(path: Path) -> None:
    """Have the next start look through all of the file, if that can be noted."""
    with suppress(OSError):
        _suspicion(path).touch(0o600)


def clear_suspicion(path: Path) -> None:
    """Note that all of the file was looked through. Raises OSError."""
    _suspicion(path).unlink(missing_ok=True)


def _suspicion(path: Path) -> Path:
    return path.with_name(f"{path.name}-suspect")


def _needs_check(path: Path) -> bool:
    """Say whether to look through all of the file before it is opened: that takes seconds for a large one.

    A log is left behind by a program that did not end well.
    """
    try:
        wal = path.with_name(f"{path.name}-wal")
        has_log = wal.exists() and wal.stat().st_size > 0
        return has_log or _suspicion(path).exists() or path.stat().st_size <= _CHECKED_BYTES
    except OSError:
        return True


def _make_healthy(path: Path, backups: Path, timeout_s: float, *, is_checked: bool) -> tuple[str, ...]:
    """Create an empty file if there is none, and replace a damaged one by a backup."""
    try:
        wal = path.with_name(f"{path.name}-wal")
        has_wal = wal.exists() and wal.stat().st_size > 0
        if not path.exists():
            if has_wal:  # SQLite would delete the log, and with it the latest writes
                raise StoreError(f"The database {path} is missing, but its log {wal.name} exists; restore both files.")
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return ()
        # SQLite would silently open a file without write permission as read-only.
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise StoreError(f"The database {path} can't be opened: this user needs permission to read and write it.")
        is_emptied = path.stat().st_size == 0 and (has_wal or bool(_backups(path, backups)))
        problem = "it is empty" if is_emptied else _find_damage(path, "rw", timeout_s, is_whole=is_checked)
        notices = (_restore(path, backups, problem),) if problem else ()
        clear_suspicion(path)
        return notices
    except OSError as e:
        raise StoreError(f"The database {path} can't be opened: {_reason(e)}.") from e


def _find_damage(path: Path, mode: str, timeout_s: float, *, is_whole: bool = True) -> str | None:
    """Return what is wrong with a database file; None if it is undamaged. Raises StoreError if it can't be read."""
    try:
        with closing(connect(path, mode, timeout_s)) as connection:
            if not is_whole:
                # The header, the schema, and whether the file is as long as its header says.
                (num_bytes,) = connection.execute(
                    "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
                ).fetchone()
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                return None if num_bytes <= path.stat().st_size else "it is cut off"
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            return None if found == "ok" else found
    except sqlite3.Error as e:
        if primary_code(e) in DAMAGED:
            return str(e)
        raise StoreError(f"The database {path} can't be opened: {cause_of(e)}.") from e


def _backups(path: Path, folder: Path) -> list[Path]:
    """Return the files NAME.backup-* beside the database and in `folder`, newest first."""
    others = list(path.parent.iterdir())
    with suppress(OSError):  # a folder that is missing or can't be read has no backups
        others += folder.iterdir() if folder.resolve() != path.parent else ()
    found = [
        other
        for other in others
        if other.name.startswith(f"{path.name}.backup-")
        and not other.name.endswith(("-wal", "-shm", "-journal", ".partial"))
    ]
    return sorted(found, key=lambda other: (other.stat().st_mtime_ns, other.name), reverse=True)


def _restore(path: Path, backups: Path, problem: str) -> str:
    """Rename the damaged file, restore the newest good backup, and return a sentence about it.

    Without a good backup, change nothing, so that a later start can't silently begin with an empty database.
    """
    backup = next((other for other in _backups(path, backups) if _is_good_backup(other)), None)
    if backup is None:
        raise StoreError(
            f"The database {path} is damaged ({problem}), and there is no good backup {path.name}.backup-* beside it"
            f" or in {backups}. Nothing was changed. Replace it by a good copy, or move it away to start with an empty"
            " database."
        )
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    restored = path.with_name(f"{path.name}.restoring")
    shutil.copyfile(backup, restored)
    restored.chmod(0o600)
    sync_file(restored)
    # The log moves first and a file always stays at `path`, so after a crash in between the next start gets here again.
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    try:
        os.link(path, aside)
    except OSError:  # a file system without hard links
        shutil.copy2(path, aside)
        sync_file(aside)
    restored.replace(path)
    return f"The database {path} was damaged. It was renamed to {aside.name}, and {backup.name} was restored."


def _is_good_backup(path: Path) -> bool:
    """Return whether a backup is an undamaged database of this program; write nothing beside it."""
    try:
        if _find_damage(path, "ro&immutable=1", 0):
            return False
        with closing(connect(path, "ro&immutable=1", 0)) as connection:
            return bool(connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID)
    except (sqlite3.Error, StoreError):
        return False


def bring_up_to_date(path: Path, timeout_s: float) -> None:
    """Give the database the newest schema. Raises StoreError for one that is newer, or another program's."""
    migrations = read_migrations()
    try:
        with closing(connect(path, "rw", timeout_s)) as connection:
            for pragma in PRAGMAS:
                connection.execute(pragma)
            migrate(connection, migrations, path=path)
            # Last, so that another program's file stays unchanged.
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StoreError(f"SQLite can't keep a log beside the database {path}; set DATABASE to another disk.")
    except sqlite3.Error as e:
        raise StoreError(f"The database {path} can't be opened: {cause_of(e)}.") from e


def connect(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    """Return a connection without transactions of its own; wait up to `timeout_s` for others. Raises sqlite3.Error."""
    return sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=timeout_s)


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk. Raises OSError."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    # mkdir reports "file exists" if a parent is a file.
    return os.strerror(errno.ENOTDIR if error.errno == errno.EEXIST else error.errno).lower()
