"""A real Chromium for tests of the page, driven by playwright in a Node process (tests/web/driver.js)."""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, Final, TypeVar

FOLDER: Final = Path(__file__).resolve().parents[3] / "web"
# First the one without a window of its own: a test takes it a third of the time, and the page is the same to it.
_BROWSERS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
_PATIENCE_S: Final = 30.0

T = TypeVar("T")


def why_not() -> str:
    """Return why no browser can be driven here, or ""."""
    if _chromium() is None:
        return "needs Chromium"
    if shutil.which("node") is None or not (FOLDER / "node_modules" / "playwright-core").is_dir():
        return "needs Node and what `npm ci` installs in tests/web"
    return ""


def _chromium() -> str | None:
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


class BrowserError(Exception):
    """What playwright says of a step that failed."""


class Browser:
    """One Chromium; its pages are closed after each test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(FOLDER / "driver.js"), str(_chromium())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._turn = threading.Lock()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def ask_now(self, op: str, **fields: Any) -> Any:
        """Do one operation of the driver, blocking."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the browser ended"}
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["value"]

    async def ask(self, op: str, **fields: Any) -> Any:
        """Do one operation of the driver."""
        return await asyncio.to_thread(self.ask_now, op, **fields)

    @contextlib.asynccontextmanager
    async def context(self, **options: Any) -> AsyncIterator["Context"]:
        """Open a browser context: windows that share cookies. Its pages must not have failed by themselves."""
        options = {"viewport": {"width": 1280, "height": 800}, "reducedMotion": "reduce", **options}
        context = Context(self, await self.ask("context", options=options))
        try:
            yield context
            for tab in context.tabs:
                assert await self.ask("problems", page=tab.id) == []
        finally:
            await self.ask("close", context=context.id)


class Context:
    """Windows that share cookies."""

    def __init__(self, browser: Browser, id_: str) -> None:
        self.browser = browser
        self.id = id_
        self.tabs: list[Tab] = []

    async def open(self, address: str) -> "Tab":
        """Open a window at `address`."""
        tab = Tab(self.browser, await self.browser.ask("page", context=self.id))
        self.tabs.append(tab)
        await tab.goto(address)
        return tab


class Chain:
    """Calls on a page, by their names in Python; they happen when the chain is awaited."""

    def __init__(self, browser: Browser, page: str, steps: tuple[tuple[str, list[Any] | None], ...] = ()) -> None:
        self._browser = browser
        self._page = page
        self._steps = steps

    def __getattr__(self, name: str) -> "Chain":
        camel = re.sub(r"_(\w)", lambda found: found[1].upper(), name)
        return Chain(self._browser, self._page, (*self._steps, (camel, None)))

    def __call__(self, *args: Any, **options: Any) -> "Chain":
        *before, (name, _) = self._steps
        given = [
            *args,
            {re.sub(r"_(\w)", lambda found: found[1].upper(), key): value for key, value in options.items()},
        ]
        return Chain(self._browser, self._page, (*before, (name, given if options else list(args))))

    def __await__(self) -> Generator[Any, None, Any]:
        return self._browser.ask("call", page=self._page, chain=self._steps).__await__()


class Tab(Chain):
    """One window."""

    @property
    def id(self) -> str:
        """Return the driver's id."""
        return self._page

    async def accessibility_violations(self) -> list[str]:
        """Return what axe finds."""
        found: list[str] = await self._browser.ask("axe", page=self._page)
        return found

    async def says(self, words: str) -> None:
        """Type a message into the open channel and press Enter, as a person does."""
        await self.locator('.main .composer-text:not([aria-label="Message"], [aria-label="Message "])').fill(words)
        await self.keyboard.press("Enter")

    async def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements, as they are shown."""
        found: list[str] = await self.locator(selector).all_inner_texts()
        return found

    async def sees(self, words: str, *, within: str = "body") -> None:
        """Wait until a text is shown."""
        await self.locator(within).get_by_text(words).first().wait_for()


async def eventually(
    read: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], *, patience_s: float = _PATIENCE_S
) -> T:
    """Read until what is read is wanted; return it."""
    end = time.monotonic() + patience_s
    while not wanted(value := await read()):
        if time.monotonic() > end:
            raise AssertionError(f"still {value!r}")
        await asyncio.sleep(0.02)
    return value
