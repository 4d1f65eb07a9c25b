"""`python -m bot web` in Chromium: somebody asks, writes and looks, and every view becomes pictures."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from PIL import Image

from tests.platforms.web.browser.browsing import Browser, Context, Tab, eventually

_SIZES: Final = ((1280, 800), (360, 720))
_SCHEMES: Final = ("light", "dark")
_ASKED: Final = (
    "@Fewshot what is the capital of France?",
    "/perplexity The cat sat on the moon and ate a small red bicycle.",
    "/complete --seed 3 --n 3 Once upon a time",
    "/compare Can it do that? | Can it does what?",
)
_EXAMPLES: Final = (
    ("My parcel never arrived", "complaint"),
    ("When do you open on Sunday?", "question"),
    ("The lamp broke after a day", "complaint"),
    ("Can I pay by card?", "question"),
)
_TESTS: Final = (
    ("The soup was cold again", "complaint"),
    ("Is there a train after nine?", "question"),
    ("Nobody answered my letter", "complaint"),
)
_SEED: Final = "3"
_TEXT: Final = "The old man walked down to the sea and"


async def take_pages(environment: Mapping[str, str], folder: Path) -> None:
    """Write pictures of every view, wide and narrow, light and dark, into `folder`, which exists."""
    browser = Browser()
    try:
        async with _running_page(environment) as address:
            async with browser.context() as windows:
                place = await _talk(windows, address)
                await _write_template(await windows.open(f"{address}#/workbench"))
            for width, height in _SIZES:
                for scheme in _SCHEMES:
                    viewport = {"width": width, "height": height}
                    async with browser.context(viewport=viewport, colorScheme=scheme) as windows:
                        tab = await windows.open(f"{address}#{place}")
                        await _take_views(tab, folder, f"{width}-{scheme}")
    finally:
        browser.close()


async def _talk(windows: Context, address: str) -> str:
    """Ask, and return where that is in the page."""
    tab = await windows.open(address)
    await tab.get_by_role("link", name="general").click()
    await tab.get_by_label("Message #general").wait_for()
    for at, asked in enumerate(_ASKED, 1):
        await tab.says(asked)
        await eventually(tab.locator(".main .badge").count, lambda count, at=at: count == at, patience_s=60)
        await eventually(tab.locator(".is-growing").count, lambda count: count == 0, patience_s=60)
    return urlsplit(await tab.url()).fragment


async def _write_template(tab: Tab) -> None:
    """Write a template, and test it."""
    await tab.get_by_role("button", name="New template").click()
    await tab.get_by_role("textbox", name="Name").fill("inbox")
    await tab.keyboard.press("Enter")
    await tab.get_by_label("What it is for").fill("Is a letter a question or a complaint?")
    await tab.get_by_label("What it does").select_option("classify")
    await tab.get_by_label("Labels").fill("question\ncomplaint")
    await tab.get_by_label("What the model reads first").fill("Letters from customers, sorted.")
    await tab.get_by_label("How it is asked about a text").fill("Letter: $input\nSort:")
    for button, what, rows in (("Add an example", "example", _EXAMPLES), ("Add a test", "test", _TESTS)):
        for number, (text, label) in enumerate(rows, 1):
            await tab.get_by_role("button", name=button).click()
            await tab.get_by_label(f"Input of {what} {number}").fill(text)
            await tab.get_by_label(f"Right answer of {what} {number}").select_option(label)
    await tab.sees("Run the tests.", within=".bench-next")
    await tab.get_by_role("tab", name="Test").click()
    await tab.get_by_role("button", name="Run the tests").click()
    await tab.sees(f"of {len(_TESTS)} right", within=".bench-verdict")


async def _take_views(tab: Tab, folder: Path, name: str) -> None:
    await tab.get_by_label("Message #general").wait_for()
    await tab.locator(".message .columns").wait_for()
    if not name.startswith("360"):
        await tab.locator(".panel .verbatim").wait_for()
    await _take(tab, folder / f"channel-{name}.png")
    await _write(tab)
    await _take(tab, folder / f"write-{name}.png")
    await tab.evaluate("() => { location.hash = '#/look'; }")
    await tab.get_by_role("textbox").first().fill("The cat sat on the moon and ate a small red bicycle.")
    await tab.get_by_text("bicycle").first().wait_for()
    await asyncio.sleep(1)
    await _take(tab, folder / f"look-{name}.png")
    await take_workbench(tab, folder, name)


async def _write(tab: Tab) -> None:
    """Write a new text with tinted words and a branch, and let the model go on."""
    await tab.evaluate("() => { location.hash = '#/write'; }")
    await tab.get_by_role("button", name="Your texts").click()
    await tab.get_by_role("menuitem", name="New text").click()
    await tab.locator(".write-text").press_sequentially(_TEXT)
    await tab.get_by_role("button", name="Tint").click()
    await tab.locator(".tinted").nth(3).wait_for()
    is_wide = await tab.locator("#side").is_visible()
    if is_wide:
        await tab.locator(".write-text").focus()
        await tab.locator(".write-text").evaluate("(area) => area.setSelectionRange(32, 32)")
        await tab.get_by_role("heading", name="Instead of “sea”").wait_for()
        await tab.locator("#sampling-seed").fill(_SEED)
        await tab.get_by_label("Fix").check()
        await tab.locator(".instead-word").nth(1).click()
        await eventually(tab.locator(".branch-text.is-model").count, bool, patience_s=60)
        await eventually(tab.locator(".write-hint").inner_text, lambda hint: hint.startswith("Tab shows"))
    await tab.locator(".write-text").focus()
    await tab.keyboard.press("Control+End")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").first().wait_for()
    await eventually(tab.locator(".write-hint").inner_text, lambda hint: hint.startswith("Tab: more"))
    await asyncio.sleep(1)


async def take_workbench(tab: Tab, folder: Path, name: str) -> None:
    """Write the picture of the template's tests; with room, its prompt stands beside them."""
    await tab.evaluate("() => { location.hash = '#/workbench'; }")
    await tab.locator(".bench-item").get_by_text("inbox", exact=True).click()
    await tab.get_by_role("tab", name="Test").click()
    await tab.locator(".result").first().wait_for()
    if not name.startswith("360"):
        await tab.locator(".prompt-part").first().wait_for()
    await _take(tab, folder / f"workbench-{name}.png")


async def _take(tab: Tab, path: Path) -> None:
    await tab.mouse.move(0, 0)
    await tab.screenshot(path=str(path))
    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


@asynccontextmanager
async def _running_page(environment: Mapping[str, str]) -> AsyncIterator[str]:
    """Run the program until the end of the block; yield the address that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "web", "--no-open"),
        env={**os.environ, "WEB_PORT": "0", "LOGNAME": "Ada", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        said = ""
        while not (found := re.search(r"http://\S+", said)):
            line = await process.stdout.readline()
            if not line:
                raise RuntimeError(f"The program ended: {said}")
            said += line.decode()
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
