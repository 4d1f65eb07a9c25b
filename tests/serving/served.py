"""A served engine in a thread with an event loop of its own, so that all tests of a run share it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.engine.engine import LocalEngine
from bot.serving.running import hold_address, serve_engine


@dataclass(frozen=True)
class Served:
    """A served engine: the base address for clients, without `/v1` the `root`."""

    engine: LocalEngine
    base: str
    _loop: asyncio.AbstractEventLoop

    @property
    def root(self) -> str:
        return self.base.removesuffix("/v1")


@asynccontextmanager
async def open_served(
    folder: Path, *, key: str = "", timeout_s: float = 60.0, grace_s: float = 5.0, **engine: Any
) -> AsyncIterator[tuple[LocalEngine, str]]:
    """Serve the model in `folder` as the program does; yield the engine and the base address."""
    options = {"name": "tiny", "device": "cpu", "num_threads": 1, "kv_cache_mb": 64, **engine}
    async with LocalEngine.open(folder, **options) as opened:
        address = hold_address("127.0.0.1", 0)
        async with serve_engine(opened, address, key=key, timeout_s=timeout_s, grace_s=grace_s) as base:
            yield opened, base


@asynccontextmanager
async def held_model(engine: LocalEngine) -> AsyncIterator[threading.Event]:
    """Hold the model's thread for a block, or until the yielded event is set: what is asked meanwhile waits."""
    is_held, may_go = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        is_held.set()
        may_go.wait()

    holding = asyncio.create_task(engine.make_prompt(hold))
    try:
        await until(is_held.is_set)
        yield may_go
    finally:
        may_go.set()
        await asyncio.gather(holding, return_exceptions=True)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.005)


@contextmanager
def serve_in_thread(folder: Path, **options: Any) -> Iterator[Served]:
    """Serve the model in `folder` from another thread for a block."""
    is_ready, served = threading.Event(), list[Served]()
    errors = list[BaseException]()
    is_over: asyncio.Event | None = None

    async def run() -> None:
        nonlocal is_over
        is_over = asyncio.Event()
        async with open_served(folder, **options) as (engine, base):
            served.append(Served(engine, base, asyncio.get_running_loop()))
            is_ready.set()
            await is_over.wait()

    def run_thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as e:
            errors.append(e)
        finally:
            is_ready.set()

    thread = threading.Thread(target=run_thread, name="served engine")
    thread.start()
    is_ready.wait()
    try:
        if errors:
            raise errors[0]
        yield served[0]
    finally:
        if served and is_over is not None:
            served[0]._loop.call_soon_threadsafe(is_over.set)
        thread.join()
    if errors:
        raise errors[0]
