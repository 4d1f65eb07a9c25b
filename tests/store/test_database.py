import asyncio
import logging
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import StoreError, Unavailable
from bot.store.backend import Transaction, Unprepared
from bot.store.database import Database
from bot.store.store import Store
from tests.store.samples import HERE, bytes_on_disk, said

# These check files from inside async tests; they are small and local.
# ruff: noqa: ASYNC240


@pytest.fixture
def store(file_store: Store) -> Store:
    """Return the store in a file."""
    return file_store


async def count(database: Database) -> int:
    rows = await database.read("SELECT count(*) FROM settings")
    return int(rows[0][0])


async def insert(transaction: Transaction, name: str) -> None:
    await transaction.execute("INSERT INTO settings VALUES ('p', 's', 'c', ?, '')", name)


async def test_the_pragmas_hold_on_both_connections(path: Path) -> None:
    async with Database.open(path) as database:

        async def ask(transaction: Transaction) -> list[int]:
            names = ("foreign_keys", "trusted_schema", "synchronous", "secure_delete", "busy_timeout")
            return [(await transaction.execute(f"PRAGMA {name}"))[0][0] for name in names]

        assert await database.write(ask) == [1, 0, 2, 1, 5000]
        assert (await database.read("PRAGMA journal_mode"))[0][0] == "wal"
        assert (await database.read("PRAGMA query_only"))[0][0] == 1


async def test_the_reader_writes_nothing(path: Path) -> None:
    async with Database.open(path) as database:
        with pytest.raises(Unavailable):
            await database.read("DELETE FROM settings")


async def test_a_transaction_that_fails_is_rolled_back_and_the_next_one_works(path: Path) -> None:
    async with Database.open(path) as database:

        async def fail(transaction: Transaction) -> None:
            await insert(transaction, "a")
            raise RuntimeError("half way")

        async def break_a_rule(transaction: Transaction) -> None:
            await insert(transaction, "b")
            await insert(transaction, "b")

        with pytest.raises(RuntimeError, match="half way"):
            await database.write(fail)
        with pytest.raises(sqlite3.IntegrityError):
            await database.write(break_a_rule)
        assert await count(database) == 0
        await database.write(lambda transaction: insert(transaction, "c"))
        assert await count(database) == 1


async def test_many_writers_at_once_each_write_everything_of_their_own(path: Path) -> None:
    async with Database.open(path) as database:

        async def write_pair(number: int) -> None:
            async def both(transaction: Transaction) -> None:
                await insert(transaction, f"{number}-a")
                await asyncio.sleep(0)
                await insert(transaction, f"{number}-b")
                if number % 3 == 0:
                    raise RuntimeError("not this one")

            await database.write(both)

        results = await asyncio.gather(*(write_pair(n) for n in range(60)), return_exceptions=True)
        assert sum(isinstance(result, RuntimeError) for result in results) == 20
        assert await count(database) == 80


@pytest.mark.parametrize("pauses", [*range(8), 12, 20, 40])
async def test_a_cancelled_write_happens_wholly_or_not_at_all_and_blocks_nobody(path: Path, pauses: int) -> None:
    async with Database.open(path) as database:

        async def both(transaction: Transaction) -> None:
            await insert(transaction, "a")
            await insert(transaction, "b")

        task = asyncio.ensure_future(database.write(both))
        for _ in range(pauses):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(database.write(lambda transaction: insert(transaction, "c")), 5)
        assert await count(database) in (1, 3)


async def test_a_write_that_waits_its_turn_can_be_cancelled_and_then_never_happens(path: Path) -> None:
    async with Database.open(path) as database:
        go_on = asyncio.Event()

        async def slow(transaction: Transaction) -> None:
            await go_on.wait()
            await insert(transaction, "slow")

        first = asyncio.ensure_future(database.write(slow))
        second = asyncio.ensure_future(database.write(lambda transaction: insert(transaction, "waiting")))
        await asyncio.sleep(0.01)
        second.cancel()
        go_on.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await count(database) == 1


