"""Firefox and WebKit, which is Safari's engine, driven by what they bring: WebDriver BiDi and WebDriver."""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp

from bot.platforms.web.running import hold_port

FIREFOX: Final = ("firefox", "firefox-esr")
WEBKIT: Final = ("WebKitWebDriver",)
_MINI_BROWSERS: Final = ("webkit2gtk-4.1", "webkit2gtk-4.0")
_PATIENCE_S: Final = 60.0
_DISPLAY: Final = ":77"


class Engine(Protocol):
    """One window of a browser."""

    async def goto(self, address: str) -> None:
        """Open an address and wait until it is loaded."""

    async def run(self, script: str) -> Any:
        """Return what the body of a function returns in the page."""

    async def press(self, *keys: str) -> None:
        """Press and release keys, one after the other; each is a character, or the name of a key."""

    async def picture(self) -> bytes:
        """Return what the window shows as PNG."""

    async def resize(self, width: int, height: int) -> None:
        """Give the page another size."""


# Of WebDriver: the characters that stand for keys.
KEYS: Final = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "ArrowDown": "\ue015",
    "ArrowUp": "\ue013",
    "ArrowRight": "\ue014",
}


def _key_actions(keys: tuple[str, ...]) -> list[dict[str, Any]]:
    values = [KEYS.get(key, key) for key in keys]
    steps = [{"type": kind, "value": value} for value in values for kind in ("keyDown", "keyUp")]
    return [{"type": "key", "id": "keyboard", "actions": steps}]


async def _find(read: Any, wanted: str) -> str:
    """Return the match of a pattern in what a program says."""
    async with asyncio.timeout(_PATIENCE_S):
        while line := (await read.readline()).decode(errors="replace"):
            if found := re.search(wanted, line):
                return found[1]
    raise RuntimeError("the browser ended")


@asynccontextmanager
async def _process(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()


class Firefox:
    """A window of Firefox."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._context = ""

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") != number:
                    continue
                if answer["type"] == "error":
                    raise RuntimeError(f"{method}: {answer['message']}")
                return answer["result"]

    async def begin(self) -> None:
        """Take the window that is open."""
        await self.ask("session.new", capabilities={})
        self._context = (await self.ask("browsingContext.getTree"))["contexts"][0]["context"]

    async def goto(self, address: str) -> None:
        await self.ask("browsingContext.navigate", context=self._context, url=address, wait="complete")

    async def run(self, script: str) -> Any:
        answer = await self.ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await (async () => {{ {script} }})()) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] != "success":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def press(self, *keys: str) -> None:
        await self.ask("input.performActions", context=self._context, actions=_key_actions(keys))

    async def picture(self) -> bytes:
        answer = await self.ask("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(answer["data"])

    async def resize(self, width: int, height: int) -> None:
        await self.ask(
            "browsingContext.setViewport", context=self._context, viewport={"width": width, "height": height}
        )


class WebKit:
    """A window of WebKitGTK's small browser."""

    def __init__(self, http: aiohttp.ClientSession, driver: str) -> None:
        self._http = http
        self._session = f"{driver}/session"

    async def ask(self, path: str, method: str = "POST", **body: Any) -> Any:
        """Send a command and return its value."""
        sent = {"json": body} if method == "POST" else {}
        async with self._http.request(method, self._session + path, **sent) as response:
            value = (await response.json(content_type=None))["value"]
        if response.status != 200:
            raise RuntimeError(f"{path}: {value.get('message') or value}")
        return value

    async def begin(self) -> None:
        """Open a window."""
        options = {"binary": _mini_browser(), "args": ["--automation"]}
        wanted = {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}
        opened = await self.ask("", capabilities={"alwaysMatch": wanted})
        self._session += f"/{opened['sessionId']}"

    async def goto(self, address: str) -> None:
        await self.ask("/url", url=address)

    async def run(self, script: str) -> Any:
        whole = (
            "const done = arguments[arguments.length - 1];"
            f"(async () => {{ {script} }})().then((value) => done(JSON.stringify(value ?? null)),"
            " (error) => done(JSON.stringify({ threw: String(error) })));"
        )
        value = json.loads(await self.ask("/execute/async", script=whole, args=[]))
        if isinstance(value, dict) and "threw" in value:
            raise RuntimeError(value["threw"])
        return value

    async def press(self, *keys: str) -> None:
        await self.ask("/actions", actions=_key_actions(keys))

    async def picture(self) -> bytes:
        return base64.b64decode(await self.ask("/screenshot", "GET"))

    async def resize(self, width: int, height: int) -> None:
        await self.ask("/window/rect", width=width, height=height)


def _mini_browser() -> str:
    """Return the path of the browser that comes with the driver."""
    return next(str(one) for name in _MINI_BROWSERS for one in Path("/usr/lib").glob(f"*/{name}/MiniBrowser"))


def program_of(names: tuple[str, ...]) -> str | None:
    """Return the path of the first program of these names that is installed."""
    return next((found for name in names if (found := shutil.which(name))), None)


@asynccontextmanager
async def open_firefox() -> AsyncIterator[Engine]:
    """Open Firefox without a screen."""
    program = program_of(FIREFOX)
    assert program is not None
    async with AsyncExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        process = await stack.enter_async_context(
            _process(
                program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", HOME=profile
            )
        )
        address = await _find(process.stderr, r"WebDriver BiDi listening on (ws://\S+)")
        http = await stack.enter_async_context(aiohttp.ClientSession())
        socket = await stack.enter_async_context(http.ws_connect(f"{address}/session", max_msg_size=2**26))
        firefox = Firefox(socket)
        await firefox.begin()
        yield firefox


@asynccontextmanager
async def open_webkit() -> AsyncIterator[Engine]:
    """Open WebKit on a screen of its own, as it knows no other way."""
    driver, screen = program_of(WEBKIT), program_of(("Xvfb",))
    assert driver is not None
    assert screen is not None
    with hold_port(0) as held:
        port = held.getsockname()[1]
    async with AsyncExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        await stack.enter_async_context(_process(screen, _DISPLAY, "-screen", "0", "1400x1000x24"))
        await stack.enter_async_context(_process(driver, f"--port={port}", DISPLAY=_DISPLAY, HOME=home))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        address = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    await (await http.get(f"{address}/status")).read()
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        webkit = WebKit(http, address)
        await webkit.begin()
        try:
            yield webkit
        finally:
            with suppress(aiohttp.ClientError, RuntimeError):
                await webkit.ask("", "DELETE")
