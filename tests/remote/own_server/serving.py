"""A server with a tiny model in the test's own event loop, and the engine that asks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.core.engine import Engine
from bot.engine.engine import LocalEngine
from bot.remote.own_server.connection import SILENT_S, Connection
from bot.remote.own_server.served_engine import ServedEngine, wait_for_server
from bot.serving.running import hold_address, serve_engine

KEY = "a-key-of-the-tests"


@asynccontextmanager
async def open_local(folder: Path, *, name: str = "tiny", max_waiting: int = 64) -> AsyncIterator[LocalEngine]:
    """Open the model in this program."""
    async with LocalEngine.open(
        folder, name=name, device="cpu", num_threads=1, kv_cache_mb=64, max_waiting=max_waiting
    ) as engine:
        yield engine


@asynccontextmanager
async def asking(base: str, key: str = KEY, silent_s: float = SILENT_S) -> AsyncIterator[ServedEngine]:
    """Open an engine that asks the server at `base`."""
    async with Connection.open(base, key, silent_s=silent_s) as connection:
        hello = await wait_for_server(connection, lambda _: None, limit_s=120)
        assert hello is not None
        async with ServedEngine.open(connection, hello) as engine:
            yield engine


@asynccontextmanager
async def served(engine: Engine, *, port: int = 0) -> AsyncIterator[str]:
    """Serve `engine`; at the end what is open is cut off at once, as by a kill."""
    address = hold_address("127.0.0.1", port)
    async with serve_engine(engine, address, key=KEY, timeout_s=60.0, grace_s=0.0) as base:
        yield base
