"""The values and rows that go between the store and PostgreSQL."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, overload

from psycopg import AsyncConnection, AsyncCursor, AsyncRawCursor, Connection
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from bot.store.backend import Row, Value, storable
from bot.store.dialect import Statement

_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**63 - 1


class PostgresRow:
    """A row: its values by name (the first, where several have it) or by place, in order."""

    __slots__ = ("_places", "_values")

    def __init__(self, values: Sequence[Any], places: dict[str, int]) -> None:
        self._values = tuple(values)
        self._places = places

    @overload
    def __getitem__(self, key: int | str, /) -> Any: ...
    @overload
    def __getitem__(self, key: slice, /) -> tuple[Any, ...]: ...
    def __getitem__(self, key: int | str | slice, /) -> Any:
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._places)


def rows_of(cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], PostgresRow]:
    """Return what makes the rows of the result at `cursor`."""
    places: dict[str, int] = {}
    for place, column in enumerate(cursor.description or ()):
        places.setdefault(column.name, place)
    return lambda values: PostgresRow(values, places)


def adapt(connection: AsyncConnection[Any] | Connection[Any]) -> None:
    """Send texts as text and whole numbers with 64 bits, so that no statement depends on how large a number is."""
    connection.adapters.register_dumper(str, StrDumper)
    connection.adapters.register_dumper(int, Int8Dumper)


def clean(value: Value) -> Value:
    """Return `value` in a form that PostgreSQL can store: NUL, which it refuses in a text, becomes U+FFFD too."""
    value = storable(value)
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def bound(statement: Statement, values: Sequence[Value]) -> list[Any]:
    """Return `values` as `statement` takes them. Raises OverflowError for a number that has no 64 bits."""
    return [
        [clean(one) for one in json.loads(str(value))] if place in statement.lists else _sent(value)
        for place, value in enumerate(values)
    ]


def _sent(value: Value) -> Value:
    if isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
        raise OverflowError("a number for the database needs more than 64 bits")
    # PostgreSQL has a type of its own for these, and the store's columns are numbers.
    return int(value) if isinstance(value, bool) else clean(value)


async def run(connection: AsyncConnection[PostgresRow], statement: Statement, values: Sequence[Value]) -> list[Row]:
    """Run a statement and return its rows, none if it has no result."""
    async with AsyncRawCursor(connection) as cursor:
        await cursor.execute(statement.sql.encode(), bound(statement, values))
        return list(await cursor.fetchall()) if cursor.description else []
