from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.store.store import Store
from tests.databases import lay_new_database
from tests.postgres_server import PostgresServer
from tests.store.places import Place, PostgresPlace, SqlitePlace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file of SQLite, for tests about files."""
    return tmp_path / "data" / "fewshot.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, path: Path) -> Iterator[Place]:
    """Return a new database: a file of SQLite, then one on a PostgreSQL server."""
    if request.param == "sqlite":
        yield SqlitePlace(lay_new_database(path))
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.new_database() as address:
        yield PostgresPlace(address)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """Return the store in a new database, of each kind in turn."""
    async with Store.open(place.address) as opened:
        yield opened


@pytest.fixture
async def file_store(path: Path) -> AsyncIterator[Store]:
    """Return the store in a new file of SQLite."""
    async with Store.open(lay_new_database(path)) as opened:
        yield opened
