"""What SQLite's errors mean to people: the one place where they become sentences and errors of this package."""

import sqlite3
from pathlib import Path
from typing import Final

from bot.errors import FewshotError, StoreError, Unavailable

# Primary result codes, the low byte of an extended code: https://www.sqlite.org/rescode.html
_LOW_BYTE: Final = 0xFF
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# A write beyond a size limit (EFBIG) comes as "disk I/O error" too, which is why that counts as a full disk.
_NO_SPACE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_REFUSED: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary result code of `error`, 0 where it does not come from SQLite itself."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & _LOW_BYTE


def translate(error: sqlite3.Error, path: Path) -> FewshotError | None:
    """Return what `error` on the open database at `path` means to people, None where this program made a mistake."""
    code = primary_code(error)
    if code in _NO_SPACE:
        return Unavailable("The bot's disk is full or failing, so nothing new can be stored; try again later.")
    if code in _BUSY:
        return Unavailable("The bot's database is in use by another program; try again in a moment.")
    if code in _REFUSED:
        return Unavailable("The bot's database can't be written at the moment; try again later.")
    if code in DAMAGED:
        return StoreError(f"The database {path} is damaged; stop the bot and start it again to have it checked.")
    return None


def why_not_opened(error: sqlite3.Error) -> str:
    """Return why a database could not be opened, as the end of a sentence for the operator."""
    code = primary_code(error)
    if code in _NO_SPACE:
        return "the disk is full or failing"
    if code in _BUSY:
        return "it is in use by another program"
    if code in _REFUSED:
        return "this user may not read and write it and its folder"
    return str(error)
