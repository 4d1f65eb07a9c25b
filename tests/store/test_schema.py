import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store.schema import MIGRATIONS_FOLDER, Migration, migrate, read_migrations


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def tables(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    rows = connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    return [(name, strict) for name, strict in rows if not name.startswith("sqlite_")]


def test_a_second_run_changes_nothing(connection: sqlite3.Connection) -> None:
    migrations = read_migrations()
    assert migrate(connection, migrations, path=Path("x.db")) == len(migrations)
    before = connection.execute("SELECT * FROM sqlite_schema").fetchall()
    assert migrate(connection, migrations, path=Path("x.db")) == 0
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == before


def test_every_table_is_strict(connection: sqlite3.Connection) -> None:
    migrate(connection, read_migrations(), path=Path("x.db"))
    assert len(tables(connection)) == 29
    assert all(strict for _, strict in tables(connection))


def test_shipped_migrations_leave_the_transaction_to_the_program() -> None:
    for path in MIGRATIONS_FOLDER.glob("*.sql"):
        statements = re.sub(r"--.*|'[^']*'|\bBEGIN\b(?=\n    )", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"\b(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|VACUUM|PRAGMA|ATTACH)\b", statements, re.IGNORECASE)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["0001_a.sql", "0003_c.sql"], "not numbered 1, 2, 3 …: found [1, 3]"),
        (["0002_b.sql"], "found [2]"),
        (["0001_a.sql", "0001_b.sql"], "found [1, 1]"),
        (["1_a.sql"], "1_a.sql needs a name like"),
        ([], "found []"),
    ],
)
def test_migrations_with_gaps_doubles_or_odd_names_are_refused(tmp_path: Path, names: list[str], problem: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(StoreError, match=re.escape(problem)):
        read_migrations(tmp_path)


def test_migrations_are_applied_in_order_from_where_the_database_stands(connection: sqlite3.Connection) -> None:
    first = Migration(1, "CREATE TABLE a (x INTEGER) STRICT;")
    second = Migration(2, "ALTER TABLE a ADD COLUMN y TEXT; -- a comment at the end")
    assert migrate(connection, (first,), path=Path("x.db")) == 1
    assert migrate(connection, (first, second), path=Path("x.db")) == 1
    assert [row[1] for row in connection.execute("PRAGMA table_info(a)")] == ["x", "y"]


def test_a_migration_that_fails_leaves_nothing_behind(connection: sqlite3.Connection) -> None:
    first = Migration(1, "CREATE TABLE a (x INTEGER) STRICT;")
    broken = Migration(2, "CREATE TABLE b (x INTEGER) STRICT; CREATE TABLE a (x INTEGER) STRICT;")
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (first, broken), path=Path("x.db"))
    assert not connection.in_transaction
    assert tables(connection) == [("a", 1)]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("CREATE TABLE theirs (x)", "x.db is the database of another program"),
        ("PRAGMA application_id = 7", "x.db is the database of another program"),
        ("PRAGMA user_version = 1", "x.db is the database of another program"),
        (
            "PRAGMA application_id = 0x46657731; PRAGMA user_version = 99",
            "written by a newer version of Fewshot .schema 99",
        ),
    ],
)
def test_other_and_newer_databases_are_refused_untouched(
    connection: sqlite3.Connection, sql: str, problem: str
) -> None:
    connection.executescript(sql)
    with pytest.raises(StoreError, match=problem):
        migrate(connection, read_migrations(), path=Path("x.db"))
    assert "messages" not in [name for name, _ in tables(connection)]