async def test_what_fails_after_its_caller_was_cancelled_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Database.open(path) as database:
        begun = asyncio.Event()

        async def fail(transaction: Transaction) -> None:
            begun.set()
            await asyncio.sleep(0.01)
            raise RuntimeError("too late to hear")

        task = asyncio.ensure_future(database.write(fail))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError), caplog.at_level(logging.ERROR):
            await task
    assert "too late to hear" in caplog.text


def test_a_loop_that_ends_in_the_middle_of_a_write_leaves_no_thread_and_no_half_write(path: Path) -> None:
    async def write_pairs() -> None:
        async with Database.open(path) as database:
            asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)  # type: ignore[union-attr]
            number = 0
            while True:
                number += 1

                async def both(transaction: Transaction, number: int = number) -> None:
                    await insert(transaction, f"{number}-a")
                    await insert(transaction, f"{number}-b")

                await database.write(both)

    before = set(threading.enumerate())
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(write_pairs())
    for left in set(threading.enumerate()) - before:
        left.join(10)  # a thread that has been told to end, on a busy machine
    assert set(threading.enumerate()) <= before
    with closing(sqlite3.connect(path)) as connection:
        (num_rows,) = connection.execute("SELECT count(*) FROM settings").fetchone()
    assert num_rows > 0
    assert num_rows % 2 == 0


async def test_closing_lets_what_runs_finish_and_refuses_the_rest(path: Path) -> None:
    async with Database.open(path) as database:
        begun = asyncio.Event()

        async def slow(transaction: Transaction) -> None:
            begun.set()
            await insert(transaction, "a")
            await asyncio.sleep(0.05)
            await insert(transaction, "b")

        running = asyncio.ensure_future(database.write(slow))
        await begun.wait()
    await running
    for late in (database.read("SELECT 1"), database.write(lambda transaction: insert(transaction, "c"))):
        with pytest.raises(Unavailable, match="shutting down"):
            await late
    async with Database.open(path) as database:
        assert await count(database) == 2
    assert not list(path.parent.glob("*-wal")), "the last to close empties the log"


