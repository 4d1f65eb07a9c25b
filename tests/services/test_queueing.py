"""What people see while their request waits: how many come first, and only while that is news."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path

import pytest

from bot.core.cards import Card, Text
from bot.core.results import Completion, Delta
from bot.services import queueing
from bot.services.queueing import Line, deltas_or_waiting
from tests.bots import HERE, ScriptedEngine, ScriptedGeneration, Talk, open_scripted_bot

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture(autouse=True)
def quick_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "_NEWS_S", 0.02)


def told(cards: list[Card]) -> list[str]:
    return [block.text for card in cards for block in card.blocks if isinstance(block, Text) and block.is_quiet]


class SlowGeneration(ScriptedGeneration):
    """Waits behind others, whose number falls when `waits` is set, and writes then."""

    def __init__(self, nums_ahead: list[int]) -> None:
        super().__init__("Good morning.")
        self.nums_ahead = nums_ahead
        self.num_ahead = nums_ahead[0]

    async def __aiter__(self) -> AsyncIterator[Delta]:
        for num in self.nums_ahead:
            self.num_ahead = num
            await asyncio.sleep(0.07)
        self.num_ahead = 0
        await asyncio.sleep(0.07)
        yield Delta(0, "Good ")
        self.num_ahead = 5
        await asyncio.sleep(0.07)
        yield Delta(0, "morning.")
        self.completions = (Completion(0, "Good morning.", (1,), -1.0, "length"),)


class SlowEngine(ScriptedEngine):
    def generate(self, *_: object, **__: object) -> ScriptedGeneration:
        return SlowGeneration([2, 2, 1])


@pytest.mark.parametrize("line", ["Hello", "!complete --n 1 The cat", "!prompt story a cat"])
async def test_each_change_is_told_once_and_nothing_after_the_first_words(tmp_path: Path, line: str) -> None:
    async with open_scripted_bot(SlowEngine(["x"]), tmp_path) as talk:
        cards = [card async for card in talk.snapshots(line)]
    assert told([card for card in cards if not card.is_final]) == ["2 ahead of you …", "1 ahead of you …"]
    assert told(cards[:2]) == ["2 ahead of you …", "1 ahead of you …"], "they come first"
    assert cards[-1].is_final
    assert cards[-1].error is None


async def test_an_answer_that_comes_at_once_waits_for_nothing(talk: Talk) -> None:
    cards = [card async for card in talk.snapshots("Hello")]
    assert told(cards) == []


async def test_turns_of_one_conversation_wait_for_each_other_and_say_so(tmp_path: Path) -> None:
    async with open_scripted_bot(SlowEngine(["x"]), tmp_path) as talk:

        async def ask(text: str) -> list[Card]:
            return [card async for card in talk.snapshots(text)]

        tasks = []
        for text in ("first", "second", "third"):
            tasks.append(asyncio.ensure_future(ask(text)))
            await asyncio.sleep(0.01)
        first, second, third = await asyncio.gather(*tasks)
    assert told(first)[0] == "2 ahead of you …", "of the model's queue"
    assert told(second)[0] == "1 ahead of you …"
    assert told(third)[:2] == ["2 ahead of you …", "1 ahead of you …"]
    assert all(cards[-1].is_final and cards[-1].error is None for cards in (first, second, third))


async def test_who_leaves_the_line_holds_up_nobody() -> None:
    line = Line()
    tickets = [line.join() for _ in range(4)]
    served = []

    async def wait(i: int) -> None:
        try:
            async with aclosing(line.wait(tickets[i])) as waits:
                async for _ in waits:
                    pass
            served.append(i)
        finally:
            line.leave(tickets[i])

    tasks = [asyncio.ensure_future(wait(i)) for i in (1, 2, 3)]
    await asyncio.sleep(0.05)
    tasks[0].cancel()
    await asyncio.sleep(0.05)
    assert served == []
    line.leave(tickets[0])
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [2, 3]


async def test_a_cancelled_wait_in_a_conversation_holds_up_nobody(tmp_path: Path) -> None:
    async with open_scripted_bot(SlowEngine(["x"]), tmp_path) as talk:
        tasks = [asyncio.ensure_future(talk.card(text)) for text in ("first", "second", "third")]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        tasks[1].cancel()
        assert (await tasks[2]).error is None
        assert (await talk.card("fourth")).error is None
        tasks.clear()
        gc.collect()
        assert HERE not in talk.services.chat._lines, "no line is kept where nobody waits"


async def test_leaving_early_ends_the_generation(tmp_path: Path) -> None:
    generation = SlowGeneration([3] * 50)
    async with generation, aclosing(deltas_or_waiting(generation)) as deltas:  # type: ignore[arg-type]
        async for delta in deltas:
            assert delta == 3
            break
    assert generation.is_cancelled
