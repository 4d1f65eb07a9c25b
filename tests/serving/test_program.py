"""`python -m bot serve` as an operator starts and ends it."""

import signal
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from bot.__main__ import main
from tests.platforms.programs import Program


def test_the_program_serves_without_a_database_until_it_is_told_to_end(
    tmp_path: Path, roomy_model: Callable[[str], Path]
) -> None:
    program = Program(tmp_path, roomy_model("gpt2"), {"SERVE_PORT": "0", "API_KEY": "s3cret"})
    with program.start("serve", "--trace") as process:
        assert process.stderr is not None
        told = b""
        while b"is served at " not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        base = told.decode().rpartition("is served at ")[2].strip()
        with openai.OpenAI(base_url=base, api_key="s3cret", max_retries=0) as client:
            (model,) = client.models.list()
            answer = client.completions.create(model=model.id, prompt="xylophone", max_tokens=3, temperature=0)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    told += rest
    assert b"last token" in told
    assert b"s3cret" not in told
    assert b"xylophone" not in told
    assert not program.database.exists()


def test_other_machines_are_not_let_in_without_a_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVE_HOST", "0.0.0.0")
    assert main(["serve"]) == 2
    assert capsys.readouterr().err.startswith("SERVE_HOST=0.0.0.0 lets other machines in, so the server needs a key")
