"""A lock between processes: who holds it may write to the database beside it."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bot.errors import Unavailable

_PAUSE_S: Final = 0.005

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class FileLock:
    """An exclusive lock on a file of its own, never removed; it falls with the process that holds it.

    Not the database file itself: closing any descriptor of that would drop SQLite's own locks on it.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the lock file. Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)

    def acquire_blocking(self, timeout_s: float) -> None:
        """Take the lock from a thread that may sleep. Raises Unavailable after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not _try_lock(self._descriptor):
            if time.monotonic() > deadline:
                raise _in_use()
            time.sleep(_PAUSE_S)

    async def acquire(self, timeout_s: float) -> None:
        """Take the lock. Raises Unavailable after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not _try_lock(self._descriptor):
            if time.monotonic() > deadline:
                raise _in_use()
            await asyncio.sleep(_PAUSE_S)

    def release(self) -> None:
        """Give the lock back."""
        _unlock(self._descriptor)

    @asynccontextmanager
    async def hold(self, timeout_s: float) -> AsyncIterator[None]:
        """Hold the lock for a block. Raises Unavailable after `timeout_s`."""
        await self.acquire(timeout_s)
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Close the file, which gives the lock back as well."""
        os.close(self._descriptor)


def _in_use() -> Unavailable:
    return Unavailable("The bot's database is in use by another program; try again in a moment.")
