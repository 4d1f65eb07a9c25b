"""Whatever a window sends, it gets one sentence and keeps nobody waiting: wrong types, huge numbers, long names."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from bot.core.cards import BROKEN
from bot.platforms.web.page import Page
from bot.platforms.web.session import Session
from bot.platforms.web.traits import WEB
from bot.platforms.web.windows import Window
from bot.services.hosted_messages import Clock, HostedMessages
from bot.services.hosted_places import Places
from bot.services.ledger import Delivery
from tests.bots import MOOD, PROMPTS, Talk, open_scripted_bot
from tests.stalls import QuickEngine, Stall, StallLoop, too_long

Json = dict[str, Any]

_NUM_CHARACTERS: Final = 600_000  # of a frame that is just taken
LONG: Final = {
    "marks": "e\u0301" * (_NUM_CHARACTERS // 2),
    "words": "--a " * (_NUM_CHARACTERS // 4),
    "digits": "1" * _NUM_CHARACTERS,
    "halves of characters": "\ud800" * (_NUM_CHARACTERS // 2),
    "line breaks": "+++\n" * (_NUM_CHARACTERS // 4),
    "invisible": "\u200b" * _NUM_CHARACTERS,
}
ROWS: Final = {"examples": 800, "tests": 300}
NEIGHBOURS: Final = "[neighbours]\nin_prompt = 4\nnearest = 8\nweight = 0.5\n"
ODD: Final = {
    "nothing": None,
    "a list": [[1]],
    "an object": {"a": [1]},
    "no number": float("nan"),
    "infinity": float("inf"),
    "a huge number": 10**400,
    "a fraction": 0.5,
    "less than nothing": -1,
    "yes": True,
    "an empty text": "",
    "a digit of no number": "²",
    "many digits": "9" * 100,
    "hidden": "\u202e\u200b\x00<script>",
}


class Frame(dict[str, Any]):
    """A frame that knows which of its fields were read."""

    def __init__(self, fields: Json) -> None:
        super().__init__(fields)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field."""
        self.read.add(name)
        return super().get(name, default)


class OneWindow:
    """A window's session without a socket; `ask` returns the last answer and how long the loop stood."""

    def __init__(self, loop: StallLoop, page: Page) -> None:
        self._loop = loop
        self._window = Window(page.places.first_person)
        page.windows.add(self._window)
        self.session = Session(
            page.bot, page.stage, page.intake, page.interactions, page.workbenches, page.writings, self._window
        )
        self._numbers = count(1)
        self.answers: list[Json] = []
        self._window.put = self._put  # type: ignore[method-assign]

    def _put(self, frame: Json) -> None:
        # A browser reads neither NaN nor Infinity.
        json.dumps(frame, allow_nan=False)
        self.answers.append(frame)

    def ask(self, op: str, fields: Json) -> tuple[Json, Stall, set[str]]:
        frame = Frame({**fields, "op": op, "n": next(self._numbers)})
        self.answers.clear()
        _, stall = self._loop.run(self.session._carry_out(frame))
        (answer,) = [one for one in self.answers if one.get("n") == frame["n"]]
        return answer, stall, frame.read - {"op", "n"}


@pytest.fixture
def window(tmp_path: Path) -> Iterator[OneWindow]:
    with StallLoop() as loop:
        stack = AsyncExitStack()

        async def open_it() -> Page:
            prompts = {**PROMPTS, "mood": MOOD}
            talk: Talk = await stack.enter_async_context(
                open_scripted_bot(QuickEngine(), tmp_path, prompts=prompts, traits=WEB)
            )
            messages = HostedMessages(talk.store, WEB.key)
            clock = Clock(await messages.start_of_clock())
            places = Places(talk.store, WEB.key, clock, first_name="Ada")
            page = Page(talk.bot, Delivery(talk.store, WEB), messages, places, clock)
            await page.open()
            stack.push_async_callback(page.close)
            return page

        page, _ = loop.run(open_it())
        yield OneWindow(loop, page)
        loop.run(stack.aclose())


