"""`python -m bot backup`, `restore` and `check`: the operator's care for the database."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from bot.errors import SetupError, StoreError
from bot.settings import Settings
from bot.store.backups import BackupFolder
from bot.store.checking import check_database
from bot.store.restoring import restore_backup
from bot.telling import say

_TELL_S: Final = 1.0
_MIB: Final = 2**20


def limit_backups(settings: Settings) -> Settings:
    """Return settings with no backups that are kept longer than people were promised; say once if they were.

    Raises SetupError where not even one backup would be allowed.
    """
    every_h, days = settings.backup_every_h, settings.retention_days
    if every_h == 0 or settings.backups_kept * every_h <= days * 24:
        return settings
    num_kept = days * 24 // every_h
    if num_kept == 0:
        raise SetupError(
            f"BACKUP_EVERY_H={every_h} keeps a backup for longer than RETENTION_DAYS={days} allows; set it to at most"
            f" {days * 24}."
        )
    say(
        f"BACKUPS_KEPT={settings.backups_kept} would keep what people erased for longer than RETENTION_DAYS={days}"
        f" allows, so the bot keeps {num_kept} backup{'s' if num_kept > 1 else ''}."
    )
    return replace(settings, backups_kept=num_kept)


def run_backup(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a backup, while a bot runs or not; print its path and return the exit status."""
    database = _existing(settings)
    backups = BackupFolder.of(database, settings.backup_dir)
    target = None if arguments.to is None else _absolute(arguments.to)
    sys.stdout.write(f"{backups.back_up(target, tell=_Progress('copied'))}\n")
    return 0


def run_restore(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put a backup in the place of the database; return the exit status."""
    backup, database = _absolute(arguments.backup), _file(settings)
    restored = restore_backup(backup, database, tell=_Progress("restored"))
    say(f"{backup.name} is restored. What was said, changed or erased after that backup is not in it.")
    if restored.version > restored.old_version:
        say(f"Its schema was {restored.old_version}; it was updated to {restored.version}.")
    if restored.replaced is not None:
        say(f"The database before is kept beside it for {settings.retention_days} days, as {restored.replaced.name}.")
    return 0


def run_check(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what is found in the database or a backup; return 0 if all is well, else 1."""
    path = _file(settings).expanduser() if arguments.file is None else _absolute(arguments.file)
    is_good = True
    for finding in check_database(path):
        sys.stdout.write(f"{finding.sentence}\n")
        sys.stdout.flush()
        is_good = is_good and finding.is_good
    return 0 if is_good else 1


def _file(settings: Settings) -> Path:
    """Return the path of the database. Raises StoreError for one that is no file."""
    if isinstance(settings.database, Path):
        return settings.database
    raise StoreError(
        f"The database {settings.database} is on a server, which is backed up and checked by programs of its own, such"
        " as pg_dump and pg_amcheck; docs/postgresql.md shows how."
    )


def _existing(settings: Settings) -> Path:
    """Return the real path of the database. Raises StoreError if there is none."""
    database = _file(settings).expanduser().resolve()
    if not database.is_file():
        raise StoreError(f"There is no database {database}, so there is nothing to back up.")
    return database


def _absolute(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as e:  # "~somebody" who does not exist
        raise SetupError(f"{text} names the home folder of an unknown user.") from e


class _Progress:
    """Says how far something is, once a second; nothing if it takes less."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._told_at = time.monotonic()

    def __call__(self, num_done: int, num_bytes: int) -> None:
        if time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            say(f"{num_done // _MIB:,} of {num_bytes // _MIB:,} MiB are {self._done}.")
