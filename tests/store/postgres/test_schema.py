"""The schema on a server: the tables and columns of SQLite's, made by migrations with the same numbers."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError
from bot.store.postgres.database import prepare_database
from bot.store.postgres.schema import POSTGRES_MIGRATIONS, VERSIONS, migrate
from bot.store.schema import MIGRATIONS_FOLDER, Migration, read_migrations
from bot.store.schema import migrate as migrate_file
from tests.postgres_server import PostgresServer

# What a column of a STRICT table of SQLite is in PostgreSQL.
TYPES = {"INTEGER": "bigint", "TEXT": "text", "REAL": "double precision", "BLOB": "bytea"}


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[DatabaseUrl]:
    with postgres_server.new_database(is_empty=True) as made:
        yield made


def rows(address: DatabaseUrl, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address.url) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def test_both_kinds_have_the_same_migrations_by_number_and_name() -> None:
    read_migrations(POSTGRES_MIGRATIONS)
    assert [path.name for path in sorted(POSTGRES_MIGRATIONS.glob("*.sql"))] == [
        path.name for path in sorted(MIGRATIONS_FOLDER.glob("*.sql"))
    ]


def test_both_kinds_have_the_same_tables_columns_types_and_defaults(address: DatabaseUrl) -> None:
    on_server = {
        (table, column): (kind, nullable == "NO", re.sub(r"^'(.*)'::text$", r"'\1'", default or ""))
        for table, column, kind, nullable, default in rows(
            address,
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            f" WHERE table_schema = 'public' AND table_name <> '{VERSIONS}'",
        )
    }
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate_file(connection, read_migrations(), path=Path("x.db"))
        in_file = {
            (table, column): (TYPES[kind], bool(not_null or is_key), default or "")
            for table, column, kind, not_null, default, is_key in connection.execute(
                'SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM pragma_table_list t'
                " JOIN pragma_table_info(t.name) c WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite_%'"
            )
        }
    assert on_server == in_file


def test_both_kinds_have_the_same_indexes(address: DatabaseUrl) -> None:
    on_server = {
        row[0]
        for row in rows(
            address,
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname !~ '_(pkey|key)[0-9]*$'",
        )
    }
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate_file(connection, read_migrations(), path=Path("x.db"))
        in_file = {
            row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql > ''")
        }
    assert on_server == in_file


def test_every_text_is_compared_by_its_bytes(address: DatabaseUrl) -> None:
    assert (
        rows(
            address,
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'",
        )
        == []
    )


async def test_a_second_run_changes_nothing(address: DatabaseUrl) -> None:
    async with await psycopg.AsyncConnection.connect(address.url, autocommit=True) as connection:
        assert await migrate(connection, read_migrations(POSTGRES_MIGRATIONS), name="x") == 0


async def test_of_programs_that_start_at_once_one_makes_the_tables(empty: DatabaseUrl) -> None:
    await asyncio.gather(*(prepare_database(empty) for _ in range(4)))
    assert rows(empty, f"SELECT version FROM {VERSIONS}") == [(len(read_migrations()),)]


async def test_a_migration_that_fails_leaves_nothing_behind(empty: DatabaseUrl) -> None:
    first = Migration(1, "CREATE TABLE a (x BIGINT);")
    broken = Migration(2, "CREATE TABLE b (x BIGINT); CREATE TABLE a (x BIGINT);")
    async with await psycopg.AsyncConnection.connect(empty.url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.DuplicateTable):
            await migrate(connection, (first, broken), name="x")
    tables = rows(empty, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert tables == [("a",), (VERSIONS,)]
    assert rows(empty, f"SELECT version FROM {VERSIONS}") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("CREATE TABLE theirs (x INT)", "has tables of another program; set DATABASE to an empty database"),
        ("CREATE VIEW theirs AS SELECT 1", "has tables of another program"),
        (f"CREATE TABLE {VERSIONS} AS SELECT 99 AS version", "written by a newer version of Fewshot .schema 99"),
    ],
)
async def test_other_and_newer_databases_are_refused_untouched(empty: DatabaseUrl, sql: str, problem: str) -> None:
    rows(empty, sql)
    with pytest.raises(StoreError, match=problem):
        await prepare_database(empty)
    assert rows(empty, "SELECT 1 FROM pg_tables WHERE tablename = 'messages'") == []


async def test_an_encoding_that_lacks_signs_is_refused(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(StoreError, match="has the encoding LATIN1; make one with the encoding UTF8"):
        await prepare_database(DatabaseUrl(postgres_server.url("latin")))
