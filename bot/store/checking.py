"""Looking through a database file for damage, without changing it; blocks."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.errors import StoreError
from bot.store.copying import open_shared
from bot.store.failures import cause_of
from bot.store.schema import APPLICATION_ID, read_migrations

_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about a database, and whether it is good news."""

    sentence: str
    is_good: bool


def check_database(path: Path) -> Iterator[Finding]:
    """Yield what is found: about opening the file, its pages, its schema, and the references between its tables.

    What can't be found out because of an earlier fault is left out.
    """
    if not path.is_file():
        yield Finding(f"There is no database {path}.", False)
        return
    try:
        with open_shared(path) as connection:
            yield from _findings(path, connection)
    except (sqlite3.Error, OSError) as e:
        reason = cause_of(e) if isinstance(e, sqlite3.Error) else (e.strerror or str(e)).lower()
        yield Finding(f"{path} can't be read: {reason}.", False)


def _findings(path: Path, connection: sqlite3.Connection) -> Iterator[Finding]:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        yield Finding(f"{path} is not a database of Fewshot.", False)
        return
    yield Finding(f"{path} can be opened ({path.stat().st_size / _MIB:,.1f} MiB).", True)
    (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if damage != "ok":
        yield Finding(f"The file is damaged: {damage}.", False)
        return
    yield Finding("The file is not damaged.", True)
    yield _schema_finding(connection)
    broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    if broken:
        tables = ", ".join(sorted({str(row[0]) for row in broken}))
        rows = "1 row refers" if len(broken) == 1 else f"{len(broken):,} rows refer"
        yield Finding(f"{rows} to something that is not stored, in: {tables}.", False)
        return
    yield Finding("Nothing refers to something that is not stored.", True)


def _schema_finding(connection: sqlite3.Connection) -> Finding:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = len(read_migrations())
    if version > newest:
        sentence = f"Its schema {version} is newer than this version of Fewshot, which knows {newest}; update Fewshot."
        return Finding(sentence, False)
    if version < newest:
        return Finding(f"Its schema is {version}; the next start of the bot updates it to {newest}.", True)
    return Finding(f"Its schema is {version}, the newest.", True)


def check_backup(path: Path) -> None:
    """Raise StoreError, one sentence, if `path` is not an undamaged database that this version can use."""
    for finding in check_database(path):
        if not finding.is_good:
            raise StoreError(f"{finding.sentence} Nothing was restored.")
