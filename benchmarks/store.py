"""Measure whether the store takes longer with millions of messages than with none, and how long writes take.

Run: python -m benchmarks.store [--rows 2000000] [--rounds 5]. Every action runs in turn on an empty database and on the
large one, so that both see the same machine; printed are medians in milliseconds, and their difference. Rewriting the
file (VACUUM), which happens while nobody writes, is left out.
"""

import argparse
import asyncio
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bot.core.messages import Author, Message, Scope
from bot.store import database
from bot.store.replies import MessageRead, Provenance
from bot.store.store import Store

NUM_ROWS = 2_000_000
_BATCH = 50_000
_NUM_CONVERSATIONS = 200
_NUM_AUTHORS = 5_000
_WORDS = "The quick brown fox jumps over the lazy dog and looks at what it has left behind in the grass. "
_NOW_US = time.time_ns() // 1000
HERE = Scope("discord", "1", "100")
_ME = Author("me", "Fewshot", is_bot=True, is_me=True)

Act = Callable[[Store, list[str], Author], Awaitable[object]]


@dataclass(slots=True)
class Times:
    """Milliseconds of one action in each round, on both databases."""

    empty: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)

    @property
    def extra_ms(self) -> float:
        """Return how much longer the large database takes."""
        return statistics.median(self.full) - statistics.median(self.empty)


def _rows(start: int, end: int, num_rows: int) -> Iterator[tuple[object, ...]]:
    for number in range(start, end):
        is_me = number % 2
        conversation = number // 2 % _NUM_CONVERSATIONS + 1
        author = "me" if is_me else f"a{number // 2 % _NUM_AUTHORS}"
        created_us = _NOW_US - (num_rows - number) * 1_000_000  # all within a month
        reply_to = f"{number}" if is_me else None
        yield (conversation, f"{number + 1}", author, is_me, is_me, _WORDS * (1 + number % 3), reply_to, created_us)


