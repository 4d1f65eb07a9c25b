"""The differences between the SQL of SQLite, in which the store is written, and that of PostgreSQL: all of them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# A text in quotation marks, or a placeholder: `?` for the next value, `?3` for the third.
_PLACEHOLDER: Final = re.compile(r"'(?:[^']|'')*'|\?(\d*)")
# The elements of the JSON array in a value, as the rows of `value` and `key`; the name of the table may follow.
_EACH: Final = re.compile(
    r"json_each\((\$\d+)\)(?:\s+(?!(?:WHERE|CROSS|JOIN|LEFT|UNION|ORDER|LIMIT|ON|AS)\b)(?P<name>\w+))?"
)
_LIST_OF_LISTS: Final = re.compile(r"json_group_array\(json_array\(([\w., ]+)\)\)")
_LIST: Final = re.compile(r"json_group_array\(([\w.]+)\)")
_JSON: Final = r"([\w.]+), '\$((?:\.\w+|\[\d+\])+)'"
_EXTRACT: Final = re.compile(rf"json_extract\({_JSON}\)")
_LENGTH: Final = re.compile(rf"json_array_length\({_JSON}\)")
_SET: Final = re.compile(rf"json_set\({_JSON}, json\(('[^']*')\)\)")
# SQLite's CROSS JOIN keeps the order of the tables; PostgreSQL finds its own.
_CROSS_JOIN: Final = re.compile(r"\bCROSS JOIN(\s+\w+(?:\s+(?!ON\b)\w+)?\s+ON\b)")
_INSTR: Final = re.compile(r"\binstr\(")
_NOW: Final = "julianday('now')"
# A lock that SQLite, which has one writer, does not need or know is written as a comment.
_LOCK: Final = re.compile(r"/\* (FOR UPDATE [A-Z ]+) \*/")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement for PostgreSQL, with $1, $2 … for its values; those at the places `lists` are arrays of texts."""

    sql: str
    lists: frozenset[int]


@lru_cache(maxsize=2048)
def to_postgres(sql: str) -> Statement:
    """Return `sql`, a statement for SQLite, as one that does the same in PostgreSQL."""
    numbers: list[int] = []
    sql = _PLACEHOLDER.sub(lambda match: _numbered(match, numbers), sql)
    lists = frozenset(int(match[1][1:]) - 1 for match in _EACH.finditer(sql))
    sql = _EACH.sub(lambda match: _unnest(match[1], match["name"] or "each"), sql)
    # PostgreSQL refuses to read a JSON text with an escaped NUL.
    sql = _EXTRACT.sub(lambda match: f"({_json(match[1])}::json #>> {_path(match[2])})", sql)
    sql = _LENGTH.sub(lambda match: f"json_array_length({_json(match[1])}::json #> {_path(match[2])})", sql)
    sql = _SET.sub(
        lambda match: f"CAST(jsonb_set({_json(match[1])}::jsonb, {_path(match[2])}, {match[3]}) AS TEXT)", sql
    )
    sql = _LIST_OF_LISTS.sub(r"coalesce(CAST(json_agg(json_build_array(\1)) AS TEXT), '[]')", sql)
    sql = _LIST.sub(r"coalesce(CAST(json_agg(\1) AS TEXT), '[]')", sql)
    sql = _CROSS_JOIN.sub(r"JOIN\1", sql)
    sql = _INSTR.sub("strpos(", sql)
    sql = sql.replace(_NOW, "(extract(epoch FROM clock_timestamp()) / 86400 + 2440587.5)")
    sql = _LOCK.sub(r"\1", sql)
    return Statement(sql, lists)


def _numbered(match: re.Match[str], numbers: list[int]) -> str:
    """Return a text as it is, and a placeholder with its number."""
    if match[0][0] == "'":
        return match[0]
    numbers.append(int(match[1]) if match[1] else len(numbers) + 1)
    return f"${numbers[-1]}"


def _unnest(value: str, name: str) -> str:
    return f"unnest({value}::text[]) WITH ORDINALITY AS {name} (value, key)"


def _json(column: str) -> str:
    return rf"replace({column}, '\u0000', '\ufffd')"


def _path(path: str) -> str:
    """Return the path `.a.b[0]` in PostgreSQL's form."""
    return "'{" + ",".join(re.findall(r"\w+", path)) + "}'"
