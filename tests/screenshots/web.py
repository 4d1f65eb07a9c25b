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
_TEXT: Final = "The old man walked down to the sea and"


async def take_pages(environment: Mapping[str, str], folder: Path) -> None:
    """Write pictures of every view, wide and narrow, light and dark, into `folder`, which exists."""
    browser = Browser()
    try:
        async with _running_page(environment) as address:
            async with browser.context() as windows:
                place = await _talk(windows, address)
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


async def _take_views(tab: Tab, folder: Path, name: str) -> None:
    await tab.get_by_label("Message #general").wait_for()
    await tab.locator(".message .columns").wait_for()
    if not name.startswith("360"):
        await tab.locator(".panel .verbatim").wait_for()
    await _take(tab, folder / f"channel-{name}.png")
    await tab.evaluate("() => { location.hash = '#/write'; }")
    await tab.locator(".write-text").press_sequentially(_TEXT)
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    await _take(tab, folder / f"write-{name}.png")
    await tab.evaluate("() => { location.hash = '#/look'; }")
    await tab.get_by_role("textbox").first().fill("The cat sat on the moon and ate a small red bicycle.")
    await tab.get_by_text("bicycle").first().wait_for()
    await asyncio.sleep(1)
    await _take(tab, folder / f"look-{name}.png")


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
