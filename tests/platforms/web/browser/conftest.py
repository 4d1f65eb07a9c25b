"""Fixtures of the page's tests: one browser in a session, a stand-in for the bot in each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.platforms.web.browser.browsing import Browser, Context, why_not
from tests.servers.page import Page, serve_page


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
