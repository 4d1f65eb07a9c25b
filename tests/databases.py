"""A new database without its making: most tests need one, and each migration waits for the disk."""

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.store.preparation import prepare


def lay_new_database(path: Path) -> Path:
    """Write what the program makes of `path` when it is opened first, unless something is there; return it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(_new_database())
    return path


@cache
def _new_database() -> bytes:
    with TemporaryDirectory() as folder:
        prepared = prepare(Path(folder) / "new.db")
        prepared.users.close()
        prepared.file_lock.close()
        return prepared.path.read_bytes()
