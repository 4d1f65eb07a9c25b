"""What a start of the program imports: torch takes seconds, and its compiler some more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.engine.networks.native.building import NativeUnavailable, load_library
from bot.program.arguments import build_parser
from tests.platforms.programs import Program


def imports_of(program: Program, *arguments: str) -> set[str]:
    finished = program.run(*arguments)
    assert finished.status == 0, finished.err
    return {line.rpartition("|")[2].strip() for line in finished.err.splitlines() if line.startswith("import time:")}


@pytest.fixture
def program(tmp_path: Path, roomy_model: Callable[[str], Path]) -> Program:
    return Program(tmp_path, roomy_model("gpt2"), {"PYTHONPROFILEIMPORTTIME": "1"}, is_preloaded=False)


@pytest.mark.parametrize("arguments", [["--version"], ["model", "list"], ["discord", "--help"]])
def test_what_needs_no_model_imports_no_torch(program: Program, arguments: list[str]) -> None:
    imported = imports_of(program, *arguments)
    assert "argparse" in imported
    assert not {"torch", "transformers"} & imported


def test_an_answer_of_the_native_step_imports_no_compiler_of_torch(program: Program) -> None:
    try:
        load_library()
    except NativeUnavailable as e:
        pytest.skip(str(e))
    imported = imports_of(program, "terminal", "-p", "!next Hello")
    assert {"torch", "transformers"} <= imported
    assert not {"torch._dynamo", "sympy"} & imported


@pytest.mark.parametrize("arguments", [["hello"], ["-p", "What", "is", "this?"]])
def test_a_question_without_quotation_marks_is_told_how_to_be_asked(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["terminal", *arguments])
    assert ended.value.code == 2
    assert "to ask one question, write it in quotation marks after -p" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["terminal", "discord", "slack", "model"])
def test_every_command_tells_the_version(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--version"])
    assert (ended.value.code, capsys.readouterr().out[:8]) == (0, "Fewshot ")
