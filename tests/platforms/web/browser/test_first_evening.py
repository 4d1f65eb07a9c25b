"""A first evening on the page, of the program itself: everything is there after a reload and after kill -9."""

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.bots import write_prompts
from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.platforms.web.browser.test_workbench import publish, rows_of, run_tests, write
from tests.soak.program import Program, start_program
from tests.tiny_models import make_tiny_gpt2

REAL = os.environ.get("FEWSHOT_TEST_MODEL", "")
MODELS = [
    "tiny",
    pytest.param(
        "real",
        marks=[pytest.mark.real_model, pytest.mark.skipif(not REAL, reason="FEWSHOT_TEST_MODEL names no model")],
    ),
]

# Notes each length that an answer has while it is written.
_WATCH_GROWTH: Final = """() => {
  globalThis.grown = new Set();
  new MutationObserver(() => {
    for (const one of document.querySelectorAll(".message .model-text")) globalThis.grown.add(one.textContent.length);
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
}"""


def settings_of(folder: Path, model: str) -> dict[str, str]:
    """Return the settings of a program on a new database."""
    if model == "real":
        return {"MODEL": REAL, "DATABASE": str(folder / "fewshot.db"), "WEB_PORT": "0"}
    return {
        "MODEL": str(make_tiny_gpt2(folder / "model", context_length=512)),
        "PROMPTS_DIR": str(write_prompts(folder / "prompts")),
        "DATABASE": str(folder / "fewshot.db"),
        "WEB_PORT": "0",
    }


@asynccontextmanager
async def running(settings: dict[str, str]) -> AsyncIterator[tuple[Program, str]]:
    """Run `python -m bot web` while the block runs; yield it with the address that it prints."""
    program = await start_program("web", settings, "--no-open")
    try:
        await program.is_there()
        found = re.search(r"The page is at (\S+)", program.said)
        assert found is not None
        yield program, found[1]
    finally:
        await program.end(signal.SIGTERM)


@pytest.mark.parametrize("model", MODELS)
async def test_all_that_a_newcomer_does_is_there_after_a_reload_and_after_a_kill(
    tmp_path: Path, windows: Context, model: str
) -> None:
    settings = settings_of(tmp_path, model)
    async with running(settings) as (program, address):
        tab = await windows.open(address)
        await _chat(tab, model)
        text = await _write(tab)
        await _look(tab)
        await _publish(tab)
        await _use(tab, num_answers=1)
        await tab.reload()
        await _finds_all(tab, text)
        settings["WEB_PORT"] = str(urlsplit(address).port)
        await program.end(signal.SIGKILL)
    await eventually(lambda: _connection(tab), lambda state: state == "waiting")
    async with running(settings):
        # The page comes back by itself.
        await eventually(lambda: _connection(tab), lambda state: state == "open")
        await _finds_all(tab, text)
        await tab.reload()
        await _finds_all(tab, text)
        await _use(tab, num_answers=2)


async def _chat(tab: Tab, model: str) -> None:
    """Ask in a channel, and see the answer grow, unless a tiny model writes all of it before the page draws."""
    await tab.get_by_role("link", name="general").click()
    await tab.get_by_label("Message #general").wait_for()
    await tab.evaluate(_WATCH_GROWTH)
    await tab.says("@Fewshot Tell me about the sea.")
    await tab.get_by_role("button", name="Again").wait_for()
    num_lengths = await tab.evaluate("() => globalThis.grown.size")
    assert num_lengths > (1 if model == "real" else 0)


async def _write(tab: Tab) -> str:
    """Let the model go on, put another word in the place of one of its words, and return the text."""
    await tab.get_by_role("link", name="Write", exact=True).click()
    field = tab.get_by_label("Your text")
    await field.press_sequentially("Once upon a time there was a")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").first().wait_for()
    await tab.keyboard.press("1")
    taken = await eventually(field.input_value, lambda text: len(text) > len("Once upon a time there was a"))
    await eventually(tab.locator(".branch").count, lambda number: number == 2)
    await tab.get_by_role("button", name="Tint").click()
    await tab.locator(".tinted").first().wait_for()
    await field.evaluate("(field) => field.setSelectionRange(8, 8)")
    await tab.get_by_role("heading", name="Instead of “upon”").wait_for()
    await tab.locator(".instead-word").first().click()
    await eventually(tab.locator(".branch").count, lambda number: number >= 3)
    await eventually(tab.locator("#write-hint").inner_text, lambda hint: "Going on" not in hint)
    return str(await eventually(field.input_value, lambda text: text != taken and not text.startswith("Once upon")))


async def _look(tab: Tab) -> None:
    """Point at a word of a heat map."""
    await tab.get_by_role("link", name="Look").click()
    await tab.locator("#look-one").fill("Can it does what?")
    await tab.sees("perplexity", within="#look-result")
    await tab.locator(".look-tokens .word").nth(2).hover()
    await tab.sees("expected instead", within=".look-detail")


async def _publish(tab: Tab) -> None:
    """Write a template, test and publish it."""
    await tab.get_by_role("link", name="Workbench").click()
    await tab.get_by_label("Server", exact=True).select_option("Home")
    await write(tab, "mood")
    await run_tests(tab)
    await publish(tab, "a first version")
    await tab.sees("version 1", within=".bench-title")


async def _use(tab: Tab, *, num_answers: int) -> None:
    """Use the template in a channel."""
    await tab.get_by_role("link", name="general").click()
    await tab.get_by_label("Message #general").wait_for()
    await tab.says("!prompt mood what a day")
    await eventually(tab.locator(".message .bars").count, lambda number: number == num_answers, patience_s=60)


async def _finds_all(tab: Tab, text: str) -> None:
    """See all that was done."""
    await tab.get_by_role("link", name="Write", exact=True).click()
    await eventually(tab.get_by_label("Your text").input_value, lambda shown: shown == text)
    await eventually(tab.locator(".branch").count, lambda number: number >= 3)
    await tab.get_by_role("link", name="Workbench").click()
    await tab.locator(".bench-item").get_by_text("mood", exact=True).click()
    await tab.sees("version 1", within=".bench-title")
    assert await rows_of(tab, "Examples") == [["so fine", "good"], ["a loss", "bad"], ["yes", "good"]]
    await tab.get_by_role("link", name="general").click()
    await tab.sees("Tell me about the sea.", within=".message")
    await tab.locator(".message .bars").first().wait_for()
    await eventually(tab.locator(".is-pending, .is-growing").count, lambda number: number == 0)


async def _connection(tab: Tab) -> str:
    state: str = await tab.evaluate("() => document.body.dataset.connection")
    return state
