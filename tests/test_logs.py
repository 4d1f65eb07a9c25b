"""The log in JSON: one object a line, with what programs that collect logs need, and nothing that people said."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from bot.program.logs import JsonFormatter
from tests.platforms.programs import Program


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("bot.somewhere", logging.WARNING, __file__, 1, message, arguments, None)
    made.__dict__.update(fields)
    return made


def test_a_record_is_one_line_with_one_object() -> None:
    line = JsonFormatter().format(record("%s\nwas %d", "a line", 2, command="chat", duration_ms=1.5, secret="no"))
    assert "\n" not in line
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "level": "WARNING",
        "logger": "bot.somewhere",
        "message": "a line\nwas 2",
        "command": "chat",
        "duration_ms": 1.5,
    }


def test_an_error_is_in_the_same_line() -> None:
    failed = record("it failed")
    try:
        raise ValueError("half way")
    except ValueError:
        failed.exc_info = sys.exc_info()
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: half way")


def test_everything_that_the_program_says_beside_its_answers_is_json(
    tmp_path: Path, roomy_model: Callable[[str], Path]
) -> None:
    program = Program(tmp_path, roomy_model("gpt2"), {"LOG_FORMAT": "json", "LOG_LEVEL": "INFO"})
    finished = program.run("terminal", "--trace", typed=b"hello xylophone\n!nonsense\n!next Can it\n")
    assert finished.status == 0
    lines = [json.loads(line) for line in finished.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert any(line["message"].startswith("Model: ") for line in lines)
    assert {"queued", "last token"} <= {line.get("step") for line in lines}
    assert "xylophone" not in finished.err
