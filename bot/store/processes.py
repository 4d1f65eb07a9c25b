"""The programs that share one database: which of them answers a request, and what they have to tell one another.

Each has a row that it renews by `beat`. Of one whose row is gone others take over the requests that it held. Times are
by the clock of the database, so that the programs' own clocks do not matter.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bot.core.messages import Author
from bot.errors import Unavailable
from bot.store.backend import Row, Transaction
from bot.store.records import Records

# A program that was not seen for so long is dead.
LEASE_S: Final = 30.0
# The time in microseconds since 1970 UTC.
_NOW: Final = "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS BIGINT)"
# The open requests of a platform that no living program holds.
_ORPHANS: Final = (
    "FROM inbox i WHERE i.platform = ? AND i.finished_at_utc IS NULL AND (i.held_by IS NULL"
    " OR NOT EXISTS (SELECT 1 FROM processes p WHERE p.id = i.held_by))"
)

SignalKind = Literal["withdrawn", "edited", "stopped", "erased"]


@dataclass(frozen=True, slots=True)
class Signal:
    """What another program has to tell: `subject` is the id of a request, or of `erased` a JSON array of numbers."""

    id: int
    platform: str
    kind: SignalKind
    subject: str


class Processes(Records):
    """The part of the store that holds the programs on one database, and what they tell one another."""

    @property
    def is_shared(self) -> bool:
        """Say whether several programs may answer on one platform from this database."""
        return self._database.is_shared

    async def join(self, seats: Sequence[str]) -> int:
        """Insert a row for this program, in place of an earlier one with the same `seats`, and return its id.

        The seats are its own: whoever had them before is dead.
        """

        async def insert(transaction: Transaction) -> int:
            text = json.dumps(sorted(seats))
            await transaction.execute("DELETE FROM processes WHERE seats = ?", text)
            (row,) = await transaction.execute(f"SELECT {_NOW} AS now, (SELECT max(id) FROM processes) AS last")
            process_id = max(int(row["now"]), (row["last"] or 0) + 1)
            await transaction.execute(
                "INSERT INTO processes (id, seats, seen_at_utc) VALUES (?, ?, ?)", process_id, text, row["now"]
            )
            return process_id

        self._database.process_id = await self._database.write(insert)
        return self._database.process_id

    async def beat(self) -> bool:
        """Renew the row of this program, and delete those of dead ones; return False if it is one of these."""

        async def renew(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                f"UPDATE processes SET seen_at_utc = {_NOW} WHERE id = ? RETURNING id", transaction.process_id
            )
            dead = f"seen_at_utc < {_NOW} - ?"
            # Most often there is none, and what only reads disturbs nobody.
            if await transaction.execute(f"SELECT 1 FROM processes WHERE {dead}", int(LEASE_S * 1e6)):
                await transaction.execute(f"DELETE FROM processes WHERE {dead}", int(LEASE_S * 1e6))
            return bool(rows)

        return await self._database.write(renew)

    async def leave(self) -> None:
        """Delete the row of this program: others may take over what it has not answered."""

        async def delete(transaction: Transaction) -> None:
            await transaction.execute("DELETE FROM processes WHERE id = ?", transaction.process_id)
            transaction.wakes_others = True

        await self._database.write(delete)
        self._database.process_id = None

    async def other_seats(self) -> tuple[str, ...]:
        """Return the seats of all other programs."""
        rows = await self._database.read(
            "SELECT seats FROM processes WHERE id <> ? ORDER BY id", self._database.process_id
        )
        return tuple(seat for row in rows for seat in json.loads(row["seats"]))

    async def has_orphans(self, platform: str) -> bool:
        """Say whether there are open requests that no living program holds."""
        return bool(await self._database.read(f"SELECT 1 {_ORPHANS} LIMIT 1", platform))

    async def take_over(self, platform: str, *, limit: int) -> tuple[str, ...]:
        """Hold at most `limit` open requests that no living program holds, the oldest; return their ids.

        Of several programs that do so at once each gets others.
        """

        async def take(transaction: Transaction) -> tuple[str, ...]:
            rows = await transaction.execute(
                f"UPDATE inbox SET held_by = ? WHERE id IN (SELECT i.id {_ORPHANS} ORDER BY i.created_at_utc, i.id"
                " LIMIT ? /* FOR UPDATE SKIP LOCKED */) RETURNING message_id",
                transaction.process_id,
                platform,
                limit,
            )
            return tuple(row["message_id"] for row in rows)

        return await self._database.write(take)

    async def signals(self) -> tuple[Signal, ...]:
        """Return what other programs have to tell this one, in the order in which they said it."""
        rows = await self._database.read(
            "SELECT id, platform, kind, subject FROM signals WHERE process_id = ? ORDER BY id",
            self._database.process_id,
        )
        return tuple(Signal(row["id"], row["platform"], row["kind"], row["subject"]) for row in rows)

    async def drop_signals(self, signals: Sequence[Signal]) -> None:
        """Delete signals that were followed."""

        async def delete(transaction: Transaction) -> None:
            ids = json.dumps([str(signal.id) for signal in signals])
            await transaction.execute(
                "DELETE FROM signals WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))", ids
            )

        await self._database.write(delete)

    async def stop_elsewhere(self, platform: str, message_id: str, author: Author) -> Literal["told", "not open", "no"]:
        """Tell the program that answers a request to stop, if `author` asked it or is a moderator.

        Return "not open" if no other program answers it, "no" if the author may not stop it.
        """

        async def tell(transaction: Transaction) -> Literal["told", "not open", "no"]:
            rows = await transaction.execute(
                "SELECT author_id, message_id, held_by, finished_at_utc FROM inbox"
                " WHERE platform = ? AND message_id = ? AND finished_at_utc IS NULL",
                platform,
                message_id,
            )
            if not rows:
                return "not open"
            if not author.is_moderator and rows[0]["author_id"] != author.id:
                return "no"
            return "told" if await signal_holders(transaction, platform, "stopped", rows) else "not open"

        if not self._database.is_shared:
            return "not open"
        return await self._database.write(tell)

    async def claim(self, platform: str, name: str, for_s: float) -> float:
        """Have `name` to oneself for `for_s` seconds: return 0.0, or after how many seconds it is free if it is taken.

        Of several programs one gets it, and no program gets it twice in that time.
        """

        async def take(transaction: Transaction) -> float:
            key = f"claim {name}"
            (row,) = await transaction.execute(
                f"SELECT {_NOW} AS now, (SELECT value FROM notes WHERE platform = ? AND name = ?) AS until",
                platform,
                key,
            )
            left_us = int(row["until"] or 0) - int(row["now"])
            # A clock that was set back does not keep it for ever.
            if 0 < left_us <= for_s * 1e6:
                return left_us / 1e6
            await transaction.execute(
                "INSERT INTO notes (platform, name, value) VALUES (?1, ?2, ?3) ON CONFLICT (platform, name)"
                " DO UPDATE SET value = ?3",
                platform,
                key,
                str(int(row["now"] + for_s * 1e6)),
            )
            return 0.0

        return await self._database.write(take)

    async def prolong(self, platform: str, name: str, for_s: float) -> None:
        """Have a claim for `for_s` seconds from now, whatever was left of it."""

        async def save(transaction: Transaction) -> None:
            await transaction.execute(
                f"UPDATE notes SET value = CAST({_NOW} + ? AS TEXT) WHERE platform = ? AND name = ?",
                int(for_s * 1e6),
                platform,
                f"claim {name}",
            )

        await self._database.write(save)

    async def release(self, platform: str, name: str) -> None:
        """Give a claim back."""

        async def delete(transaction: Transaction) -> None:
            await transaction.execute("DELETE FROM notes WHERE platform = ? AND name = ?", platform, f"claim {name}")

        await self._database.write(delete)

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` when another program has told something, as far as the database says so; runs until cancelled."""
        await self._database.listen(wake)