def test_every_field_of_every_frame_is_checked_and_none_keeps_the_loop_waiting(window: OneWindow) -> None:
    hello, _, _ = window.ask("hello", {})
    server = hello["servers"][1]
    channel = server["channels"][0]["id"]
    writing = window.ask("add_writing", {"text": "Once upon a time"})[0]["writing"]
    said = window.ask("say", {"channel": channel, "text": "hello", "nonce": "one"})[0]["id"]
    good = {
        **{"channel": channel, "server": server["id"], "message": said, "name": "mood", "id": writing["id"]},
        **{"text": "a", "at": writing["at"], "revision": writing["revision"], "number": 1, "format": "csv"},
        **{"command": "prompt", "option": "name", "probability": 0.5, "whole": "a b", "word": " b", "line": "next a"},
    }
    session = window.session
    state = window.ask("workbench_open", good)[0]["template"]["state"]
    good |= {"state": state, "base": state, "nonce": "two", "form": "none", "version": "1", "table": "tests"}
    broken: list[str] = []
    stalls: dict[str, Stall] = {}
    for op in (*session._ordered, *session._at_once):
        if op in ("remove_server", "remove_channel", "remove_writing"):
            continue
        _, _, fields = window.ask(op, good)
        for field in sorted(fields):
            for what, value in {**ODD, **LONG}.items():
                answer, stall, _ = window.ask(op, {**good, field: value})
                if answer.get("sentence") == BROKEN:
                    broken.append(f"{op}, {field}: {what}")
                stalls[f"{op}, {field}: {what}"] = stall
    assert not broken
    assert not too_long(stalls)


def test_no_state_of_a_template_breaks_the_workbench_or_keeps_the_loop_waiting(window: OneWindow) -> None:
    channel = window.ask("hello", {})[0]["servers"][1]["channels"][0]["id"]
    good = {"channel": channel, "name": "mood", "input": "a"}
    state = window.ask("workbench_open", good)[0]["template"]["state"]
    rows = [["in", "Good"]]
    many = {
        "too many rows": [[f"in {i}", "Good"] for i in range(20_000)],
        "many rows": [[f"in {i}", "Good"] for i in range(1_900)],
        "many rows upside down": [[f"in {i}", "Good"] for i in reversed(range(1_900))],
        "a long text": "a " * 100_000,
        "marks in a text": "e\u0301" * 100_000,
        "a long row": [["a " * _NUM_CHARACTERS, "Good"]],
        "a long output": [["a", "b\n" * (_NUM_CHARACTERS // 2)]],
        "empty rows": [["", ""]] * 100_000,
        "half a row": [["a"]],
        "many labels": [f"label {i}" for i in range(50_000)],
        "the same labels": ["Good"] * 50_000,
        "a long label": ["Good" * 100_000],
    }
    broken: list[str] = []
    stalls: dict[str, Stall] = {}
    for op in ("workbench_save", "workbench_preview", "workbench_try", "workbench_open", "workbench_list"):
        for field in (*state, "rows of both"):
            for what, value in {**ODD, **LONG, **many}.items():
                changed = {"examples": value, "tests": rows} if field == "rows of both" else {field: value}
                sent = {**good, "state": {**state, **changed}, "base": state, "revision": "old"}
                answer, stall, _ = window.ask(op, sent)
                if answer.get("sentence") == BROKEN:
                    broken.append(f"{op}, {field}: {what}")
                stalls[f"{op}, {field}: {what}"] = stall
    assert not broken
    assert not too_long(stalls)


def test_a_template_with_a_thousand_examples_outside_its_prompt_keeps_nobody_waiting(window: OneWindow) -> None:
    channel = window.ask("hello", {})[0]["servers"][1]["channels"][0]["id"]
    good = {"channel": channel, "name": "mood", "input": "a"}
    opened = window.ask("workbench_open", good)[0]["template"]
    labels, base = opened["state"]["labels"], opened["state"]
    tables = {name: [[f"{name} {i}", labels[i % 2]] for i in range(num)] for name, num in ROWS.items()}
    state = {**base, **tables}
    saved = window.ask("workbench_save", {**good, "state": state, "base": base, "revision": opened["revision"]})[0]
    assert saved["problem"] == ""
    source = window.ask("workbench_open", good)[0]["template"]["source"]
    with_kept = source.replace("[[examples]]", f"{NEIGHBOURS}\n[[examples]]", 1)
    stalls = {}
    for op, fields in (
        ("workbench_import", {"text": with_kept}),
        ("workbench_test", {}),
        ("workbench_test", {}),
        ("workbench_open", {}),
        ("workbench_preview", {"state": state}),
        ("workbench_try", {"state": state}),
    ):
        answer, stalls[op], _ = window.ask(op, {**good, **fields})
        assert answer["op"] == "ok", (op, answer)
    assert not too_long(stalls)
