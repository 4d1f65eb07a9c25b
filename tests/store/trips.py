"""How often the store goes to the disk, as SQLite itself reports it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bot.store.store import Store


@dataclass
class Trips:
    """What SQLite itself reported: each statement of the reader, each transaction's statements of the writer."""

    reads: list[str] = field(default_factory=list)
    writes: list[list[str]] = field(default_factory=list)

    def note_read(self, sql: str) -> None:
        self.reads.append(sql)

    def note_write(self, sql: str) -> None:
        if sql == "BEGIN IMMEDIATE":
            self.writes.append([])
        elif self.writes:
            self.writes[-1].append(sql)

    @property
    def of_messages(self) -> list[list[str]]:
        """The transactions but for the watermark's, which is saved every two seconds for all messages together.

        One that has only just begun when the counting ends is the watermark's too: those of a message are committed.
        """
        committed = (one for one in self.writes if "COMMIT" in one)
        return [one for one in committed if not any("INTO watermarks" in sql for sql in one)]


@asynccontextmanager
async def counted(store: Store) -> AsyncIterator[Trips]:
    """Count one read for each SELECT of the reader's connection, one write for each transaction of the writer's."""
    trips = Trips()
    reader, writer = store._database._reader, store._database._writer
    await reader.set_trace_callback(trips.note_read)
    await writer.set_trace_callback(trips.note_write)
    try:
        yield trips
    finally:
        await reader.set_trace_callback(None)
        await writer.set_trace_callback(None)
