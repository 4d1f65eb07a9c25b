"""The folder with a database's backups: their names and times, which one is due, and which ones are too old; blocks."""

import errno
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bot.errors import Busy, Unavailable
from bot.store.copying import PARTIAL, Progress, copy_database, ignore_progress
from bot.store.file_lock import FileLock
from bot.store.preparation import BACKUPS

_TIME: Final = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of the database as it was at a time in UTC."""

    path: Path
    made_at: datetime


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """The backups of the database at `database` in `folder`."""

    database: Path
    folder: Path

    @classmethod
    def of(cls, database: Path, folder: Path | None) -> "BackupFolder":
        """Return the backups in `folder`, by default a folder beside the database."""
        return cls(database, folder or database.parent / BACKUPS)

    def newest_first(self) -> list[Backup]:
        """Return the backups, newest first. Raises OSError if the folder can't be read."""
        return self._dated("backup", self.folder)

    def back_up(
        self, target: Path | None = None, *, tell: Progress = ignore_progress, stopped: threading.Event | None = None
    ) -> Path:
        """Write a backup to `target` (None: into the folder, named by the time), and return its path.

        Raises Unavailable, one sentence, and leaves no partial copy; Busy while another program writes one.
        """
        if target is not None:
            copy_database(self.database, self._file_of(target), tell=tell, stopped=stopped)
            return self._file_of(target)
        lock = self._lock()
        try:
            self._remove_partial()
            backup = self.folder / self._new_name()
            copy_database(self.database, backup, tell=tell, stopped=stopped)
            return backup
        finally:
            lock.close()

    def remove_old(self, *, num_kept: int, max_age: timedelta, now: datetime) -> list[Path]:
        """Delete all backups but the newest `num_kept`, and every old copy older than `max_age`; return them.

        Call it while the database is open. Old copies are also the files that a restored backup replaced. A name
        without a time is left alone: it was
        given by somebody else. Raises OSError.
        """
        folders = {self.folder, self.database.parent}
        copies = [one for where in folders for kind in ("replaced", "damaged") for one in self._dated(kind, where)]
        copies += self._dated("backup", self.database.parent) if len(folders) > 1 else []
        old = [one.path for one in copies if now - one.made_at > max_age]
        old += [one.path for at, one in enumerate(self.newest_first()) if at >= num_kept or now - one.made_at > max_age]
        # Somebody has the database open, so this is of a restore that was killed.
        old += [one for one in (self.database.with_name(f"{self.database.name}.restoring"),) if one.exists()]
        for path in old:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
        return old

    def _file_of(self, target: Path) -> Path:
        return target / self._new_name() if target.is_dir() else target

    def _new_name(self) -> str:
        return f"{self.database.name}.backup-{datetime.now(UTC):{_TIME}}"

    def _dated(self, kind: str, folder: Path) -> list[Backup]:
        """Return the copies of one kind in a folder whose names have a time, newest first."""
        pattern = re.compile(rf"{re.escape(self.database.name)}\.{kind}-(\d{{8}}T\d{{6}}\.\d{{6}}Z)")
        found = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in folder.iterdir():
                if match := pattern.fullmatch(path.name):
                    with suppress(ValueError):  # digits that are no time
                        found.append(Backup(path, datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)))
        return sorted(found, key=lambda one: one.made_at, reverse=True)

    def _lock(self) -> FileLock:
        """Make the folder, and hold the lock of those who write there."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{self.database.name}-backup-lock")
        except OSError as e:
            # mkdir reports "file exists" for one.
            reason = os.strerror(errno.ENOTDIR if e.errno == errno.EEXIST else e.errno or 0).lower()
            raise Unavailable(f"The folder for backups {self.folder} can't be written: {reason}.") from e
        try:
            lock.acquire_blocking(0)
        except Unavailable as e:
            lock.close()
            raise Busy(f"Another program is writing a backup into {self.folder}; try again later.") from e
        return lock

    def _remove_partial(self) -> None:
        """Remove what a program left behind that was killed while it wrote a backup."""
        with suppress(OSError):
            for path in self.folder.glob(f"{self.database.name}.backup-*{PARTIAL}*"):
                path.unlink(missing_ok=True)
