"""Which database an address is of: a path is a file of SQLite, a URL one on a PostgreSQL server."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Final

from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError
from bot.store.backend import Backend
from bot.store.database import Database
from bot.store.preparation import hold_platform as hold_platform_of_file

_NO_PSYCOPG: Final = (
    "The packages for PostgreSQL are not installed. Install them with:"
    " python -m pip install -c constraints.txt -e '.[postgres]'"
)


def open_backend(address: Path | DatabaseUrl, backup_dir: Path | None = None) -> AbstractAsyncContextManager[Backend]:
    """Open the database at `address`; create or migrate it. Raises StoreError, one sentence.

    `backup_dir` is the folder of the backups of a file (None: one beside it).
    """
    if isinstance(address, Path):
        return Database.open(address, backup_dir)
    try:
        from bot.store.postgres.database import PostgresDatabase
    except ModuleNotFoundError as e:
        raise StoreError(_NO_PSYCOPG) from e
    return PostgresDatabase.open(address)


@contextmanager
def hold_platform(
    address: Path | DatabaseUrl, platform: str, *, parts: Sequence[str] = (), num_places: int = 0
) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Let no other program answer on `platform` from the database at `address` while the block runs.

    Two programs would each answer the other's unfinished requests. On a server, with `parts` others may have other
    parts of the platform, and with `num_places` so many may answer, each in a place of its own. Yields a function that
    returns the names of what this program has. Raises StoreError, one sentence.
    """
    if isinstance(address, Path):
        with hold_platform_of_file(address, platform):
            yield lambda: (platform.lower(),)
        return
    try:
        from bot.store.postgres.holding import hold_platform_on_server
    except ModuleNotFoundError as e:
        raise StoreError(_NO_PSYCOPG) from e
    with hold_platform_on_server(address, platform, parts=parts, num_places=num_places) as seats:
        yield seats
