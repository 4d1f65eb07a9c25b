"""Notes: short named texts that a platform needs after a restart; never people's messages."""

from bot.store.backend import Transaction
from bot.store.records import Records


class Notes(Records):
    """The part of the store that holds notes."""

    async def get_note(self, platform: str, name: str) -> str | None:
        """Return the note `name`; None if there is none."""
        rows = await self._database.read("SELECT value FROM notes WHERE platform = ? AND name = ?", platform, name)
        return str(rows[0]["value"]) if rows else None

    async def set_note(self, platform: str, name: str, value: str) -> None:
        """Save `value` as the note `name`, replacing an earlier one."""

        async def change(transaction: Transaction) -> None:
            await transaction.execute(
                "INSERT INTO notes (platform, name, value) VALUES (?1, ?2, ?3) ON CONFLICT (platform, name)"
                " DO UPDATE SET value = ?3",
                platform,
                name,
                value,
            )

        await self._database.write(change)
