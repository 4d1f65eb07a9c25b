"""Backups: made while others write, without erased words, named by their time, and deleted when they are old."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.errors import Busy, Unavailable
from bot.store.backups import BackupFolder
from bot.store.file_lock import FileLock
from bot.store.store import Store
from tests.store.samples import ANN, HERE, said

# These look at small local files from inside async tests.

CANARY = "xylophonecanary"
WRITE_UNTIL_ENDED = """
import asyncio, sys
from pathlib import Path
from bot.store.store import Store
from tests.store.samples import said

async def main(path):
    async with Store.open(Path(path)) as store:
        for number in range(10_000_000):
            await store.add_message(said(number, "x" * 500), kind="chat")
            print(number, store.longest_turn_s, flush=True)

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def store(file_store: Store) -> Store:
    """Return the store in a file."""
    return file_store


def backup_at(folder: Path, hours_ago: float, *, kind: str = "backup", name: str = "fewshot.db") -> Path:
    """Write a file that is named as a copy of that time; return it."""
    made_at = datetime.now(UTC) - timedelta(hours=hours_ago)
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.{kind}-{made_at:%Y%m%dT%H%M%S.%fZ}"
    path.touch()
    return path


async def test_a_backup_is_one_file_for_its_owner_alone_named_by_the_time(store: Store, path: Path) -> None:
    await store.add_message(said(1), kind="chat")
    before = datetime.now(UTC)
    backup = await store.back_up()
    assert backup.parent == path.parent / "backups"
    assert backup.stat().st_mode & 0o777 == 0o600
    assert backup.parent.stat().st_mode & 0o777 == 0o700
    assert [one.path for one in store.backups.newest_first()] == [backup]
    assert before <= store.backups.newest_first()[0].made_at <= datetime.now(UTC)
    assert {other.name for other in backup.parent.iterdir()} == {backup.name, "fewshot.db-backup-lock"}
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (1,)


async def test_forgotten_words_are_in_no_new_backup(store: Store) -> None:
    for number in range(40):
        await store.add_message(said(number, f"{CANARY} {number} {'x' * 900}"), kind="chat")
    earlier = await store.back_up()
    assert CANARY.encode() in earlier.read_bytes()
    assert await store.forget_person(HERE.platform, ANN.id) == 40
    assert CANARY.encode() not in (await store.back_up()).read_bytes()


