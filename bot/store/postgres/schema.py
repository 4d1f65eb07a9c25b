"""The schema on a PostgreSQL server: the migrations of this folder, with the numbers of those of SQLite."""

from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql

from bot.errors import StoreError
from bot.store.schema import Migration

POSTGRES_MIGRATIONS: Final = Path(__file__).resolve().parent / "migrations"
# Says which migrations a database has; by its presence it is known as one of this program.
VERSIONS: Final = "fewshot_schema"
# Of the locks that are a number alone, the one for migrations: "Few1" in ASCII.
_MIGRATING: Final = 0x46657731


async def migrate(connection: AsyncConnection[Any], migrations: tuple[Migration, ...], *, name: str) -> int:
    """Apply the missing ones of `migrations`, each in one transaction; return how many were applied.

    Of several programs that start at once one does it. Raises StoreError if the database is newer than this program or
    belongs to another program.
    """
    num_applied = 0
    while await _apply_next(connection, migrations, name):
        num_applied += 1
    return num_applied


async def _apply_next(connection: AsyncConnection[Any], migrations: tuple[Migration, ...], name: str) -> bool:
    """Apply the next migration; return False if there is none."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATING])
        version = await _version(connection, name)
        if version > len(migrations):
            raise StoreError(
                f"The database {name} was written by a newer version of Fewshot (schema {version}, this version knows"
                f" {len(migrations)}); update Fewshot or set DATABASE to another database."
            )
        if version == len(migrations):
            return False
        migration = migrations[version]
        # Without values a text may have several statements.
        await connection.execute(migration.sql.encode())
        await connection.execute(
            sql.SQL("UPDATE {} SET version = %s").format(sql.Identifier(VERSIONS)), [migration.version]
        )
        return True


async def _version(connection: AsyncConnection[Any], name: str) -> int:
    """Return the number of the last migration; prepare an empty database."""
    cursor = await connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p', 'v', 'm')"
    )
    tables = {row[0] for row in await cursor.fetchall()}
    if not tables:
        await connection.execute(f"CREATE TABLE {VERSIONS} (version BIGINT NOT NULL)")
        await connection.execute(f"INSERT INTO {VERSIONS} (version) VALUES (0)")
        return 0
    if VERSIONS not in tables:
        raise StoreError(f"{name} has tables of another program; set DATABASE to an empty database.")
    cursor = await connection.execute(f"SELECT version FROM {VERSIONS}")
    (row,) = await cursor.fetchall()
    return int(row[0])


def check_encoding(connection: psycopg.AsyncConnection[Any], name: str) -> None:
    """Raise StoreError for a database that can't store every text."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"The database {name} has the encoding {encoding}; make one with the encoding UTF8.")
