"""Watermarks: up to which message a platform's events were handled, so that missed ones can be fetched later."""

from collections.abc import Collection

from bot.store.backend import Transaction
from bot.store.records import Records


class Watermarks(Records):
    """The part of the store that holds watermarks: one message id for each `key` of a platform.

    Ids are compared as decimal numbers of any length: first by length, then as text.
    """

    async def get_watermark(self, platform: str, key: str) -> str | None:
        """Return the id up to which everything was handled; None if there is none."""
        rows = await self._database.read(
            "SELECT message_id FROM watermarks WHERE platform = ? AND key = ?", platform, key
        )
        return str(rows[0]["message_id"]) if rows else None

    async def advance_watermark(self, platform: str, key: str, message_id: str) -> bool:
        """Move the watermark up to `message_id`; return False, and change nothing, if it is there or higher."""

        async def advance(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                "INSERT INTO watermarks AS known (platform, key, message_id) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (platform, key) DO UPDATE SET message_id = ?3"
                " WHERE (length(?3), ?3) > (length(known.message_id), known.message_id) RETURNING key",
                platform,
                key,
                message_id,
            )
            return bool(rows)

        return await self._database.write(advance)

    async def regroup_watermarks(self, platform: str, keys: Collection[str]) -> None:
        """Replace a platform's watermarks if any of them is not under one of `keys`.

        Then the earlier run grouped events differently, so all of `keys` start at the lowest watermark.
        """

        async def regroup(transaction: Transaction) -> None:
            rows = await transaction.execute(
                "SELECT key, message_id FROM watermarks WHERE platform = ? ORDER BY length(message_id), message_id",
                platform,
            )
            if all(row["key"] in keys for row in rows):
                return
            await transaction.execute("DELETE FROM watermarks WHERE platform = ?", platform)
            for key in keys:
                await transaction.execute(
                    "INSERT INTO watermarks (platform, key, message_id) VALUES (?, ?, ?)",
                    platform,
                    key,
                    rows[0]["message_id"],
                )

        await self._database.write(regroup)
