"""Backups on a schedule."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.services.backups import BackupPlan, Backups
from bot.store.file_lock import FileLock
from bot.store.store import Store
from tests.databases import lay_new_database
from tests.store.samples import said
from tests.store.test_backups import backup_at

# These look at small local files from inside async tests.


async def test_a_backup_is_made_when_one_is_due_and_not_before(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    backup_at(folder, 23.9)
    async with Store.open(lay_new_database(tmp_path / "fewshot.db")) as store:
        backups = Backups(store, BackupPlan(every_h=24, num_kept=2))
        await backups.look()
        assert len(store.backups.newest_first()) == 1
        oldest = backup_at(folder, 24.1)
        for one in store.backups.newest_first():
            if one.path != oldest:
                one.path.unlink()
        await backups.look()
        assert len(store.backups.newest_first()) == 2
        assert backups.newest_at is not None
        assert datetime.now(UTC) - backups.newest_at < timedelta(minutes=1)
        await backups.look()
        assert len(store.backups.newest_first()) == 2
        assert backups.problem == ""


async def test_a_backup_from_the_future_of_a_wrong_clock_does_not_count(tmp_path: Path) -> None:
    backup_at(tmp_path / "backups", -1000)
    async with Store.open(lay_new_database(tmp_path / "fewshot.db")) as store:
        await Backups(store, BackupPlan()).look()
        assert len(store.backups.newest_first()) == 2


async def test_without_a_schedule_none_is_made_but_old_copies_go(tmp_path: Path) -> None:
    old, recent = backup_at(tmp_path / "backups", 24 * 30), backup_at(tmp_path / "backups", 24 * 29)
    async with Store.open(lay_new_database(tmp_path / "fewshot.db")) as store:
        backups = Backups(store, BackupPlan(every_h=0, max_days=30))
        await backups.look()
        assert [one.path for one in store.backups.newest_first()] == [recent]
        assert not old.exists()
        assert not backups.is_planned


async def test_a_backup_that_fails_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "blocked"
    blocked.touch()  # as a disk that is not there
    too_old = backup_at(tmp_path, 24 * 40, kind="damaged")
    async with Store.open(lay_new_database(tmp_path / "fewshot.db"), blocked) as store:
        backups = Backups(store, BackupPlan(), look_s=0.01)
        running = asyncio.create_task(backups.run())
        async with asyncio.timeout(10):
            while not backups.problem or too_old.exists():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert [record.getMessage() for record in caplog.records if record.name == "bot.services.backups"] == [
                "No backup can be made now; the bot tries again."
                f" The folder for backups {blocked} can't be written: not a directory."
            ]
            blocked.unlink()
            while backups.problem:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        assert len(store.backups.newest_first()) == 1
    assert "Backups can be made again." in caplog.text


async def test_the_backup_of_another_program_of_the_same_database_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store.open(lay_new_database(tmp_path / "fewshot.db")) as store:
        await store.add_message(said(1), kind="chat")
        (tmp_path / "backups").mkdir()
        other = FileLock(tmp_path / "backups" / "fewshot.db-backup-lock")
        other.acquire_blocking(0)
        backups = Backups(store, BackupPlan())
        with caplog.at_level(logging.WARNING):
            await backups.look()
        other.close()
        assert backups.problem == ""
        assert caplog.text == ""
