"""Restoring a backup, and looking through a database for damage."""

import asyncio
import errno
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store.backups import BackupFolder
from bot.store.checking import check_database
from bot.store.preparation import connect
from bot.store.restoring import restore_backup
from bot.store.schema import APPLICATION_ID, migrate, read_migrations
from bot.store.store import Store
from tests.store.samples import HERE, said

# These look at small local files from inside async tests.
# ruff: noqa: ASYNC240

NEWEST = len(read_migrations())


async def fill(path: Path, first: int, last: int) -> None:
    async with Store.open(path) as store:
        for number in range(first, last):
            await store.add_message(said(number), kind="chat")


async def ids_in(path: Path) -> list[str]:
    async with Store.open(path) as store:
        return [message.id for message in await store.load_history(HERE, limit=999)]


def sentences_about(path: Path) -> list[tuple[str, bool]]:
    return [(finding.sentence, finding.is_good) for finding in check_database(path)]


@pytest.fixture
def backup(path: Path) -> Path:
    """Return a backup with the messages 0 to 4 of a database that has 8."""
    asyncio.run(fill(path, 0, 5))
    made = BackupFolder.of(path, None).back_up()
    asyncio.run(fill(path, 5, 8))
    return made


def test_a_backup_takes_the_place_of_the_database_which_is_kept_beside_it(path: Path, backup: Path) -> None:
    told = list[tuple[int, int]]()
    restored = restore_backup(backup, path, tell=lambda *figures: told.append(figures))
    assert told[-1][0] == told[-1][1] > 0
    assert asyncio.run(ids_in(path)) == [str(number) for number in range(5)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert restored.replaced is not None
    assert restored.replaced.name.startswith("fewshot.db.replaced-2")
    assert asyncio.run(ids_in(restored.replaced)) == [str(number) for number in range(8)]
    assert backup.exists()
    assert not list(path.parent.glob("*restoring*"))


def test_a_database_that_is_gone_is_restored_too(path: Path, backup: Path) -> None:
    path.unlink()
    assert restore_backup(backup, path).replaced is None
    assert asyncio.run(ids_in(path)) == [str(number) for number in range(5)]


def test_what_a_killed_bot_left_in_the_log_goes_along_with_the_replaced_file(path: Path, backup: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE messages SET text = 'in the log' WHERE message_id = '7'")
        connection.commit()
        kept = {other: other.read_bytes() for other in path.parent.glob("fewshot.db-[ws]*")}
    for other, data in kept.items():  # as after a kill: nobody emptied the log
        other.write_bytes(data)
    replaced = restore_backup(backup, path).replaced
    assert asyncio.run(ids_in(path)) == [str(number) for number in range(5)]
    assert replaced is not None
    with closing(sqlite3.connect(replaced)) as connection:
        assert connection.execute("SELECT text FROM messages WHERE message_id = '7'").fetchone() == ("in the log",)


async def test_nothing_is_restored_while_a_program_uses_the_database(path: Path, tmp_path: Path) -> None:
    async with Store.open(path) as store:
        await store.add_message(said(1), kind="chat")
        backup = await store.back_up()
        before = path.read_bytes()
        with pytest.raises(StoreError, match=r"A program is using the database .*; stop the bot, then restore"):
            await asyncio.to_thread(restore_backup, backup, path)
        assert path.read_bytes() == before
        assert await store.add_message(said(2), kind="chat")
    assert await asyncio.to_thread(restore_backup, backup, path)


def cut(backup: Path) -> None:
    os.truncate(backup, backup.stat().st_size // 2 // 4096 * 4096)


def make_newer(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")


def make_another(backup: Path) -> None:
    backup.unlink()
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def make_no_database(backup: Path) -> None:
    backup.write_text("not a database, " * 1000)


def remove(backup: Path) -> None:
    backup.unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (cut, r"is damaged|can't be read: it is damaged"),
        (
            make_newer,
            rf"schema {NEWEST + 1} is newer than this version of Fewshot, which knows {NEWEST}; update Fewshot",
        ),
        (make_another, "is not a database of Fewshot"),
        (make_no_database, "can't be read: it is damaged"),
        (remove, "There is no database"),
    ],
)
def test_a_backup_that_is_no_good_changes_nothing(path: Path, backup: Path, spoil: object, sentence: str) -> None:
    assert callable(spoil)
    spoil(backup)
    names = {other.name for other in path.parent.iterdir()} | {f"{path.name}-users"}
    with pytest.raises(StoreError, match=sentence) as error:
        restore_backup(backup, path)
    assert str(error.value).endswith("Nothing was restored.")
    assert {other.name for other in path.parent.iterdir()} == names
    assert asyncio.run(ids_in(path)) == [str(number) for number in range(8)]


def test_the_database_is_not_restored_from_itself(path: Path, backup: Path) -> None:
    with pytest.raises(StoreError, match="is the database itself"):
        restore_backup(path, path)


def test_an_older_backup_is_brought_to_the_newest_schema_and_stays_as_it_is(path: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    with closing(connect(tmp_path / "old", "rwc", 1)) as connection:
        migrate(connection, read_migrations()[:3], path=old)
    before = old.read_bytes()
    restored = restore_backup(old, path)
    assert (restored.old_version, restored.version) == (3, NEWEST)
    assert asyncio.run(ids_in(path)) == []
    assert old.read_bytes() == before


def test_a_full_disk_restores_nothing(path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bot.store.restoring.sync_file", refuse)
    with pytest.raises(StoreError, match=r"can't be restored: no space left on device\."):
        restore_backup(backup, path)
    assert asyncio.run(ids_in(path)) == [str(number) for number in range(8)]
    assert not list(path.parent.glob("*restoring*"))


def test_a_sound_database_has_four_good_findings(path: Path, backup: Path) -> None:
    for file in (path, backup):
        findings = sentences_about(file)
        assert all(is_good for _, is_good in findings)
        opened, *others = [sentence for sentence, _ in findings]
        assert re.fullmatch(rf"{re.escape(str(file))} can be opened \([\d.]+ MiB\)\.", opened)
        assert others == [
            "The file is not damaged.",
            f"Its schema is {NEWEST}, the newest.",
            "Nothing refers to something that is not stored.",
        ]
    assert not list(path.parent.glob("**/*-wal"))


def test_each_fault_is_one_sentence(path: Path, backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("UPDATE messages SET conversation_id = 99 WHERE message_id = '3'")
        connection.execute(f"PRAGMA user_version = {NEWEST - 1}")
        connection.commit()
    assert sentences_about(backup)[2:] == [
        (f"Its schema is {NEWEST - 1}; the next start of the bot updates it to {NEWEST}.", True),
        ("1 row refers to something that is not stored, in: messages.", False),
    ]
    assert sentences_about(path.parent / "none") == [(f"There is no database {path.parent / 'none'}.", False)]
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID + 1}")
    assert sentences_about(backup) == [(f"{backup} is not a database of Fewshot.", False)]


async def test_a_database_is_looked_through_while_the_bot_writes(path: Path) -> None:
    async with Store.open(path) as store:
        for number in range(5):
            await store.add_message(said(number), kind="chat")
        findings = await asyncio.to_thread(lambda: list(check_database(path)))
        assert all(finding.is_good for finding in findings)
        assert await store.add_message(said(9), kind="chat")
