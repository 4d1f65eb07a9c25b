"""`--trace`: the steps of a request on standard error, in order, with times and without a word of what was said."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.trace import logger as trace_logger
from tests.bots import open_tiny_bot, write_prompts
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


def steps_of(caplog: pytest.LogCaptureFixture) -> dict[str, list[str]]:
    """Return the steps by request, in order, and forget them."""
    steps: dict[str, list[str]] = {}
    for record in caplog.records:
        if record.name == trace_logger.name:
            steps.setdefault(record.request, []).append(record.step)  # type: ignore[attr-defined]
    caplog.clear()
    return steps


async def test_the_steps_of_a_click_are_its_own(
    tiny_gpt2: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = ["accepted", "queued", "first token", "last token"]
    async with open_tiny_bot(tiny_gpt2, tmp_path) as talk:
        card = await talk.card("!complete --n 2 --max_new_tokens 4 --seed 1 --top_k 0 Once", has_buttons=True)
        caplog.set_level(logging.DEBUG, trace_logger.name)
        for action in ("longer", "more", "1", "again"):
            card = await talk.click(card, action)
            ((request, steps),) = steps_of(caplog).items()
            assert request not in talk.message_ids
            assert steps == written, action
        story = await talk.card("!prompt story a cat", has_buttons=True)
        caplog.clear()
        await talk.click(story, "again")
        ((request, steps),) = steps_of(caplog).items()
        assert request not in talk.message_ids
        assert steps == written


async def test_waiting_counts_the_requests_that_are_ahead(
    tiny_gpt2: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_tiny_bot(tiny_gpt2, tmp_path) as talk:
        caplog.set_level(logging.DEBUG, trace_logger.name)
        await talk.ask("!complete --n 1 --max_new_tokens 4 Once")
        await talk.ask("!perplexity Once")
        waiting = [record.figures["waiting"] for record in caplog.records if getattr(record, "step", "") == "queued"]
        assert waiting == [0, 0]
