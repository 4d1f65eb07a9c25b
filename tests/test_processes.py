"""Tests in several processes: what each did is counted, and one that dies takes no other test with it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
RIGHT = """
import os
from pathlib import Path

import pytest

@pytest.fixture(scope="session")
def own(tmp_path_factory):
    Path("begun", str(os.getpid())).touch()
    yield tmp_path_factory.mktemp("own")
    Path("ended", str(os.getpid())).touch()

@pytest.mark.parametrize("number", range(3))
def test_right(own, tmp_path, capfd, number):
    os.system("echo heard")
    assert capfd.readouterr().out == "heard\\n"
    assert own.parent == tmp_path.parent
    (tmp_path / "file").touch()

@pytest.mark.skip(reason="not now")
def test_skipped(): pass
"""
WRONG = """
import os
import signal

import pytest

def test_wrong():
    print("said before")
    assert 1 == 2

def test_deadly(): os.kill(os.getpid(), signal.SIGKILL)

def test_after_it(): pass

@pytest.fixture
def broken():
    yield
    raise ValueError("the fixture")

def test_with_a_broken_fixture(broken): pass

@pytest.mark.timeout(1)
def test_endless(): signal.pause()
"""


def run(folder: Path, *arguments: str, num_processes: int = 3) -> tuple[int, str]:
    """Run the tests in `folder`; return the exit status and what was printed."""
    for name in ("begun", "ended"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.processes", f"--processes={num_processes}"]
    done = subprocess.run(
        [*command, f"--rootdir={folder}", f"--basetemp={folder / 'temporary'}", *arguments, "."],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_all_files_are_run_each_once_and_a_session_s_fixtures_end_in_each_process(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"test_{number}.py").write_text(RIGHT)
    status, said = run(tmp_path)
    assert status == 0, said
    assert "15 passed, 5 skipped" in said
    begun = {path.name for path in (tmp_path / "begun").iterdir()}
    assert 1 <= len(begun) <= 3
    assert begun == {path.name for path in (tmp_path / "ended").iterdir()}


def test_what_fails_is_told_as_in_one_process_and_a_process_that_dies_takes_no_test_with_it(tmp_path: Path) -> None:
    (tmp_path / "test_right.py").write_text(RIGHT)
    (tmp_path / "test_wrong.py").write_text(WRONG)
    status, said = run(tmp_path)
    assert status == 1
    assert "3 failed, 5 passed, 1 skipped, 1 error" in said
    assert "said before" in said
    assert "The process that ran this test ended with -9." in said
    assert len(re.findall("FAILED .*test_deadly", said)) == 1
    assert "Timeout" in said
    assert "ValueError: the fixture" in said
    status, said = run(tmp_path, "--last-failed", "-k", "not deadly", num_processes=1)
    assert "2 failed, 1 passed, 1 deselected, 1 error" in said


def test_the_first_failure_ends_all_where_that_was_asked_for(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"test_{number}.py").write_text("import time\ndef test_long(): time.sleep(1)\n")
    (tmp_path / "test_0.py").write_text("def test_wrong(): assert 0\n")
    status, said = run(tmp_path, "-x")
    assert status == 1
    assert re.search(r"1 failed(, [12] passed)? in", said), "what had not begun did not begin"


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_file_that_can_not_be_collected_is_told(tmp_path: Path, num_processes: int) -> None:
    (tmp_path / "test_right.py").write_text(RIGHT)
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name\n")
    status, said = run(tmp_path, num_processes=num_processes)
    assert status == 2
    assert "nothing_of_that_name" in said
