"""The database's tables: numbered migrations, each applied once, in order, forwards only."""

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
    """One step of the schema: number `version` (from 1) and its statements, without BEGIN and COMMIT."""

    version: int
    sql: str


def read_migrations(folder: Path = MIGRATIONS_FOLDER) -> tuple[Migration, ...]:
    """Return the migrations in `folder` in order. Raises StoreError for a wrong name, a gap or a double number."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise StoreError(f"The migration {path.name} is not named like 0001_what_it_does.sql.")
        migrations.append(Migration(int(match[1]), path.read_text(encoding="utf-8")))
    versions = [migration.version for migration in migrations]
    if not versions or versions != list(range(1, len(versions) + 1)):
        raise StoreError(f"The migrations in {folder} are not numbered 1, 2, 3 …: found {versions}.")
    return tuple(migrations)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...], *, path: Path) -> int:
    """Bring the database to the last of `migrations` and return how many were applied; each is one transaction.

    Raises StoreError when the database is newer than the program or another program's.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    num_tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id != APPLICATION_ID and (application_id or version or num_tables):
        raise StoreError(f"{path} is a database of another program; name another file in DATABASE.")
    if version > len(migrations):
        raise StoreError(
            f"The database {path} was written by a newer Fewshot (its schema is {version}, this one knows"
            f" {len(migrations)}); update Fewshot or name another file in DATABASE."
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
