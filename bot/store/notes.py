"""Notes: short named texts that a platform needs after a restart; never people's messages."""

from collections.abc import Callable
from functools import partial

from bot.store.backend import Transaction
from bot.store.records import Records


class Notes(Records):
    """The part of the store that holds notes."""

    async def get_note(self, platform: str, name: str) -> str | None:
        """Return the note `name`; None if there is none."""
        rows = await self._database.read("SELECT value FROM notes WHERE platform = ? AND name = ?", platform, name)
        return str(rows[0]["value"]) if rows else None

    async def change_note(self, platform: str, name: str, change: Callable[[str | None], str]) -> None:
        """Save what `change` makes of the note `name` (None: there is none); it may be called several times."""

        async def read_and_save(transaction: Transaction) -> None:
            rows = await transaction.execute("SELECT value FROM notes WHERE platform = ? AND name = ?", platform, name)
            await _save(transaction, platform, name, change(str(rows[0]["value"]) if rows else None))

        await self._database.write(read_and_save)

    async def set_note(self, platform: str, name: str, value: str) -> None:
        """Save `value` as the note `name`, replacing an earlier one."""

        await self._database.write(partial(_save, platform=platform, name=name, value=value))


async def _save(transaction: Transaction, platform: str, name: str, value: str) -> None:
    await transaction.execute(
        "INSERT INTO notes (platform, name, value) VALUES (?1, ?2, ?3) ON CONFLICT (platform, name)"
        " DO UPDATE SET value = ?3",
        platform,
        name,
        value,
    )
