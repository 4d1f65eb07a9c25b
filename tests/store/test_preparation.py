import asyncio
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store.preparation import _needs_check, prepare
from bot.store.store import Store
from tests.store.samples import HERE, said

# These check files from inside async tests; they are small and local.
# ruff: noqa: ASYNC240


async def fill(path: Path, num_messages: int) -> None:
    async with Store.open(path) as store:
        for number in range(num_messages):
            await store.add_message(said(number, "x" * 3000), kind="chat")


def back_up(path: Path, name: str, *, modified_s: int) -> Path:
    backup = path.with_name(f"{path.name}.backup-{name}")
    shutil.copyfile(path, backup)
    os.utime(backup, (modified_s, modified_s))
    return backup


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def overwrite_header(path: Path) -> None:
    with path.open("rb+") as file:
        file.write(b"not a database, " * 8)


def overwrite_schema(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(100)
        file.write(os.urandom(3000))


DAMAGES = [cut_in_half, empty, overwrite_header, overwrite_schema]


async def test_a_new_database_and_its_folder_are_for_their_owner_alone(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        path = tmp_path / "new" / "fewshot.db"
        async with Store.open(path) as store:
            await store.add_message(said(1), kind="chat")
            modes = {other.name: stat.S_IMODE(other.stat().st_mode) for other in path.parent.iterdir()}
            assert set(modes.values()) == {0o600}
            assert set(modes) == {f"fewshot.db{suffix}" for suffix in ("", "-wal", "-shm", "-lock", "-users")}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(old_mask)


async def test_home_and_links_are_followed_to_the_real_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    real = tmp_path / "büro #1?x=%41" / "fewshot.db"
    await fill(real, 1)
    (tmp_path / "link.db").symlink_to(real)
    async with Store.open(Path("~/link.db")) as store:
        assert store.path == real.resolve()
        assert len(await store.load_history(HERE, limit=9)) == 1
        assert sorted(other.name for other in tmp_path.iterdir()) == ["büro #1?x=%41", "link.db"]


def a_folder(tmp_path: Path) -> Path:
    return tmp_path


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "fewshot.db"


def a_pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def where_nobody_may_write(_: Path) -> Path:
    return Path("/proc/fewshot/fewshot.db")


def a_link_to_itself(tmp_path: Path) -> Path:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return tmp_path / "loop"


def a_nul(tmp_path: Path) -> Path:
    return tmp_path / "a\0b"


def a_long_name(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 300)


def a_text_file(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("words, many words\n" * 100)
    return tmp_path / "notes.txt"


def another_programs_database(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    return tmp_path / "other.db"


def a_log_without_its_database(tmp_path: Path) -> Path:
    (tmp_path / "gone.db-wal").write_bytes(b"x" * 4096)
    return tmp_path / "gone.db"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (a_folder, "is a folder; set DATABASE to a file"),
        (below_a_file, "can't be created: not a directory"),
        (a_pipe, "is not a regular file"),
        (where_nobody_may_write, "can't be created"),
        (a_link_to_itself, "can't be created"),
        (a_nul, "can't be created"),
        (a_long_name, "can't be created: file name too long"),
        (a_text_file, "file is not a database"),
        (another_programs_database, "is the database of another program"),
        (a_log_without_its_database, "is missing, but its log gone.db-wal exists"),
    ],
)
def test_a_place_that_can_hold_no_database_is_one_sentence(
    tmp_path: Path, make: Callable[[Path], Path], problem: str
) -> None:
    path = make(tmp_path)
    before = {other: other.stat().st_size for other in tmp_path.iterdir() if other.is_file()}
    with pytest.raises(StoreError, match=problem) as caught:
        prepare(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert {other: other.stat().st_size for other in before} == before


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder that another user may reach; the test then runs as that user where it is run by root."""
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700)
    shutil.rmtree(folder)


def prepare_as_nobody(path: Path) -> str:
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(StoreError) as caught:
            prepare(path)
    finally:
        if is_root:
            os.seteuid(0)
    return str(caught.value)


def test_a_folder_that_may_not_be_written_is_one_sentence(nobodys_folder: Path) -> None:
    nobodys_folder.chmod(0o555)
    path = nobodys_folder / "fewshot.db"
    assert prepare_as_nobody(path) == f"The database's folder {nobodys_folder} can't be written: permission denied."
    path = nobodys_folder / "sub" / "fewshot.db"
    assert prepare_as_nobody(path) == f"The database {path} can't be created: permission denied."


async def test_a_database_that_may_not_be_read_or_written_is_one_sentence(nobodys_folder: Path) -> None:
    path = nobodys_folder / "fewshot.db"
    await fill(path, 1)
    nobodys_folder.chmod(0o777)
    path.with_name("fewshot.db-lock").chmod(0o666)
    for mode in (0o000, 0o444):
        path.chmod(mode)
        assert prepare_as_nobody(path).startswith(f"The database {path} can't be opened: this user needs permission")


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_database_without_a_backup_is_left_alone(path: Path, damage: Callable[[Path], None]) -> None:
    await fill(path, 60)
    damage(path)
    path.with_name("fewshot.db-wal").write_bytes(b"w" * 100)
    before = {other.name: other.read_bytes() for other in path.parent.iterdir()}
    for _ in range(2):
        with pytest.raises(StoreError, match=r"is damaged .* no good backup fewshot.db.backup-\*"):
            prepare(path)
    assert {name: path.with_name(name).read_bytes() for name in before if name != "fewshot.db-wal"} == {
        name: content for name, content in before.items() if name != "fewshot.db-wal"
    }


@pytest.mark.parametrize("damage", DAMAGES)
async def test_the_newest_good_backup_takes_a_damaged_databases_place(
    path: Path, damage: Callable[[Path], None]
) -> None:
    await fill(path, 60)
    back_up(path, "old", modified_s=1000)
    await fill(path, 61)
    newest_good = back_up(path, "newer", modified_s=2000)
    back_up(path, "newer-wal", modified_s=5000).write_bytes(b"no backup but a log")
    cut_in_half(back_up(path, "bad", modified_s=3000))
    another = back_up(path, "not-ours", modified_s=4000)
    another.unlink()
    with closing(sqlite3.connect(another)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    damage(path)
    damaged = path.read_bytes()
    async with Store.open(path) as store:
        assert (await store.count_stored()).num_messages == 61
        (notice,) = store.notices
        (aside,) = (other for other in path.parent.iterdir() if ".damaged-" in other.name)
        assert (
            notice
            == f"The database {path} was damaged. It was renamed to {aside.name}, and {newest_good.name} was restored."
        )
        assert aside.read_bytes() == damaged
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert newest_good.exists()
    async with Store.open(path) as store:
        assert store.notices == ()


async def test_a_sound_database_has_nothing_to_say(path: Path) -> None:
    async with Store.open(path) as store:
        assert store.notices == ()


async def test_a_database_locked_by_another_program_is_one_sentence(path: Path) -> None:
    await fill(path, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="can't be opened: another program is using it"):
            prepare(path, timeout_s=0.1)


def overwrite_the_middle(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(4096 * 8))


async def test_a_large_file_that_was_closed_well_is_looked_through_after_the_start(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bot.store.preparation._CHECKED_BYTES", 0)
    await fill(path, 200)
    back_up(path, "1", modified_s=1)
    overwrite_the_middle(path)
    async with Store.open(path) as store:
        assert store.notices == ()
        for _ in range(200):
            if "is damaged" in caplog.text:
                break
            await asyncio.sleep(0.02)
        assert "Restart the bot: it then restores a backup." in caplog.text
    async with Store.open(path) as store:
        assert "was restored" in store.notices[0]
        assert (await store.count_stored()).num_messages == 200
    async with Store.open(path) as store:
        assert store.notices == ()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_coarse_damage_of_a_large_file_is_found_at_the_start(
    path: Path, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.preparation._CHECKED_BYTES", 0)
    await fill(path, 200)
    back_up(path, "1", modified_s=1)
    damage(path)
    async with Store.open(path) as store:
        assert "was restored" in store.notices[0]


def test_a_file_whose_program_did_not_end_well_is_looked_through_at_the_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.preparation._CHECKED_BYTES", 0)
    asyncio.run(fill(path, 3))
    assert not _needs_check(path)
    path.with_name(f"{path.name}-wal").write_bytes(b"x")
    assert _needs_check(path)
