"""The database schema: numbered migrations, each applied once, in order, forward only."""

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.errors import StoreError

MIGRATIONS_FOLDER: Final = Path(__file__).resolve().parent / "migrations"
# "Few1" in ASCII; marks the file as this program's in SQLite's header.
APPLICATION_ID: Final = 0x46657731
_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration: its number `version` (from 1) and its statements, without BEGIN and COMMIT."""

    version: int
    sql: str


def read_migrations(folder: Path = MIGRATIONS_FOLDER) -> tuple[Migration, ...]:
    """Return the migrations in `folder` in order. Raises StoreError for a wrong name, a gap or a duplicate number."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise StoreError(f"The migration {path.name} needs a name like 0001_what_it_does.sql.")
        migrations.append(Migration(int(match[1]), path.read_text(encoding="utf-8")))
    versions = [migration.version for migration in migrations]
    if not versions or versions != list(range(1, len(versions) + 1)):
        raise StoreError(f"The migrations in {folder} are not numbered 1, 2, 3 …: found {versions}.")
    return tuple(migrations)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...], *, path: Path) -> int:
    """Apply the missing ones of `migrations`, each in one transaction; return how many were applied.

    Raises StoreError if the database is newer than this program or belongs to another program.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    num_tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id != APPLICATION_ID and (application_id or version or num_tables):
        raise StoreError(f"{path} is the database of another program; set DATABASE to another file.")
    if version > len(migrations):
        raise StoreError(
            f"The database {path} was written by a newer version of Fewshot (schema {version}, this version knows"
            f" {len(migrations)}); update Fewshot or set DATABASE to another file."
        )
    for migration in migrations[version:]:
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{migration.sql}\n;PRAGMA application_id = {APPLICATION_ID};"
                f"PRAGMA user_version = {migration.version};COMMIT;"
            )
        finally:
            connection.rollback()
    return len(migrations) - version
