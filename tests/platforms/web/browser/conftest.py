"""Fixtures of the page's tests: one browser in a session, a stand-in for the bot in each test."""

import contextlib
import fcntl
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Final

import pytest

from tests.platforms.web.browser.browsing import Browser, Context, why_not
from tests.servers.page import Page, serve_page

_NUM_AT_ONCE: Final = 2
_LOOK_S: Final = 0.05


@pytest.fixture(autouse=True)
def turn() -> Iterator[None]:
    """Let two tests at most drive a browser at a time, in all processes that run tests."""
    folder = Path(tempfile.gettempdir())
    names = [folder / f"fewshot-browser-{number}.lock" for number in range(_NUM_AT_ONCE)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(name.open("w")) for name in names]
        while not any(_locks(file) for file in files):
            time.sleep(_LOOK_S)
        yield


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a browser, or skip the test with the reason."""
    if reason := why_not():
        pytest.skip(reason)
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """Return a stand-in for the bot behind the page."""
    async with serve_page() as page:
        yield page


@pytest.fixture
async def windows(browser: Browser) -> AsyncIterator[Context]:
    """Return a browser context."""
    async with browser.context() as context:
        yield context
