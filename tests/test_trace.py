"""`--trace`: the steps of a request on standard error, in order, with times and without a word of what was said."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.bots import write_prompts
from tests.platforms.programs import Finished, Program

LINE = re.compile(r"trace (\w+) +([\d.]+) ms +\+([\d.]+) ms  ([a-z ]+?)(?:  [a-z_]+=[\d.e+]+)*$", re.MULTILINE)


def run(folder: Path, model: Path, *arguments: str) -> Finished:
    prompts = write_prompts(folder / "prompts")
    program = Program(folder, model, {"PROMPTS_DIR": str(prompts), "PRECISION": "float32"})
    return program.run("terminal", "--as", "Zebedee", *arguments, typed=b"Marmalade for everyone\n!next The cat\n")


def test_the_steps_of_each_request_are_shown_in_order_without_its_words(
    tmp_path: Path, roomy_model: Callable[[str], Path]
) -> None:
    finished = run(tmp_path, roomy_model("gpt2"), "--trace")
    assert finished.status == 0
    lines = LINE.findall(finished.err)
    assert len(lines) == finished.err.count("trace "), finished.err
    chat, command = dict.fromkeys(line[0] for line in lines)
    steps = {request: [line[3] for line in lines if line[0] == request] for request in (chat, command)}
    written = ["queued", "first token", "last token"]
    assert steps[chat][:3] == ["received", "accepted", "prompt built"]
    # An answer that says nothing is sampled again: those three come once for each time.
    assert steps[chat][3:-2] == written * ((len(steps[chat]) - 5) // 3)
    assert steps[chat][-2:] == ["rendered", "finished"]
    assert steps[command] == ["received", "accepted", "queued", "scored", "rendered", "finished"]
    times = [float(line[1]) for line in lines if line[0] == chat]
    assert times == sorted(times)
    assert times[0] == 0
    for word in ("Marmalade", "everyone", "cat", "Zebedee"):
        assert word not in finished.err


def test_without_it_nothing_is_shown(tmp_path: Path, roomy_model: Callable[[str], Path]) -> None:
    finished = run(tmp_path, roomy_model("gpt2"))
    assert finished.status == 0
    assert "trace" not in finished.err
