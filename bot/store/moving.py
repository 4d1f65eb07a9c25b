"""Moving everything from one database into another, of either kind: in steps, checked, and resumed if interrupted."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError
from bot.store.backend import Backend, Row, Transaction, Value
from bot.store.backends import open_backend
from bot.store.preparation import real_path

# Called with the name of a table, the rows that are moved, and all of them.
Progress = Callable[[str, int, int], None]

# The note in a database into which something is being moved: from where, and the last key of each table.
MOVING: Final = ("", "moving")
_ROWS_AT_ONCE: Final = 200
_VALUES_AT_ONCE: Final = 2000  # SQLite takes 32,766 of them, PostgreSQL 65,535

# All tables with their keys, each after those that it refers to.
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "conversations": ("id",),
    "template_versions": ("id",),
    "messages": ("id",),
    "replies": ("id",),
    "reply_reads": ("reply_id", "position"),
    "message_pictures": ("id",),
    "settings": ("platform", "server", "channel", "name"),
    "open_cards": ("id",),
    "inbox": ("id",),
    "sent_messages": ("id",),
    "watermarks": ("platform", "key"),
    "opted_out": ("platform", "author_id"),
    "notes": ("platform", "name"),
    "server_templates": ("id",),
    "template_changes": ("id",),
    "template_drafts": ("platform", "server", "channel", "name", "author_id"),
    "template_origins": ("platform", "server", "channel", "name", "words_sha256", "message_id"),
    "proposal_numbers": ("platform", "server", "channel", "name"),
    "row_outcomes": ("prompt_sha256", "model", "row_sha256"),
    "hosted_servers": ("id",),
    "hosted_channels": ("id",),
    "hosted_people": ("id",),
    "hosted_messages": ("id",),
    "stories": ("id",),
    "story_parts": ("id",),
}
# Counted by triggers while the others are filled.
COUNTED: Final = frozenset({"totals"})
# Of the programs that run with a database; none does while it is moved.
RUNNING: Final = frozenset({"processes", "signals", "gone_marks"})
# These have a row in a new database.
_FILLED: Final = frozenset({"template_changes"})


@dataclass(frozen=True, slots=True)
class MovedTable:
    """A table with the number of its rows and the check sum (hex) of all that is in them, in both databases."""

    name: str
    num_rows: int
    sha256: str


async def move_store(
    source: Path | DatabaseUrl, target: Path | DatabaseUrl, *, tell: Progress
) -> tuple[MovedTable, ...]:
    """Copy everything from `source` into the new database `target`, compare both, and return what was moved.

    A move that was interrupted goes on where it was. `source` stays as it is. Raises StoreError, one sentence: a
    program uses one of them, the target has other data, or they differ in the end; Unavailable if one can't be used.
    """
    source, target = _real(source), _real(target)
    if source == target:
        raise StoreError(f"{source} is both; name two databases.")
    if isinstance(source, Path) and not source.is_file():
        raise StoreError(f"There is no database {source}, so there is nothing to move.")
    async with open_backend(source) as one, open_backend(target) as other:
        for database in (one, other):
            if not database.try_alone():
                raise StoreError(f"A program is using the database {database.name}; stop the bot first.")
        if await find_move(one):
            raise StoreError(f"The database {source} is only partly filled by another move; finish that first.")
        state = await _begin(one, other)
        for table, key in TABLES.items():
            await _copy(one, other, table, key, state, tell)
        last_ids = await one.last_ids()
        await other.write(lambda transaction: other.set_last_ids(transaction, last_ids))
        moved = [await _compare(one, other, table, key) for table, key in TABLES.items()]
        await other.write(_end)
        return tuple(moved)


async def find_move(database: Backend) -> str:
    """Return from where something is being moved into the database, "" if nothing is."""
    rows = await database.read("SELECT value FROM notes WHERE platform = ? AND name = ?", *MOVING)
    return str(json.loads(rows[0]["value"])["from"]) if rows else ""


def _real(address: Path | DatabaseUrl) -> Path | DatabaseUrl:
    return real_path(address) if isinstance(address, Path) else address


async def _begin(source: Backend, target: Backend) -> dict[str, list[Value]]:
    """Mark the target as one that is being filled; return the last keys of what it has already."""
    begun_from = await find_move(target)
    if begun_from == source.name:
        (row,) = await target.read("SELECT value FROM notes WHERE platform = ? AND name = ?", *MOVING)
        keys: dict[str, list[Value]] = json.loads(row["value"])["keys"]
        return keys
    if begun_from:
        raise StoreError(
            f"A move from {begun_from} into {target.name} is unfinished; finish it, or name an empty database."
        )
    for table in TABLES:
        if table not in _FILLED and await target.read(f"SELECT 1 FROM {table} LIMIT 1"):
            raise StoreError(f"The database {target.name} has data of its own; name an empty or a new one.")

    async def begin(transaction: Transaction) -> None:
        for table in sorted(_FILLED):
            await transaction.execute(f"DELETE FROM {table}")
        await transaction.execute(
            "INSERT INTO notes (platform, name, value) VALUES (?, ?, ?)", *MOVING, _mark(source, {})
        )

    await target.write(begin)
    return {}


def _mark(source: Backend, keys: Mapping[str, Sequence[Value]]) -> str:
    return json.dumps({"from": source.name, "keys": keys})


async def _end(transaction: Transaction) -> None:
    await transaction.execute("DELETE FROM notes WHERE platform = ? AND name = ?", *MOVING)


async def _copy(
    source: Backend,
    target: Backend,
    table: str,
    key: tuple[str, ...],
    state: dict[str, list[Value]],
    tell: Progress,
) -> None:
    """Copy the rows of a table that are not in the target yet, some in each transaction."""
    (counted,) = await source.read(f"SELECT count(*) AS num FROM {table}")
    (there,) = await target.read(f"SELECT count(*) AS num FROM {table}")
    num_moved = int(there["num"])
    async for rows in _batches(source, table, key, after=state.get(table)):
        state[table] = [rows[-1][name] for name in key]

        async def insert(transaction: Transaction, rows: Sequence[Row] = rows) -> None:
            await _insert(transaction, table, rows)
            await transaction.execute(
                "UPDATE notes SET value = ? WHERE platform = ? AND name = ?", _mark(source, state), *MOVING
            )

        await target.write(insert)
        num_moved += len(rows)
        tell(table, num_moved, int(counted["num"]))


async def _insert(transaction: Transaction, table: str, rows: Sequence[Row]) -> None:
    names = rows[0].keys()
    num_at_once = max(1, _VALUES_AT_ONCE // len(names))
    for first in range(0, len(rows), num_at_once):
        some = rows[first : first + num_at_once]
        places = ", ".join(f"({', '.join('?' * len(names))})" for _ in some)
        await transaction.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES {places}", *(value for row in some for value in row)
        )


async def _batches(
    database: Backend, table: str, key: tuple[str, ...], *, after: Sequence[Value] | None = None
) -> AsyncIterator[list[Row]]:
    """Yield all rows of a table in the order of its key, or those after a key; but for the note about the move."""
    order, num = ", ".join(key), len(key)
    while True:
        later = f"WHERE ({order}) > ({', '.join('?' * num)})" if after is not None else ""
        rows = await database.read(
            f"SELECT * FROM {table} {later} ORDER BY {order} LIMIT ?", *(after or ()), _ROWS_AT_ONCE
        )
        if not rows:
            return
        after = [rows[-1][name] for name in key]
        if kept := [row for row in rows if table != "notes" or (row["platform"], row["name"]) != MOVING]:
            yield kept


async def _compare(source: Backend, target: Backend, table: str, key: tuple[str, ...]) -> MovedTable:
    """Return the check sum of a table. Raises StoreError if the databases have different ones."""
    moved, there = [await _sum_up(database, table, key) for database in (source, target)]
    if moved != there:
        raise StoreError(
            f"The table {table} has {moved.num_rows:,} rows in {source.name} and {there.num_rows:,} in {target.name},"
            " or they differ: something was changed meanwhile. Move again, into an empty database."
        )
    return moved


async def _sum_up(database: Backend, table: str, key: tuple[str, ...]) -> MovedTable:
    digest, num_rows = hashlib.sha256(), 0
    async for rows in _batches(database, table, key):
        for row in rows:
            names = sorted(row.keys())
            digest.update(json.dumps([_comparable(row[name]) for name in names], ensure_ascii=False).encode())
            num_rows += 1
    return MovedTable(table, num_rows, digest.hexdigest())


def _comparable(value: Value) -> Any:
    """Return a value in a form for JSON, and as both kinds of databases have it: NUL is not stored by PostgreSQL."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    return value.hex() if isinstance(value, bytes) else value