async def test_forgotten_words_that_are_still_in_the_file_are_in_no_backup(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_BYTES", 0)  # a large file, which waits for a quiet minute
    async with Store.open(path) as store:
        for number in range(300):
            await store.add_message(said(number, f"{CANARY} {number} {'x' * (number * 7 % 900)}"), kind="chat")
        await store.forget_person(HERE.platform, ANN.id)
        assert store._database._is_vacuum_due
        assert CANARY.encode() not in (await store.back_up()).read_bytes()


async def test_whoever_writes_does_not_wait_for_a_backup(path: Path) -> None:
    await _fill(path, num=2000)
    async with Store.open(path) as store:
        has_begun, may_go = threading.Event(), threading.Event()

        def hold(_: int, __: int) -> None:
            has_begun.set()
            assert may_go.wait(30)

        # Half way, a copy stands still until somebody has written and read.
        copying = asyncio.create_task(asyncio.to_thread(store.backups.back_up, tell=hold))
        await asyncio.to_thread(has_begun.wait)
        assert await store.add_message(said(1, "meanwhile"), kind="chat")
        assert await store.forget_person("terminal", "nobody") == 0
        assert (await store.count_stored()).num_messages == 2001
        may_go.set()
        backup = await copying
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (2000,)


def test_another_process_backs_up_while_the_bot_writes(tmp_path: Path) -> None:
    longest: list[float] = []
    for number in range(3):
        longest.append(_back_up_beside_a_writer(tmp_path / str(number) / "fewshot.db"))
        if longest[-1] < 0.25:
            break
    assert min(longest) < 0.25, "a disk may be slow for a moment, but not each time"


def _back_up_beside_a_writer(path: Path) -> float:
    """Back up three times while another process writes; return its longest turn in seconds."""
    asyncio.run(_fill(path, num=3000))
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_ENDED, str(path)], stdout=subprocess.PIPE, text=True
    ) as bot:
        assert bot.stdout is not None
        first = bot.stdout.readline().split()
        backups = [BackupFolder.of(path, path.parent / "copies").back_up() for _ in range(3)]
        for _ in range(20):
            last = bot.stdout.readline().split()
        bot.terminate()
        bot.stdout.read()
    counts = []
    for backup in backups:
        with closing(sqlite3.connect(backup)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            counts.append(connection.execute("SELECT count(*) FROM messages").fetchone()[0])
    assert 3000 + int(first[0]) < counts[0] < counts[1] < counts[2]
    return float(last[1])


async def _fill(path: Path, *, num: int) -> None:
    async with Store.open(path) as store:
        for number in range(num):
            await store.add_message(said(10_000_000 + number, "x" * 4000), kind="chat")


def test_a_backup_of_a_database_that_nobody_uses_leaves_nothing_beside_it(path: Path) -> None:
    asyncio.run(_fill(path, num=1))
    names = {other.name for other in path.parent.iterdir()}
    backup = BackupFolder.of(path, None).back_up(path.parent / "copy")
    assert {other.name for other in path.parent.iterdir()} - names == {backup.name}


def test_a_file_that_exists_is_not_overwritten(path: Path) -> None:
    asyncio.run(_fill(path, num=1))
    target = path.parent / "mine"
    target.write_text("precious")
    with pytest.raises(Unavailable, match=r"The backup .*mine can't be written: file exists\."):
        BackupFolder.of(path, None).back_up(target)
    assert target.read_text() == "precious"
    assert not list(path.parent.glob("*partial*"))


def test_into_a_named_folder_goes_a_file_named_by_the_time(path: Path, tmp_path: Path) -> None:
    asyncio.run(_fill(path, num=1))
    backup = BackupFolder.of(path, None).back_up(tmp_path)
    assert backup.parent == tmp_path
    assert backup.name.startswith("fewshot.db.backup-2")


def test_one_that_is_stopped_leaves_nothing(path: Path) -> None:
    asyncio.run(_fill(path, num=2000))
    stopped, told = threading.Event(), list[tuple[int, int]]()

    def stop(num_done: int, num_bytes: int) -> None:
        told.append((num_done, num_bytes))
        stopped.set()

    folder = BackupFolder.of(path, None)
    with pytest.raises(Unavailable, match="was stopped before its end"):
        folder.back_up(tell=stop, stopped=stopped)
    assert 0 <= told[0][0] < told[0][1]
    assert folder.newest_first() == []
    assert not list(folder.folder.glob("*partial*"))


async def test_a_bot_that_ends_does_not_wait_for_its_backup(path: Path) -> None:
    await _fill(path, num=5000)
    async with Store.open(path) as store:
        backing_up = asyncio.create_task(store.back_up())
        while not list(path.parent.glob("backups/*partial")):
            await asyncio.sleep(0)
        started = time.monotonic()
        backing_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await backing_up
        assert time.monotonic() - started < 1.0
        assert store.backups.newest_first() == []


def test_a_damaged_database_gives_no_backup(path: Path) -> None:
    asyncio.run(_fill(path, num=60))
    with path.open("rb+") as file:
        file.seek(8 * 4096)
        file.write(os.urandom(20 * 4096))
    folder = BackupFolder.of(path, None)
    with pytest.raises(Unavailable, match="can't be read: it is damaged"):
        folder.back_up()
    assert folder.newest_first() == []


def test_the_database_of_another_program_is_not_backed_up(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.db"
    with closing(sqlite3.connect(theirs)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    folder = BackupFolder.of(theirs, None)
    with pytest.raises(Unavailable, match=r"theirs\.db is not a database of Fewshot, so it was not backed up\."):
        folder.back_up()
    assert folder.newest_first() == []


def test_two_programs_don_t_write_into_the_folder_at_once_and_what_a_killed_one_left_is_removed(path: Path) -> None:
    asyncio.run(_fill(path, num=1))
    folder = BackupFolder.of(path, None)
    folder.back_up()
    left = folder.folder / "fewshot.db.backup-20200101T000000.000000Z.12345678.partial"
    left.touch()
    other = FileLock(folder.folder / "fewshot.db-backup-lock")
    other.acquire_blocking(0)
    with pytest.raises(Busy, match="Another program is writing a backup"):
        folder.back_up()
    assert left.exists()
    other.close()
    folder.back_up()
    assert not left.exists()


def test_a_folder_that_can_t_be_made_is_one_sentence(path: Path) -> None:
    asyncio.run(_fill(path, num=1))
    blocked = path.parent / "file"
    blocked.touch()
    with pytest.raises(Unavailable, match=r"The folder for backups .* can't be written: not a directory\."):
        BackupFolder.of(path, blocked / "backups").back_up()


def test_only_the_newest_backups_are_kept_and_none_that_is_too_old(tmp_path: Path) -> None:
    database, where = tmp_path / "fewshot.db", tmp_path / "backups"
    kept = [backup_at(where, hours) for hours in (0, 24)]
    old = [backup_at(where, hours) for hours in (48, 72)]
    somebody_s = [where / "fewshot.db.backup-before-the-upgrade", where / "other.db.backup-20200101T000000.000000Z"]
    for one in somebody_s:
        one.touch()
    folder = BackupFolder.of(database, None)
    removed = folder.remove_old(num_kept=2, max_age=timedelta(days=30), now=datetime.now(UTC))
    assert sorted(removed) == sorted(old)
    assert all(one.exists() for one in (*kept, *somebody_s))
    assert not any(one.exists() for one in old)
    assert folder.remove_old(num_kept=9, max_age=timedelta(hours=12), now=datetime.now(UTC)) == [kept[1]]


def test_files_that_a_backup_replaced_go_after_the_same_time(tmp_path: Path) -> None:
    database = tmp_path / "fewshot.db"
    recent = [backup_at(tmp_path, 1, kind=kind) for kind in ("replaced", "damaged", "backup")]
    old = [backup_at(tmp_path, 100, kind=kind) for kind in ("replaced", "damaged", "backup")]
    log = old[1].with_name(f"{old[1].name}-wal")
    log.touch()
    half_restored = tmp_path / "fewshot.db.restoring"
    half_restored.touch()
    folder = BackupFolder.of(database, None)
    removed = folder.remove_old(num_kept=1, max_age=timedelta(hours=99), now=datetime.now(UTC))
    assert sorted(removed) == sorted([*old, half_restored])
    assert not half_restored.exists()
    assert not log.exists()
    assert all(one.exists() for one in recent)
