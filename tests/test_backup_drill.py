"""Backups as an operator makes and restores them: `python -m bot backup`, `restore` and `check`, while a bot runs."""

import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.errors import SetupError
from bot.program.backups import limit_backups
from bot.settings import Settings
from tests.platforms.programs import Program


@pytest.fixture
def program(tmp_path: Path, roomy_model: Callable[[str], Path]) -> Program:
    return Program(tmp_path, roomy_model("gpt2"), {"BACKUP_EVERY_H": "0"})


def texts_in(database: Path) -> set[str]:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return {text for (text,) in connection.execute("SELECT text FROM messages")}


def test_what_was_answered_before_a_backup_is_there_after_a_kill_and_a_restore(program: Program) -> None:
    # Its input ends with a killed program, which is no error here.
    with suppress(BrokenPipeError), program.start("terminal", "--json") as bot:
        assert bot.stdin is not None
        assert bot.stdout is not None
        stdin = bot.stdin

        def ask() -> None:
            try:
                for number in range(100_000):
                    stdin.write(f"hello {number}\n".encode())
                    stdin.flush()
            except OSError:
                pass

        asking = threading.Thread(target=ask)
        asking.start()
        answered = [f"hello {number}" for number in range(20) if bot.stdout.readline()]
        backup = program.run("backup")
        os.kill(bot.pid, signal.SIGKILL)
        bot.stdout.read()
        asking.join()
    assert backup.status == 0, backup.err
    file = Path(backup.out.strip())
    assert file.parent == program.home / "backups"

    program.database.write_bytes(b"nothing of it is left")
    assert program.run("check").status == 1
    restored = program.run("restore", str(file))
    assert restored.status == 0, restored.err
    assert restored.err.startswith(f"{file.name} is restored. What was said, changed or erased after that backup")
    assert "The database before is kept beside it for 30 days, as fewshot.db.replaced-" in restored.err
    assert set(answered) <= texts_in(program.database)
    checked = program.run("check")
    assert (checked.status, checked.out.count("\n")) == (0, 4), checked.out
    assert program.ask("hello again")[0]["text"]


def test_a_running_bot_is_not_restored_over(program: Program) -> None:
    assert program.ask("hello")
    file = program.run("backup").out.strip()
    with program.start("terminal", "--json") as bot:
        assert bot.stdin is not None
        assert bot.stdout is not None
        bot.stdin.write(b"hello\n")
        bot.stdin.flush()
        assert bot.stdout.readline()
        refused = program.run("restore", file)
        bot.stdin.close()
        bot.wait(60)
    assert refused.status == 2
    assert refused.err == (
        f"A program is using the database {program.database}; stop the bot, then restore the backup.\n"
    )


def test_without_a_database_there_is_nothing_to_back_up_and_nothing_to_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "none.db"
    monkeypatch.setenv("DATABASE", str(database))
    assert main(["backup"]) == 2
    assert capsys.readouterr().err == f"There is no database {database}, so there is nothing to back up.\n"
    assert main(["check"]) == 1
    assert capsys.readouterr().out == f"There is no database {database}.\n"
    assert main(["restore", str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err == f"There is no database {tmp_path / 'missing'}. Nothing was restored.\n"
    assert not database.exists()


def test_backups_are_not_kept_longer_than_people_were_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert limit_backups(Settings(backup_every_h=24, backups_kept=30)).backups_kept == 30
    assert limit_backups(Settings(backup_every_h=0, backups_kept=1000)).backups_kept == 1000
    assert capsys.readouterr().err == ""
    assert limit_backups(Settings(backup_every_h=25, backups_kept=30)).backups_kept == 28
    assert capsys.readouterr().err == (
        "BACKUPS_KEPT=30 would keep what people erased for longer than RETENTION_DAYS=30 allows, so the bot keeps 28"
        " backups.\n"
    )
    with pytest.raises(SetupError, match=r"BACKUP_EVERY_H=25 keeps a backup for longer than RETENTION_DAYS=1 allows"):
        limit_backups(Settings(backup_every_h=25, retention_days=1))
