"""A full disk under the terminal: the cause and the path once, no traceback, and the bot goes on where it can."""

import json
import resource
import tempfile
from pathlib import Path

import pytest

from bot.core.cards import Form, FormField
from bot.errors import RequestError
from bot.platforms.terminal.editor import fill_in
from tests import tiny_models
from tests.platforms.programs import Program

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make_tiny_gpt2(tmp_path_factory.mktemp("model"), context_length=512)


def run(program: Program, *arguments: str, typed: bytes = b"", **full: int) -> tuple[int, str]:
    """Run the program with `full` streams on the full disk; return its status, and the other stream."""
    with FULL.open("wb") as disk, program.start(*arguments, **dict.fromkeys(full, disk)) as process:
        out, err = process.communicate(typed, timeout=240)
    return process.returncode, (out or err or b"").decode()


@pytest.mark.parametrize("arguments", [("terminal", "-p", "!prompt list"), ("model", "list")], ids=" ".join)
def test_answers_that_can_not_be_written_end_the_program_with_one_sentence(
    tmp_path: Path, model: Path, arguments: tuple[str, ...]
) -> None:
    status, told = run(Program(tmp_path, model), *arguments, stdout=1)
    assert status == 1
    assert told.splitlines()[-1] == "The output can't be written: no space left on device."
    assert "Traceback" not in told
    assert "Exception ignored" not in told


def test_a_log_that_can_not_be_written_ends_nothing(tmp_path: Path, model: Path) -> None:
    program = Program(tmp_path, model, {"NUM_THREADS": "1000"})
    status, answers = run(program, "terminal", "--json", typed=b"Hello\n!prompt list\n", stderr=1)
    assert status == 0
    assert len(answers.splitlines()) == 2


async def test_a_text_that_can_not_be_written_for_the_editor_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    form = Form("1", "Edit", (FormField("file", "x.prompt", "file", value="text"),))
    with pytest.raises(RequestError) as caught:
        await fill_in(form, "true")
    assert str(caught.value) == (
        f"The text for the editor can't be written to {tmp_path / 'gone'}: no such file or directory."
    )


def limit_files() -> None:
    """Let no file of this process grow beyond 1 MB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_database_that_can_not_grow_refuses_in_one_sentence_and_logs_it_once(tmp_path: Path, model: Path) -> None:
    program = Program(tmp_path, model)
    lines = [*("!next " + "x" * 100_000 for _ in range(20)), "!help", "!prompt list"]
    with program.start("terminal", "--json", preexec_fn=limit_files) as process:
        out, err = process.communicate("".join(f"{line}\n" for line in lines).encode(), timeout=240)
    told, answers = err.decode(), [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0, told
    assert "Traceback" not in told
    assert told.count(f"The database {program.database} can't be written: the disk is full or failing.") == 1
    assert len(told.splitlines()) < 8
    assert len(answers) == len(lines)
    assert answers[19]["error"] == "The bot's disk is full or failing, so nothing new can be stored; try again later."
    assert not any("error" in answer for answer in answers[20:])