async def test_opening_that_is_cancelled_leaves_nothing_open(path: Path) -> None:
    for pause_s in (0, 0.001, 0.003, 0.01, 0.02):

        async def open_and_close() -> None:
            async with Database.open(path):
                await asyncio.sleep(10)

        task = asyncio.ensure_future(open_and_close())
        await asyncio.sleep(pause_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for thread in threading.enumerate():
        if "_connection_worker" in thread.name:
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()
    async with Store.open(path) as store:
        assert await store.add_message(said(1), kind="chat")


async def test_two_stores_on_one_file_both_write_and_see_each_other(path: Path) -> None:
    async with Store.open(path) as one, Store.open(path) as two:
        await asyncio.gather(
            *(store.add_message(said(n * 2 + i), kind="chat") for n in range(25) for i, store in enumerate((one, two)))
        )
        assert len(await one.load_history(HERE, limit=99)) == 50
        assert len(await two.load_history(HERE, limit=99)) == 50


async def test_a_file_that_another_program_holds_is_one_sentence_and_reading_goes_on(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.add_message(said(1), kind="chat")
    monkeypatch.setattr("bot.store.database.BUSY_TIMEOUT_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(await store.load_history(HERE, limit=9)) == 1
        await store._database._writer.execute_fetchall("PRAGMA busy_timeout = 50")
        with pytest.raises(Unavailable, match="Another program is using"):
            await store.add_message(said(2), kind="chat")
        other.execute("ROLLBACK")
    assert await store.add_message(said(2), kind="chat")


async def test_a_store_waits_for_another_processes_turn_and_no_longer(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store.open(path) as other:
        monkeypatch.setattr("bot.store.database.BUSY_TIMEOUT_S", 0.05)
        async with other._database._file_lock.hold(1):
            with pytest.raises(Unavailable, match="Another program is using"):
                await store.add_message(said(1), kind="chat")
        assert await store.add_message(said(1), kind="chat")


async def test_a_full_database_refuses_what_is_new_and_keeps_the_rest(store: Store) -> None:
    """Simulates a full disk: SQLite reports both as SQLITE_FULL."""
    for number in range(5):
        await store.add_message(said(number), kind="chat")

    async def limit_pages(transaction: Transaction) -> None:
        (row,) = await transaction.execute("PRAGMA page_count")
        await transaction.execute(f"PRAGMA max_page_count = {row[0]}")

    await store._database.write(limit_pages)
    results = await asyncio.gather(
        *(store.add_message(said(number, "x" * 5000), kind="chat") for number in range(5, 50)), return_exceptions=True
    )
    refused = [str(result) for result in results if isinstance(result, Unavailable)]
    assert refused
    assert set(refused) == {"The bot's disk is full or failing, so nothing new can be stored; try again later."}
    history = await store.load_history(HERE, limit=999)
    assert len(history) == 50 - len(refused)
    with pytest.raises(Unavailable, match="disk is full"):
        await store.add_message(said(998, "x" * 50_000), kind="chat")
    assert await store.load_history(HERE, limit=999) == history

    async def lift_limit(transaction: Transaction) -> None:
        await transaction.execute("PRAGMA max_page_count = 1000000")

    await store._database.write(lift_limit)
    assert await store.add_message(said(999, "x" * 50_000), kind="chat")


async def test_a_backup_is_made_while_writing_goes_on_and_is_restored_in_need(path: Path) -> None:
    async with Store.open(path) as store:
        for number in range(20):
            await store.add_message(said(number, "x" * 5000), kind="chat")
        writing = [store.add_message(said(number), kind="chat") for number in range(20, 40)]
        backup, *added = await asyncio.gather(store.back_up(), *writing)
        assert all(added)
        assert backup.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"overwritten by accident")
    async with Store.open(path) as store:
        assert backup.name in store.notices[0]
        assert 20 <= (await store.count_stored()).num_messages <= 40
        assert await store.add_message(said(99), kind="chat")
    names = {other.name for other in path.parent.iterdir() if ".damaged-" not in other.name}
    assert names == {path.name, "backups", f"{path.name}-lock", f"{path.name}-users"}


async def test_a_backup_that_can_not_be_written_leaves_nothing(store: Store, path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be written: file name too long"):
        store.backups.back_up(path.with_name("x" * 240))
    assert not list(path.parent.glob("**/*.partial"))


async def test_words_in_a_large_file_go_when_nobody_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_BYTES", 0)
    monkeypatch.setattr("bot.store.database.QUIET_S", 0.4)
    async with Store.open(path) as store:
        for number in range(50):
            await store.add_message(said(number, f"abracadabra {number} {'x' * 900}"), kind="chat")
        assert await store.forget_person(HERE.platform, "u1") == 50
        for _ in range(200):
            if not store._database._is_vacuum_due and b"abracadabra" not in bytes_on_disk(path):
                break
            await asyncio.sleep(0.05)
        assert b"abracadabra" not in bytes_on_disk(path)
        assert not store._database._is_vacuum_due


async def test_erased_words_are_not_forgotten_with_the_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_BYTES", 0)
    monkeypatch.setattr("bot.store.database._SMALL_BYTES", 0)
    async with Store.open(path) as store:
        for number in range(50):
            await store.add_message(said(number, f"abracadabra {number} {'x' * 900}"), kind="chat")
        assert await store.forget_person(HERE.platform, "u1") == 50
    monkeypatch.setattr("bot.store.database.QUIET_S", 0.4)
    async with Store.open(path) as store:
        assert store._database._is_vacuum_due
        async with asyncio.timeout(10):
            while store._database._is_vacuum_due or b"abracadabra" in bytes_on_disk(path):
                await asyncio.sleep(0.05)
    async with Store.open(path) as store:
        assert not store._database._is_vacuum_due


async def test_a_large_file_is_not_rewritten_while_another_program_has_it_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_BYTES", 0)
    monkeypatch.setattr("bot.store.database._SMALL_BYTES", 0)
    monkeypatch.setattr("bot.store.database.QUIET_S", 0.2)
    async with Store.open(path) as store:
        async with Store.open(path) as other:
            await other.add_message(said(0, f"abracadabra {'x' * 900}"), kind="chat")
            await other.forget_person(HERE.platform, "u1")
            await asyncio.sleep(1.0)
            assert other._database._is_vacuum_due
        async with asyncio.timeout(10):
            while not (store._database._vacuumed_at_s > 0 and not store._database._is_vacuum_due):
                await asyncio.sleep(0.05)
        assert b"abracadabra" not in bytes_on_disk(path)


async def test_where_no_quiet_minute_comes_erased_words_go_within_a_day(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_BYTES", 0)
    monkeypatch.setattr("bot.store.database.QUIET_S", 0.4)
    monkeypatch.setattr("bot.store.database.LONGEST_S", 1.0)
    async with Store.open(path) as store:
        await store.add_message(said(0, f"abracadabra {'x' * 900}"), kind="chat")
        await store.forget_person(HERE.platform, "u1")
        async with asyncio.timeout(20):
            for number in range(1, 100_000):
                await store.add_message(said(number), kind="chat")
                if not store._database._is_vacuum_due:
                    break
                await asyncio.sleep(0.01)
        assert b"abracadabra" not in bytes_on_disk(path)


async def test_who_writes_ends_the_rewriting_of_a_large_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_BYTES", 0)
    async with Store.open(path) as store:
        database = store._database

        async def many(transaction: Transaction) -> None:
            for number in range(30_000):
                await insert(transaction, f"{number}{'x' * 300}")
            transaction.mark_erased()

        await database.write(many)
        rewriting = asyncio.create_task(database._take_turn(database._tidy_alone(1e18)))
        while not database._is_vacuuming:
            await asyncio.sleep(0)
        await asyncio.sleep(0.002)
        await store.add_message(said(1), kind="chat")
        await rewriting
        assert [one.id for one in await store.load_history(HERE, limit=9)] == ["1"]
        # Interrupted, it is still to do; where this machine was faster, it is done.
        await database._take_turn(database._tidy_alone(1e18))
        assert not database._is_vacuum_due
        assert await count(database) == 30_000


async def test_damage_that_shows_while_the_bot_runs_is_told_to_the_operator_and_checked_by_the_next_start(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store.open(path) as store:
        for number in range(50):
            await store.add_message(said(number, "x" * 3000), kind="chat")
        await store._database.forget()
        num_bytes = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(random.Random(0).randbytes(num_bytes - 4096))
        with pytest.raises(Unavailable, match="is damaged") as told:
            await store.load_history(HERE, limit=50)
        assert str(path) not in str(told.value), "it is for everybody"
    assert f"The database {path} can't be read: it is damaged" in caplog.text
    assert path.with_name(f"{path.name}-suspect").exists()
    with pytest.raises(StoreError, match="is damaged"):
        async with Store.open(path):
            pass


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_what_a_transaction_needs_is_computed_while_others_write(path: Path, is_cancelled: bool) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def compute() -> dict[str, str]:
        has_begun.set()
        may_end.wait(10)
        return {"name": "whole"}

    async def write(transaction: Transaction) -> str:
        if "name" not in transaction.prepared:
            await insert(transaction, "half")
            raise Unprepared(compute)
        await insert(transaction, transaction.prepared["name"])
        return "done"

    async with Database.open(path) as database:
        writing = asyncio.create_task(database.write(write))
        await asyncio.to_thread(has_begun.wait, 10)
        await database.write(lambda transaction: insert(transaction, "other"))
        if is_cancelled:
            writing.cancel()
        may_end.set()
        (result,) = await asyncio.gather(writing, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError) if is_cancelled else result == "done"
        while await count(database) < 2:
            await asyncio.sleep(0.001)
        names = await database.read("SELECT name FROM settings ORDER BY name")
        assert [row["name"] for row in names] == ["other", "whole"]
