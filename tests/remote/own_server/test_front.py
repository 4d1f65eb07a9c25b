"""The whole bot with its engine in another process: what people see is what they see with the model in the program."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ModelError
from bot.program.opening import open_engine
from bot.remote.own_server.served_engine import ServedEngine
from bot.settings import Settings
from tests.bots import MOOD, PROMPTS, Talk, open_tiny_bot, write_prompts
from tests.platforms.discord.evenings import an_evening
from tests.platforms.programs import Program
from tests.remote.own_server.program import ServerProgram, running_server
from tests.servers.discord import visible_text

LINES = (
    "Hello there",
    "!complete --seed 4 --n 2 The cat sat",
    "!why",
    "!perplexity The cat sat on the mat and looked.",
    "!next Once upon a",
    "!prompt run sentiment I love this so much",
    "!prompt test mood",
    "!story on Once upon a time",
    "there was a dog",
    "!story off",
    "!context",
)
# A story draws a seed for each of its turns.
UNSEEDED = LINES[-4:-1]
# What differs between two runs of anything.
CHANGING = frozenset({"timings_ms", "duration_ms", "id", "message_id", "seconds"})
TIME = re.compile(r"[\d.,]+ (ms|s|tokens/s)\b")


def without_times(value: Any) -> Any:
    """Return the data of an answer without what differs from run to run."""
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in CHANGING}
    if isinstance(value, str):
        return TIME.sub("some time", value)
    return [without_times(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def model(roomy_model: Callable[[str], Path]) -> Path:
    return roomy_model("llama")


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProgram]:
    """Return a server of the tiny model in a process of its own, for all tests of this file."""
    with asyncio.Runner() as runner:
        running = running_server(tmp_path_factory.mktemp("server"), model)
        yield runner.run(running.__aenter__())
        runner.run(running.__aexit__(None, None, None))


async def test_the_terminal_answers_the_same(model: Path, server: ServerProgram, tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path / "prompts", {**PROMPTS, "mood": MOOD})

    def ask(name: str, environment: dict[str, str]) -> list[dict[str, Any]]:
        home = tmp_path / name
        home.mkdir()
        return Program(home, model, {"PROMPTS_DIR": str(prompts), "DEVICE": "cpu", **environment}).ask(*LINES)

    with ThreadPoolExecutor(2) as pool:
        apart: Future[Any] = pool.submit(ask, "apart", server.environment)
        here = await asyncio.to_thread(ask, "here", {})
    answers = list(zip(LINES, here, apart.result(), strict=True))
    assert not any("error" in own for _, own, _ in answers), answers
    for line, own, other in answers:
        if line in UNSEEDED:
            assert other.keys() == own.keys(), line
        else:
            assert without_times(other) == without_times(own), line


@pytest.fixture
def open_apart(server: ServerProgram, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Talk]]:
    return lambda: open_tiny_bot(server.choice, tmp_path)


@pytest.fixture
async def apart(open_apart: Callable[[], AbstractAsyncContextManager[Talk]]) -> AsyncIterator[Talk]:
    async with open_apart() as talk:
        yield talk


async def test_a_chat_message_takes_a_few_trips(apart: Talk) -> None:
    engine = apart.services.engine
    assert isinstance(engine, ServedEngine)
    numbers = []
    for number in range(6):
        before = engine.num_calls
        await apart.ask(f"This is message {number}")
        numbers.append(engine.num_calls - before)
    # The prompt in markup, the lines that are new, the prompt that fits, and the answer; more only to write it again.
    assert min(numbers) <= 4, numbers


async def test_what_is_typed_is_continued_the_same(apart: Talk, model: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    async with open_tiny_bot(model, here) as local:
        for text in ("The cat sat on the", "Once upon a ti"):
            there = await apart.suggest(text, num=2, max_new_tokens=8, seed=3)
            assert there == await local.suggest(text, num=2, max_new_tokens=8, seed=3)
            assert there


async def test_people_on_discord_are_answered_and_may_click(
    open_apart: Callable[[], AbstractAsyncContextManager[Talk]],
) -> None:
    async with an_evening(open_apart) as evening, evening.run():
        answer = await evening.discord.reply(evening.ada.says(evening.general, "Hello there", mention_bot=True))
        assert visible_text(answer)
        assert await (await evening.ada.clicks(answer, "Why")).finished() is not None
        ran = await (await evening.bob.slash(evening.general, "next", text="Once upon a")).finished()
        assert ran is not None


async def test_a_wrong_name_is_one_sentence_with_the_right_one(server: ServerProgram, tmp_path: Path) -> None:

    wrong = replace(server.choice, name="openai:gpt-9")
    with pytest.raises(ModelError, match=f"has the model {server.name}, not gpt-9. Set MODEL=openai:{server.name}"):
        async with open_engine(Settings(), wrong):
            raise AssertionError("it was opened")
