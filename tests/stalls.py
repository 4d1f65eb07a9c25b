"""How long the event loop stands: a loop that measures the time between two looks at its events."""

import asyncio
import gc
import json
import re
import selectors
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bot.core.chat_prompt import PromptTools
from bot.core.engine import Asker
from bot.core.prompt_parts import Prompt
from bot.core.results import EngineStats, Expected, SketchedScores, TokenScore, WordProbability
from bot.services.measuring import OnProgress
from tests.bots import Script, ScriptedEngine, ScriptedTools

T = TypeVar("T")

MAX_STALL_S: Final = 0.1
_YARDSTICK_S: Final = 0.010  # how long `_work` takes on a processor of 2021 that has little else to do
_WORDS: Final = "Once upon a time there was e\u0301 " * 400
_WORD: Final = re.compile(r"\w+|[^\w\s]")


@dataclass(slots=True)
class Stall:
    """The longest time, in seconds, that the loop was busy at a stretch: of its thread's processor, and by the clock.

    A busy machine makes only the second longer.
    """

    cpu_s: float = 0.0
    wall_s: float = 0.0


def too_long(stalls: Mapping[str, Stall]) -> dict[str, str]:
    """Return the stalls that are longer than `MAX_STALL_S`, by name; on a slower machine one may be as much longer."""
    longer = {name: stall.cpu_s for name, stall in stalls.items() if stall.cpu_s > MAX_STALL_S}
    if not longer:
        return {}
    allowed_s = MAX_STALL_S * max(1.0, min(_work() for _ in range(5)) / _YARDSTICK_S)
    return {name: f"{stall_s:.2f} of {allowed_s:.2f} s" for name, stall_s in longer.items() if stall_s > allowed_s}


def _work() -> float:
    """Return the processor's time, in seconds, that work of the kind that is measured here takes."""
    since = time.thread_time()
    for _ in range(3):
        sum(len(found[0]) for found in _WORD.finditer(_WORDS))
    rows = [[f"in {number}", "Good"] for number in range(6000)]
    json.dumps(rows)
    " ".join(row[0].strip() for row in rows).split()
    return time.thread_time() - since


class _Selector(selectors.DefaultSelector):
    def __init__(self, stall: Stall) -> None:
        super().__init__()
        self._stall = stall
        self._since = (time.thread_time(), time.perf_counter())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        cpu_s, wall_s = self._since
        self._stall.cpu_s = max(self._stall.cpu_s, time.thread_time() - cpu_s)
        self._stall.wall_s = max(self._stall.wall_s, time.perf_counter() - wall_s)
        found = super().select(timeout)
        self._since = (time.thread_time(), time.perf_counter())
        return found


class StallLoop:
    """Runs coroutines on one event loop, each with the stall that it caused."""

    def __init__(self) -> None:
        self._stall = Stall()
        self._runner = asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector(self._stall)))

    def __enter__(self) -> "StallLoop":
        # As the program does: imported objects are no garbage, and looking through them takes long.
        gc.freeze()
        self._runner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.__exit__(*error)
        gc.unfreeze()

    def run(self, work: Coroutine[Any, Any, T]) -> tuple[T, Stall]:
        """Run `work` to its end; return its result and the longest stall meanwhile."""
        self._stall.cpu_s = self._stall.wall_s = 0.0
        result = self._runner.run(work)
        return result, Stall(self._stall.cpu_s, self._stall.wall_s)


class QuickEngine(ScriptedEngine):
    """A model that reads a text of any length in no time: four characters are a token to it."""

    def __init__(self, scripts: Sequence[Script] = ("Hello there.",)) -> None:
        super().__init__(scripts, context_length=300_000)

    async def score(
        self, text: str, *, num_expected: int = 0, asker: Asker, on_progress: OnProgress | None = None
    ) -> tuple[TokenScore, ...]:
        expected = tuple(Expected(f" w{i}", -1.0 - i) for i in range(num_expected))

        def read() -> tuple[TokenScore, ...]:
            starts = range(0, len(text), 4)
            return tuple(TokenScore(1, text[i : i + 4], i, min(i + 4, len(text)), -9.0, expected) for i in starts)

        return await asyncio.to_thread(read)

    async def score_continuations(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker
    ) -> tuple[float, ...]:
        await asyncio.sleep(0.001)
        return tuple(-1.0 - i for i in range(len(continuations)))

    async def score_and_sketch(self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker) -> SketchedScores:
        await asyncio.sleep(0.001)
        sketch = tuple((len(prompt.text) * (i + 1) % 17) / 17 for i in range(128))
        return SketchedScores(tuple(-1.0 - i for i in range(len(continuations))), sketch)

    async def next_words(self, prompt: Prompt, *, num: int, asker: Asker) -> tuple[WordProbability, ...]:
        return tuple(WordProbability(f" w{i}", 0.05) for i in range(num))

    async def make_prompt(self, make: Callable[[PromptTools], T]) -> T:
        return await asyncio.to_thread(make, ScriptedTools())

    def stats(self) -> EngineStats:
        return EngineStats(0, 0, 0, 0, 0, 0, 0.0, None, None, None, None)
