"""What a platform has to know again after a restart: a few texts by name, and nobody's words."""

from bot.store.database import Transaction
from bot.store.records import Records


class Notes(Records):
    """The part of the store that holds notes."""

    async def get_note(self, platform: str, name: str) -> str | None:
        """Return what was noted under `name`, None where nothing was."""
        rows = await self._database.read("SELECT value FROM notes WHERE platform = ? AND name = ?", platform, name)
        return str(rows[0]["value"]) if rows else None

    async def set_note(self, platform: str, name: str, value: str) -> None:
        """Note `value` under `name` in the place of what stood there."""

        async def change(transaction: Transaction) -> None:
            await transaction.execute(
                "INSERT INTO notes (platform, name, value) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = ?3",
                platform,
                name,
                value,
            )

        await self._database.write(change)
