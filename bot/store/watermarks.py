"""How far the events of a platform were handled, so that what was missed can be read back from there."""

from collections.abc import Collection

from bot.store.database import Transaction
from bot.store.records import Records


class Watermarks(Records):
    """The part of the store that holds watermarks: one message id for each `key` of a platform.

    Ids are compared as numbers of any length: the longer one is higher, then the text decides.
    """

    async def get_watermark(self, platform: str, key: str) -> str | None:
        """Return the id below which everything was handled, None where nothing is known."""
        rows = await self._database.read(
            "SELECT message_id FROM watermarks WHERE platform = ? AND key = ?", platform, key
        )
        return str(rows[0]["message_id"]) if rows else None

    async def advance_watermark(self, platform: str, key: str, message_id: str) -> bool:
        """Move the watermark up to `message_id`; return False, changing nothing, where it is there or above."""

        async def advance(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                "INSERT INTO watermarks AS known (platform, key, message_id) VALUES (?1, ?2, ?3)"
                " ON CONFLICT DO UPDATE SET message_id = ?3"
                " WHERE (length(?3), ?3) > (length(known.message_id), known.message_id) RETURNING key",
                platform,
                key,
                message_id,
            )
            return bool(rows)

        return await self._database.write(advance)

    async def regroup_watermarks(self, platform: str, keys: Collection[str]) -> None:
        """Let a platform have watermarks under no other than `keys`.

        Where others are stored, whoever had them handled other events than now: all of `keys` begin at the lowest.
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
