"""A lock between processes: only its holder may write to the database beside it."""

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
# Whether the system has shared locks, so that a program can tell that nobody else has the database open.
KNOWS_USERS: Final = sys.platform != "win32"

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

    def _share(descriptor: int) -> None:
        """Do nothing: Windows has no shared lock, so nobody knows to be alone."""

    def _try_alone(descriptor: int) -> bool:
        return False

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

    def _share(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)

    def _try_alone(descriptor: int) -> bool:
        if _try_lock(descriptor):
            return True
        # A lock that can't be changed into another one is lost.
        _share(descriptor)
        return False


class FileLock:
    """An exclusive lock on a separate file that is never removed; the lock ends with the process that holds it.

    The file is not the database itself, because closing a descriptor of that would drop SQLite's own locks.
    """

    def __init__(self, path: Path) -> None:
        """Open the lock file, or create it. Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)

    def acquire_blocking(self, timeout_s: float) -> None:
        """Acquire the lock in a thread that may block. Raises Unavailable after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not _try_lock(self._descriptor):
            if time.monotonic() > deadline:
                raise _in_use()
            time.sleep(_PAUSE_S)

    async def acquire(self, timeout_s: float) -> None:
        """Acquire the lock. Raises Unavailable after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not _try_lock(self._descriptor):
            if time.monotonic() > deadline:
                raise _in_use()
            await asyncio.sleep(_PAUSE_S)

    def release(self) -> None:
        """Release the lock."""
        _unlock(self._descriptor)

    @asynccontextmanager
    async def hold(self, timeout_s: float) -> AsyncIterator[None]:
        """Hold the lock during the `async with` block. Raises Unavailable after `timeout_s`."""
        await self.acquire(timeout_s)
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Close the file, which also releases the lock."""
        os.close(self._descriptor)


class UsersLock:
    """A lock that everybody who has the database open shares, on a file of its own."""

    def __init__(self, path: Path) -> None:
        """Open the lock file and share the lock; wait while somebody is alone with the database. Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        _share(self._descriptor)

    def try_alone(self) -> bool:
        """Let nobody else open the database until `share`; return False, without effect, if somebody has it open."""
        return _try_alone(self._descriptor)

    def share(self) -> None:
        """Let others open the database."""
        _share(self._descriptor)

    def close(self) -> None:
        """Close the file, which also releases the lock."""
        os.close(self._descriptor)


def _in_use() -> Unavailable:
    return Unavailable("Another program is using the bot's database; try again in a moment.")
