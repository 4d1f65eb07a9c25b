"""What all parts of the store share: the database, times, and the row of a conversation."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from bot.core.messages import Scope
from bot.store.backend import Backend, Transaction

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# Of one transaction: others wait for no more than that.
ROWS_AT_ONCE: Final = 50

# A condition on `conversations` that takes the four values of `scope_values`.
IN_SCOPE: Final = "platform = ? AND server = ? AND channel = ? AND thread = ?"


def settings_column(platform: str, server: str, channel: str) -> str:
    """Return the SQL of the column `settings`: those stored for a channel, for `read_settings`; takes SQL values."""
    return (
        "(SELECT json_group_array(json_array(name, value)) FROM (SELECT name, value FROM settings"
        f" WHERE platform = {platform} AND server = {server} AND channel IN ('', {channel}) ORDER BY channel) AS each)"
        " AS settings"
    )


def read_settings(column: str) -> Mapping[str, str]:
    """Return the settings in the value of a `settings_column`: the server's, overridden by the channel's."""
    return dict(json.loads(column))


class Records:
    """The base class of each part of the store."""

    def __init__(self, database: Backend) -> None:
        self._database = database


def to_microseconds(moment: datetime) -> int:
    """Return an aware `moment` as whole microseconds since 1970 UTC. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("the store takes times with a time zone")
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return microseconds since 1970 UTC as an aware time."""
    return _EPOCH + microseconds * _MICROSECOND


def scope_values(scope: Scope) -> tuple[str, str, str, str]:
    """Return the values for IN_SCOPE."""
    return scope.platform, scope.server, scope.channel, scope.thread


async def conversation_id(transaction: Transaction, scope: Scope) -> int:
    """Return the row id of the conversation in `scope`; insert the row if there is none."""
    values = scope_values(scope)
    await transaction.execute(
        "INSERT INTO conversations (platform, server, channel, thread) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        *values,
    )
    rows = await transaction.execute(f"SELECT id FROM conversations WHERE {IN_SCOPE}", *values)
    return int(rows[0]["id"])
