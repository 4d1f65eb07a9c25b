"""How many people one machine serves: the engine in the bot's own program, in a server apart, and any other server.

Run: python -m benchmarks.scaling [--people 8 32 128 512] [--rounds 2] [--server NAME=MODEL@BASE]. All people ask at
once, each with a text of their own; the ways are measured in turn, so that they see the same machine. What is measured
is what a platform waits for: the engine's face, from a person's question to the first words and to the whole answer.
"""

import argparse
import asyncio
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from benchmarks.machine import describe_commit, machine_name
from benchmarks.rows import percentile
from benchmarks.workloads import Question, Workload
from bot.core.engine import Asker, Engine
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.engine.models.catalog import ModelChoice, resolve_model
from bot.errors import FewshotError
from bot.program.opening import choose_model, open_engine
from bot.settings import Settings

PEOPLE: Final = (8, 32, 128, 512)
_PATIENCE_S: Final = 1200.0
_START_S: Final = 180.0
_ARRIVE_WITHIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Served:
    """What a crowd got: how many were answered, and seconds to all answers, to the first words and to whole ones."""

    num_answered: int
    total_s: float
    first_s: tuple[float, ...]
    whole_s: tuple[float, ...]

    @property
    def answers_per_s(self) -> float:
        """Return how many were answered in a second."""
        return self.num_answered / self.total_s


Open = Callable[[], AbstractAsyncContextManager[Engine]]


async def serve(engine: Engine, questions: Sequence[Question]) -> Served:
    """Let each question's person ask when it arrives; a question that is refused counts as not answered."""
    started = time.perf_counter()

    async def ask(number: int, question: Question) -> tuple[float, float] | None:
        await asyncio.sleep(question.arrival_s)
        params = SamplingParams(max_new_tokens=question.max_new_tokens, seed=question.seed)
        asked, first = time.perf_counter(), None
        generation = engine.generate(
            Prompt.plain(question.text), params, asker=Asker(number, number), timeout_s=_PATIENCE_S
        )
        try:
            async with generation:
                async for delta in generation:
                    if delta.text and first is None:
                        first = time.perf_counter()
        except FewshotError as e:
            sys.stderr.write(f"not answered: {e}\n")
            return None
        ended = time.perf_counter()
        return (first or ended) - asked, ended - asked

    times = [one for one in await asyncio.gather(*map(ask, range(len(questions)), questions)) if one is not None]
    total_s = time.perf_counter() - started
    return Served(len(times), total_s, tuple(first for first, _ in times), tuple(whole for _, whole in times))


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[Settings]:
    """Run `python -m bot serve`; yield the settings of a front that uses it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MODEL": settings.model, "SERVE_PORT": str(port), "MAX_WAITING": "1024"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "serve"), env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _listens(port)
        yield replace(settings, model=f"openai:{_name_of(settings)}", model_api_base=f"http://127.0.0.1:{port}/v1")
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            writer.close()
            return


def _name_of(settings: Settings) -> str:
    return resolve_model(settings.model, settings.models_dir).name


@asynccontextmanager
async def _inside(settings: Settings) -> AsyncIterator[Engine]:
    async with open_engine(settings, choose_model(settings)) as engine:
        yield engine


@asynccontextmanager
async def _apart(settings: Settings) -> AsyncIterator[Engine]:
    async with _serving(settings) as front, _inside(front) as engine:
        yield engine


def ways_of(settings: Settings, servers: Sequence[str]) -> dict[str, Open]:
    """Return how to open each engine, by the name of its way; `servers` are written NAME=MODEL@BASE."""
    ways: dict[str, Open] = {"one process": lambda: _inside(settings), "serve apart": lambda: _apart(settings)}
    for written in servers:
        name, _, rest = written.partition("=")
        model, _, base = rest.partition("@")
        other = replace(settings, model=f"openai:{model}", model_api_base=base)
        ways[name] = lambda other=other: _inside(other)  # type: ignore[misc]
    return ways


async def measure(
    ways: Mapping[str, Open], choice: ModelChoice, people: Sequence[int], rounds: int
) -> dict[tuple[str, int], list[Served]]:
    """Return what each crowd got on each way, in each round."""
    workload = Workload(choice.folder, seed=1)
    found: dict[tuple[str, int], list[Served]] = {}
    for number in range(1, rounds + 1):
        for way, opening in ways.items():
            async with opening() as engine:
                await serve(engine, workload.conversations(4))  # what is done only once
                for num in people:
                    served = await serve(engine, workload.conversations(num, spread_s=_ARRIVE_WITHIN_S))
                    found.setdefault((way, num), []).append(served)
                    sys.stderr.write(
                        f"round {number}, {way}, {num} people: {served.answers_per_s:.2f} answers a second\n"
                    )
    return found


def format_table(found: Mapping[tuple[str, int], Sequence[Served]]) -> str:
    """Return the medians over the rounds as a table."""
    lines = [
        "| way | people at once | answered | answers a second | first words, p50 / p95 | whole answer, p50 / p95 |",
        "|---|---|---|---|---|---|",
    ]
    for (way, num), rounds in found.items():
        rate = statistics.median(one.answers_per_s for one in rounds)
        answered = min(one.num_answered for one in rounds)
        first, whole = (
            " / ".join(
                f"{statistics.median(percentile(pick(one), share) for one in rounds):.2f} s" for share in (50, 95)
            )
            for pick in (lambda one: one.first_s, lambda one: one.whole_s)
        )
        lines.append(f"| {way} | {num} | {answered} | {rate:.2f} | {first} | {whole} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status, 1 where somebody was not answered."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, nargs="+", default=list(PEOPLE), help="how many ask at once")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--way", action="append", help="only these ways; may be repeated")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=MODEL@BASE", help="another server")
    chosen = parser.parse_args(arguments)
    settings = replace(Settings.from_env(), max_waiting=max(chosen.people), model_max_running=max(chosen.people))
    choice = choose_model(settings)
    if not isinstance(choice, ModelChoice):
        parser.error("MODEL names a model of this machine; others are given with --server")
    ways = {name: way for name, way in ways_of(settings, chosen.server).items() if name in (chosen.way or [name])}
    found = asyncio.run(measure(ways, choice, chosen.people, chosen.rounds))
    facts = ", ".join(
        (f"{datetime.now(UTC):%Y-%m-%d}", machine_name(), f"{os.cpu_count()} cores", f"commit {describe_commit()}")
    )
    sys.stdout.write(f"{facts}, {choice.name}, {chosen.rounds} rounds\n\n{format_table(found)}")
    return int(any(one.num_answered < num for (_, num), rounds in found.items() for one in rounds))


if __name__ == "__main__":
    sys.exit(main())