async def check_alive(transaction: Transaction) -> None:
    """Raise Unavailable if others take this program for dead, and answer what it has accepted."""
    if transaction.process_id is not None and not await transaction.execute(
        "SELECT 1 FROM processes WHERE id = ?", transaction.process_id
    ):
        raise Unavailable("The database could not be reached for a while; try again in a few seconds.")


async def signal_holders(transaction: Transaction, platform: str, kind: SignalKind, rows: Sequence[Row]) -> bool:
    """Tell other programs about the requests in `rows` (message_id, held_by) of the inbox; say whether any was told."""
    told = False
    for row in rows if transaction.process_id is not None else ():
        if row["held_by"] in (None, transaction.process_id):
            continue
        told |= bool(
            await transaction.execute(
                "INSERT INTO signals (process_id, platform, kind, subject)"
                " SELECT id, ?, ?, ? FROM processes WHERE id = ? RETURNING id",
                platform,
                kind,
                row["message_id"],
                row["held_by"],
            )
        )
    transaction.wakes_others |= told
    return told


async def signal_erased(transaction: Transaction) -> None:
    """Tell the other programs which visible messages of the page were erased: one of them may show them."""
    if transaction.erased_hosted and transaction.process_id is not None:
        transaction.wakes_others |= bool(
            await transaction.execute(
                "INSERT INTO signals (process_id, platform, kind, subject)"
                " SELECT id, '', 'erased', ? FROM processes WHERE id <> ? RETURNING id",
                json.dumps(transaction.erased_hosted),
                transaction.process_id,
            )
        )