def fill(path: Path, num_rows: int, tell: Callable[[str], None]) -> None:
    """Write `num_rows` messages, every second one an answer to the one before, into the database at `path`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(
            "INSERT OR IGNORE INTO conversations (id, platform, server, channel, thread)"
            " VALUES (?, 'discord', ?, ?, '')",
            ((i, f"{i % 20}", f"{100 + i}") for i in range(1, _NUM_CONVERSATIONS + 1)),
        )
        for start in range(0, num_rows, _BATCH):
            end = min(start + _BATCH, num_rows)
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO messages (conversation_id, platform, message_id, author_id, author_name, is_bot, is_me,"
                " text, reply_to, kind, created_at_utc)"
                " VALUES (?1, 'discord', ?2, ?3, 'Ann', ?4, ?5, ?6, ?7, 'chat', ?8)",
                _rows(start, end, num_rows),
            )
            connection.execute(
                "INSERT INTO replies (id, command, model_name, precision, num_prompt_tokens, num_new_tokens,"
                " prompt_inputs) SELECT id, 'chat', 'gpt2', 'float32', 9, 9, '{}' FROM messages"
                " WHERE is_me AND id > (SELECT coalesce(max(id), 0) FROM replies)"
            )
            connection.execute(
                "INSERT INTO reply_reads SELECT r.id, 0, m.reply_to, 1 FROM replies r JOIN messages m ON m.id = r.id"
                " WHERE r.id > (SELECT coalesce(max(reply_id), 0) FROM reply_reads)"
            )
            connection.execute("COMMIT")
            tell(f"\r{end:,} of {num_rows:,} messages")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tell("\n")


_numbers = count()


async def _plant(store: Store) -> tuple[list[str], Author]:
    """Store six messages of somebody new, with an answer to each; return the ids of the messages, and the author."""
    author = Author(f"n{next(_numbers)}", "Ann")
    ids = []
    for _ in range(6):
        asked = Message(f"9{next(_numbers):09}", HERE, author, _WORDS)
        answer = Message(f"8{next(_numbers):09}", HERE, _ME, _WORDS, reply_to=asked.id)
        await store.accept_request(asked)
        await store.add_message(asked, kind="chat")
        read = Provenance("chat", "gpt2", "float32", read=(MessageRead(asked.id, 1),))
        await store.add_reply(answer, read, kind="chat")
        await store.note_sent("discord", asked.id, f"7{asked.id}", 0)
        await store.finish_request("discord", asked.id, "answered")
        ids.append(asked.id)
    return ids, author


async def _forget_channel(store: Store, ids: list[str], author: Author) -> None:
    place = Scope("discord", "1", author.id)
    for number in range(6):
        await store.add_message(Message(f"c{author.id}-{number}", place, author, _WORDS), kind="chat")
    await store.forget_channel(place)


ACTIONS: dict[str, Act] = {
    "store a message": lambda store, ids, author: store.add_message(
        Message(f"9{next(_numbers):09}", HERE, author, _WORDS), kind="chat"
    ),
    "read a place": lambda store, ids, author: store.load_place(HERE, author.id),
    "read the history": lambda store, ids, author: store.load_conversation(HERE, limit=12),
    "`why`": lambda store, ids, author: store.last_reply(HERE),
    "`stats`": lambda store, ids, author: store.count_stored(),
    "`privacy`": lambda store, ids, author: store.count_messages_of("discord", author.id),
    "`privacy --do export`": lambda store, ids, author: store.export_person("discord", author.id),
    "`purge`": lambda store, ids, author: store.recent_replies(HERE, 5),
    "`fresh`": lambda store, ids, author: store.mark_fresh(HERE),
    "an edit": lambda store, ids, author: store.edit_message("discord", ids[0], f"{_WORDS}{next(_numbers)}"),
    "a deletion": lambda store, ids, author: store.withdraw_request("discord", ids[1]),
    "`privacy --do forget-now`": lambda store, ids, author: store.forget_person("discord", author.id),
    "a deleted channel": _forget_channel,
    "retention": lambda store, ids, author: store.delete_expired(),
    "unfinished requests": lambda store, ids, author: store.unfinished_requests("discord", answerable_s=60),
    "what to compare after a gap": lambda store, ids, author: store.visible_ids(
        "discord", [str(i) for i in range(20)], num_conversations=50, num_each=100
    ),
}


async def _time(work: Awaitable[object]) -> float:
    since = time.perf_counter()
    await work
    return 1000 * (time.perf_counter() - since)


async def measure(
    folder: Path, num_rows: int, num_rounds: int, tell: Callable[[str], None]
) -> tuple[dict[str, Times], float]:
    """Return the times of the start and of every action, and the longest write on the large database in ms."""
    database.QUICK_BYTES = -1  # type: ignore[misc]
    empty, full = folder / "empty.db", folder / "full.db"
    for path in (empty, full):
        async with Store.open(path):
            pass
    await asyncio.to_thread(fill, full, num_rows, tell)
    times = {"start": Times(), **{name: Times() for name in ACTIONS}}
    longest_ms = 0.0
    for _ in range(num_rounds):
        async with AsyncExitStack() as stack:
            stores = []
            for path, found in ((empty, times["start"].empty), (full, times["start"].full)):
                since = time.perf_counter()
                stores.append(await stack.enter_async_context(Store.open(path)))
                found.append(1000 * (time.perf_counter() - since))
            planted = [await _plant(store) for store in stores]
            for name, act in ACTIONS.items():
                times[name].empty.append(await _time(act(stores[0], *planted[0])))
                times[name].full.append(await _time(act(stores[1], *planted[1])))
            longest_ms = max(longest_ms, 1000 * stores[1].longest_turn_s)
    return times, longest_ms


def table_of(times: dict[str, Times]) -> str:
    """Return the medians as a table in Markdown."""
    lines = ["| action | empty, ms | large, ms | longer by, ms |", "|---|---|---|---|"]
    for name, one in times.items():
        empty, full = statistics.median(one.empty), statistics.median(one.full)
        lines.append(f"| {name} | {empty:.1f} | {full:.1f} | {one.extra_ms:+.1f} |")
    return "\n".join(lines)


def _tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--rows", type=int, default=NUM_ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times, longest_ms = asyncio.run(measure(Path(folder), arguments.rows, arguments.rounds, _tell))
        size = (Path(folder) / "full.db").stat().st_size
    sys.stdout.write(f"{arguments.rows:,} messages, {size / 2**20:,.0f} MiB, Python {platform.python_version()}\n")
    sys.stdout.write(f"{table_of(times)}\nlongest write with the large database: {longest_ms:.0f} ms\n")


if __name__ == "__main__":
    main()
