"""The settings of servers and channels, as names and texts; what they mean is the caller's to check."""

from collections.abc import Mapping
from typing import Literal

from bot.core.messages import Scope
from bot.store.database import Transaction
from bot.store.records import Records

SettingLevel = Literal["server", "channel"]


class ChannelSettings(Records):
    """The part of the store that holds settings."""

    async def get_settings(self, scope: Scope) -> Mapping[str, str]:
        """Return the settings that hold in `scope`: the server's, each beaten by the channel's of the same name."""
        rows = await self._database.read(
            "SELECT name, value FROM settings WHERE platform = ? AND server = ? AND channel IN ('', ?)"
            " ORDER BY channel",
            scope.platform,
            scope.server,
            scope.channel,
        )
        return {row["name"]: row["value"] for row in rows}

    async def set_setting(self, scope: Scope, level: SettingLevel, name: str, value: str | None) -> None:
        """Set `name` for the server or the channel of `scope`; None takes it back. Threads share their channel's.

        In direct messages the server's level is the channel's.
        """
        channel = "" if level == "server" and not scope.is_direct else scope.channel

        async def change(transaction: Transaction) -> None:
            key = (scope.platform, scope.server, channel, name)
            if value is None:
                await transaction.execute(
                    "DELETE FROM settings WHERE platform = ? AND server = ? AND channel = ? AND name = ?", *key
                )
            else:
                await transaction.execute(
                    "INSERT INTO settings (platform, server, channel, name, value) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET value = excluded.value",
                    *key,
                    value,
                )

        await self._database.write(change)
