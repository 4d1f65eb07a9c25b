"""The databases that the tests of the store run on, and a look at what is in them without the store."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from bot.core.database_url import DatabaseUrl
from bot.store.backend import Value
from bot.store.dialect import to_postgres
from bot.store.postgres.rows import adapt, bound
from tests.store.samples import bytes_on_disk


class Place(ABC):
    """A database that exists for one test; `address` is what the store opens."""

    address: Path | DatabaseUrl

    @abstractmethod
    def rows(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own and return its rows."""

    @abstractmethod
    def records(self, sql: str, *values: Value) -> list[dict[str, Any]]:
        """Return the rows of a SELECT by the names of their columns."""

    @abstractmethod
    def content(self) -> bytes:
        """Return everything that is stored, to look for words in it."""


class SqlitePlace(Place):
    """A file of SQLite; its content is the bytes of all its files."""

    def __init__(self, path: Path) -> None:
        self.address = self.path = path

    def rows(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def records(self, sql: str, *values: Value) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, values).fetchall()]

    def content(self) -> bytes:
        return bytes_on_disk(self.path)


class PostgresPlace(Place):
    """A database of a server; its content is all rows of all tables."""

    def __init__(self, address: DatabaseUrl) -> None:
        self.address = address
        self._url = address.url

    def rows(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        return [tuple(record.values()) for record in self.records(sql, *values)]

    def records(self, sql: str, *values: Value) -> list[dict[str, Any]]:
        with psycopg.connect(self._url) as connection:
            adapt(connection)
            statement = to_postgres(sql)
            cursor = psycopg.RawCursor(connection, row_factory=psycopg.rows.dict_row)
            cursor.execute(statement.sql.encode(), bound(statement, values))
            return cursor.fetchall() if cursor.description else []

    def content(self) -> bytes:
        tables: Sequence[tuple[str]] = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")  # type: ignore[assignment]
        union = " UNION ALL ".join(f"SELECT CAST(t AS TEXT) FROM {table} t" for (table,) in tables)
        return "\n".join(row[0] for row in self.rows(union)).encode()
