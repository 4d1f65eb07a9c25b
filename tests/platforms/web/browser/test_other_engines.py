"""The page in Firefox and in WebKit: what can differ there is tried once; the rest of the tests run in Chromium."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.platforms.web.browser.browsing import eventually
from tests.platforms.web.browser.other_engines import FIREFOX, WEBKIT, Engine, open_firefox, open_webkit, program_of
from tests.platforms.web.conftest import ServePage

ANSWER = "The capital of France is Paris, and it has been for a long time."
ENGINES = [
    pytest.param(
        open_firefox, id="Firefox", marks=pytest.mark.skipif(program_of(FIREFOX) is None, reason="needs Firefox")
    ),
    pytest.param(
        open_webkit,
        id="WebKit",
        marks=pytest.mark.skipif(
            program_of(WEBKIT) is None or program_of(("Xvfb",)) is None,
            reason="needs WebKitWebDriver (Debian's webkit2gtk-driver) and Xvfb",
        ),
    ),
]
_WATCH = "window.threw = []; window.addEventListener('error', (event) => window.threw.push(event.message));"
_IS_TOO_WIDE = "return document.documentElement.scrollWidth > innerWidth + 1"


@pytest.mark.parametrize("opening", ENGINES)
async def test_a_chat_a_text_and_a_look_in_other_browsers(
    serve: ServePage, opening: Callable[[], AbstractAsyncContextManager[Engine]]
):
    async with serve([ANSWER], pause_s=0.01) as served, opening() as browser:
        await browser.goto(served.address)
        await browser.run(_WATCH)
        await _shows(browser, ".main .composer-text", "Fewshot", attribute="aria-label")
        await _type(browser, ".main .composer-text", "What is the capital of France?", "Enter")
        await _shows(browser, ".message .card", ANSWER)
        await _shows(browser, ".message .card button", "Again")

        await browser.run("location.hash = '#/write'")
        await _type(browser, ".write-text", "Once upon", "Tab")
        await _shows(browser, ".write-offer", "Paris")
        await browser.press("1")
        await eventually(
            lambda: browser.run("return document.querySelector('.write-text').value"),
            lambda text: text.startswith("Once upon") and "Paris" in text,
        )

        await browser.run("location.hash = '#/look'")
        await _shows(browser, "h1", "Look")
        for width in (1280, 360):
            await browser.resize(width, 800)
            for view in ("look", "write", "c"):
                await browser.run(f"location.hash = '#/{view}'")
                await eventually(lambda: browser.run(_IS_TOO_WIDE), lambda is_wide: not is_wide)
        # A reload shows what was said.
        await browser.goto(f"{served.origin}/#/c")
        await browser.run(_WATCH)
        await _shows(browser, ".message .card", ANSWER)
        assert await browser.run("return window.threw") == []


async def _type(browser: Engine, selector: str, text: str, *keys: str) -> None:
    """Go to a field, type a text and press keys."""
    field = json.dumps(selector)
    await eventually(lambda: browser.run(f"return document.querySelector({field}) !== null"), bool)
    await browser.run(f"document.querySelector({field}).focus()")
    await browser.press(*text)
    await browser.press(*keys)


async def _shows(browser: Engine, selector: str, words: str, *, attribute: str = "") -> None:
    """Wait until an element shows words."""
    read = f"one.getAttribute({json.dumps(attribute)})" if attribute else "one.textContent"
    script = f"return [...document.querySelectorAll({json.dumps(selector)})].map((one) => {read})"

    async def texts() -> Any:
        await asyncio.sleep(0.05)
        return await browser.run(script)

    await eventually(texts, lambda found: any(words in one for one in found))
