"""Whether all is well with a running bot: the model, the disk, the database, the backups, and each connection."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bot.core.engine import Engine
from bot.core.prompt_parts import Prompt
from bot.core.watch import Connection
from bot.errors import Unavailable
from bot.services.backups import Backups
from bot.store.store import Store

CHECK_S: Final = 5.0  # what answers nothing for so long is not well
_PROBE_BYTES: Final = 64 * 1024


async def find_model_problem(engine: Engine, timeout_s: float) -> str:
    """Return why the model doesn't answer within `timeout_s`, or "": its own thread is asked."""
    try:
        async with asyncio.timeout(timeout_s):
            await engine.count_tokens([Prompt.plain("a")])
    except Unavailable as e:
        return str(e)
    except TimeoutError:
        return f"The model has not answered for {timeout_s:g} s: it is being restarted, or it hangs."
    return ""


class Disk:
    """The disk of the database: asked by one probe at a time, since one that hangs keeps its thread."""

    def __init__(self, database: Path) -> None:
        self._probe_path = database.with_name(f"{database.name}-probe")
        self._probing: asyncio.Future[str] | None = None

    async def find_problem(self, timeout_s: float) -> str:
        """Return why nothing can be written beside the database, or "": a small file is written and removed."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(asyncio.to_thread(_probe, self._probe_path))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._probing)
        except TimeoutError:
            return f"The disk of the database has not answered for {timeout_s:g} s."


class DatabaseServer:
    """The server of a database that is no file."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find_problem(self, timeout_s: float) -> str:
        """Return why nothing can be read from the database, or ""."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._store.get_note("health", "probe")
        except TimeoutError:
            return f"The server of the database has not answered for {timeout_s:g} s."
        except Unavailable as e:
            return str(e)
        return ""


def _probe(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            # Zeros might take no room on a disk that compresses.
            os.write(descriptor, os.urandom(_PROBE_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
    except OSError as e:
        return f"Nothing can be written into {path.parent}: {(e.strerror or str(e)).lower()}."
    return ""


class Health:
    """Whether all is well with a bot; `connections` returns those of its platforms."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        backups: Backups,
        connections: Callable[[], Sequence[Connection]],
        *,
        timeout_s: float = CHECK_S,
    ) -> None:
        self._engine = engine
        self._store = store
        self._backups = backups
        self._connections = connections
        self._timeout_s = timeout_s
        self._database = DatabaseServer(store) if store.path is None else Disk(store.path)

    async def find_faults(self) -> tuple[str, ...]:
        """Return one sentence for each fault; it takes little more than the timeout."""
        checks: list[Awaitable[str]] = [
            find_model_problem(self._engine, self._timeout_s),
            self._database.find_problem(self._timeout_s),
            *(connection.find_problem() for connection in self._connections()),
        ]
        found = await asyncio.gather(*checks)
        problem = self._backups.problem
        backup = f"No backup can be made now: {problem}" if problem else ""
        return tuple(dict.fromkeys(one for one in (*found, self._store.problem, backup) if one))
