"""The settings of servers and channels, as names and texts; the caller checks their meaning."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.core.messages import DIRECT_MESSAGES, Scope
from bot.store.backend import Transaction
from bot.store.records import Records, from_microseconds, read_settings, settings_column

SettingLevel = Literal["server", "channel"]


@dataclass(frozen=True, slots=True)
class StoredPlace:
    """The stored settings of a scope, and the number of the last change to its templates.

    `is_opted_out` says that the author in question asked not to be read. `story_since` is when the story in progress
    there was started, None if there is none.
    """

    settings: Mapping[str, str]
    template_change: int
    is_opted_out: bool
    story_since: datetime | None


class ChannelSettings(Records):
    """The part of the store that holds settings."""

    async def load_place(self, scope: Scope, author_id: str | None) -> StoredPlace:
        """Return what is in effect in `scope` for an author (None: no author), in one SELECT, so all of one moment."""
        (row,) = await self._database.read(
            f"""SELECT
                 {settings_column("?1", "?2", "?3")},
                 (SELECT coalesce(max(change), 0) FROM server_templates
                   WHERE platform = ?1 AND server = ?2 AND channel = CASE WHEN ?2 = ?5 THEN ?3 ELSE '' END)
                   AS template_change,
                 EXISTS (SELECT 1 FROM opted_out WHERE platform = ?1 AND author_id = ?4) AS is_opted_out,
                 (SELECT s.begun_at_utc FROM conversations c JOIN stories s ON s.conversation_id = c.id
                   WHERE c.platform = ?1 AND c.server = ?2 AND c.channel = ?3 AND c.thread = ?6
                     AND s.ended_by IS NULL ORDER BY s.id DESC LIMIT 1) AS story_since""",
            scope.platform,
            scope.server,
            scope.channel,
            author_id,
            DIRECT_MESSAGES,
            scope.thread,
        )
        return StoredPlace(
            read_settings(row["settings"]),
            row["template_change"],
            is_opted_out=bool(row["is_opted_out"]),
            story_since=None if row["story_since"] is None else from_microseconds(row["story_since"]),
        )

    async def get_settings(self, scope: Scope) -> Mapping[str, str]:
        """Return the settings in effect in `scope`: the server's, overridden by the channel's of the same name."""
        rows = await self._database.read(
            "SELECT name, value FROM settings WHERE platform = ? AND server = ? AND channel IN ('', ?)"
            " ORDER BY channel",
            scope.platform,
            scope.server,
            scope.channel,
        )
        return {row["name"]: row["value"] for row in rows}

    async def settings_by_level(self, scope: Scope) -> Mapping[str, Mapping[str, str]]:
        """Return what is set for the server of `scope`, and what for its channel."""
        rows = await self._database.read(
            "SELECT channel, name, value FROM settings WHERE platform = ? AND server = ? AND channel IN ('', ?)",
            scope.platform,
            scope.server,
            scope.channel,
        )
        server = {row["name"]: row["value"] for row in rows if not row["channel"]}
        return {"server": server, "channel": {row["name"]: row["value"] for row in rows if row["channel"]}}

    async def set_setting(self, scope: Scope, level: SettingLevel, name: str, value: str | None) -> None:
        """Set `name` for the server or the channel of `scope`; None resets it. Threads share their channel's settings.

        Outside servers the level "server" means the channel.
        """
        channel = "" if level == "server" and scope.has_server else scope.channel

        async def change(transaction: Transaction) -> None:
            key = (scope.platform, scope.server, channel, name)
            if value is None:
                await transaction.execute(
                    "DELETE FROM settings WHERE platform = ? AND server = ? AND channel = ? AND name = ?", *key
                )
            else:
                await transaction.execute(
                    "INSERT INTO settings (platform, server, channel, name, value) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (platform, server, channel, name) DO UPDATE SET value = excluded.value",
                    *key,
                    value,
                )

        await self._database.write(change)
