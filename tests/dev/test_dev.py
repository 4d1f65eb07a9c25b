"""`make dev` as a newcomer uses it: lines typed into a pipe, and what is printed for them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dev.typed import SlashLine, parse_slash
from tests.platforms.programs import PROJECT, share_compiled_step
from tests.servers.discord.options import INTEGER, STRING, SUBCOMMAND, NotOffered

TEXT: dict[str, Any] = {"name": "text", "type": STRING, "required": True}
COMMANDS: list[dict[str, Any]] = [
    {"name": "complete", "options": [TEXT, {"name": "n", "type": INTEGER}]},
    {"name": "fresh", "options": []},
    {"name": "settings", "options": [{"name": "name", "type": STRING}, {"name": "value", "type": STRING}]},
    {
        "name": "prompt",
        "options": [
            {"name": "run", "type": SUBCOMMAND, "options": [{"name": "name", "type": STRING, "required": True}, TEXT]}
        ],
    },
]


def test_a_message_a_slash_command_a_button_and_a_form_work_from_a_pipe(
    tmp_path: Path, roomy_model: Callable[[str], Path]
) -> None:
    typed = (
        "hello to nobody\n@bot Hello\n/next Once upon a\n!complete --max_new_tokens 5 The cat\n:1\n"
        ":as moderator\n/prompt-edit new mood\nGood or bad?\n\n$input ->\ngood, bad\n\n/nonsense\n"
    )
    share_compiled_step(tmp_path)
    finished = subprocess.run(
        [sys.executable, "-m", "tests.dev", "--trace", "--model", str(roomy_model("gpt2"))],
        input=typed,
        capture_output=True,
        text=True,
        timeout=200,
        cwd=PROJECT,
        env=os.environ | {"HOME": str(tmp_path), "NUM_THREADS": "1", "PRECISION": "float32"},
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    parts = finished.stdout.split("> ")
    answer_to = {part.splitlines()[0]: "\n".join(part.splitlines()[1:]) for part in parts[1:]}
    assert "Fewshot:" not in answer_to["hello to nobody"]
    assert "[:1 Again] [:2 Continue] [:3 Why]" in answer_to["@bot Hello"]
    assert "After “Once upon a”" in answer_to["/next Once upon a"]
    assert "[:1 1]" in answer_to["!complete --max_new_tokens 5 The cat"]
    assert "Undo]" in answer_to[":1"]
    assert "Form: Template mood" in answer_to["/prompt-edit new mood"]
    assert "Good or bad?" in answer_to["/prompt-edit new mood"]
    assert "only you see this" in answer_to["/prompt-edit new mood"]
    assert "There is no command /nonsense" in answer_to["/nonsense"]
    lines = re.findall(r"^bot: trace (\d+) .+ ms  ([a-z ]+?)(?:  .*)?$", finished.stdout, re.MULTILINE)
    answered = next(request for request, step in lines if step == "prompt built")
    steps = [step for request, step in lines if request == answered]
    assert steps[:3] == ["received", "accepted", "prompt built"]
    assert steps[-2:] == ["sent", "finished"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("complete Once upon a", SlashLine("complete", {"text": "Once upon a"})),
        ("complete text:Once upon a n:3", SlashLine("complete", {"text": "Once upon a", "n": 3})),
        ("complete n:3", SlashLine("complete", {"n": 3})),
        ("fresh", SlashLine("fresh", {})),
        ("settings history_length 10", SlashLine("settings", {"name": "history_length", "value": "10"})),
        ("prompt run sentiment I love it", SlashLine("prompt run", {"name": "sentiment", "text": "I love it"})),
        ("prompt run name:story text:a: b", SlashLine("prompt run", {"name": "story", "text": "a: b"})),
    ],
)
def test_words_and_named_options_of_a_slash_command_are_read(line: str, expected: SlashLine) -> None:
    assert parse_slash(line, COMMANDS) == expected


@pytest.mark.parametrize("line", ["nonsense", "prompt", "prompt walk", "complete n:many", "fresh me"])
def test_a_slash_command_that_is_wrong_gets_one_sentence(line: str) -> None:
    with pytest.raises(NotOffered, match=r".+\.$"):
        parse_slash(line, COMMANDS)
