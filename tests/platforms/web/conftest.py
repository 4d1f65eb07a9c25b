"""The page, served on this machine for the real bot on a scripted engine."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.platforms.web.page import Page
from bot.platforms.web.running import hold_port, serve_page
from bot.platforms.web.traits import WEB
from bot.services.ledger import Delivery
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.web.windows import BrowserWindow, a_browser, a_window


@dataclass
class Served:
    """The page as it runs: `browser` is logged in."""

    talk: Talk
    page: Page
    address: str
    browser: aiohttp.ClientSession
    path: Path
    scripted: ScriptedEngine | None = None

    @property
    def engine(self) -> ScriptedEngine:
        """Return the engine of a bot that was opened on a scripted one."""
        assert self.scripted is not None
        return self.scripted

    @property
    def origin(self) -> str:
        return self.address.split("/?")[0]

    def window(self) -> AbstractAsyncContextManager[BrowserWindow]:
        """Open a window on the first channel."""
        return a_window(self.browser, self.address)


ServePage = Callable[..., AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def _serving(
    talk: Talk, folder: Path, engine: ScriptedEngine | None = None, *, port: int = 0
) -> AsyncIterator[Served]:
    delivery = Delivery(talk.store, WEB)
    async with (
        serve_page(talk.bot, delivery, hold_port(port), first_name="Ada") as (page, address),
        a_browser(address) as browser,
    ):
        yield Served(talk, page, address, browser, folder / "fewshot.db", engine)


@pytest.fixture
def serve(tmp_path: Path) -> ServePage:
    """Return a function that serves the page; again and again on the same database."""

    @asynccontextmanager
    async def open_it(scripts: Sequence[str] = ("Hello there.",), *, pause_s: float = 0.0) -> AsyncIterator[Served]:
        engine = ScriptedEngine(list(scripts), pause_s=pause_s)
        async with open_scripted_bot(engine, tmp_path, traits=WEB) as talk, _serving(talk, tmp_path, engine) as served:
            yield served

    return open_it


@pytest.fixture
async def served(serve: ServePage) -> AsyncIterator[Served]:
    """Serve the page to one test."""
    async with serve() as opened:
        yield opened


@pytest.fixture
def open_page(tmp_path: Path, open_tiny: Callable[..., AbstractAsyncContextManager[Talk]]) -> ServePage:
    """Return a function that serves the page of a bot with a tiny model; again and again on the same database."""

    @asynccontextmanager
    async def open_it(*, port: int = 0, **how: Any) -> AsyncIterator[Served]:
        async with open_tiny(traits=WEB, **how) as talk, _serving(talk, tmp_path, port=port) as served:
            yield served

    return open_it
