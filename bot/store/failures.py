"""Translation of SQLite's errors into this package's errors and their sentences."""

import sqlite3
from typing import Final

from bot.errors import Unavailable

# Primary result codes, the low byte of an extended code: https://www.sqlite.org/rescode.html
_LOW_BYTE: Final = 0xFF
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# "disk I/O error" counts as a full disk, because a write beyond a size limit (EFBIG) causes it too.
_NO_SPACE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_REFUSED: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary result code of `error`, 0 if it does not come from SQLite itself."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & _LOW_BYTE


def translate(error: sqlite3.Error) -> Unavailable | None:
    """Return the error to raise for `error` on the open database; None if it is a bug of this program.

    Its sentence is for people who talk with the bot: where the file is, only the operator is told.
    """
    code = primary_code(error)
    if code in _NO_SPACE:
        return Unavailable("The bot's disk is full or failing, so nothing new can be stored; try again later.")
    if code in _BUSY:
        return Unavailable("Another program is using the bot's database; try again in a moment.")
    if code in _REFUSED:
        return Unavailable("The bot's database can't be written now; try again later.")
    if code in DAMAGED:
        return Unavailable("The bot's database is damaged, so nobody can be answered until its operator restores it.")
    return None


def cause_of(error: sqlite3.Error) -> str:
    """Return why a database could not be opened or used, as the end of a sentence for the operator."""
    code = primary_code(error)
    if code in _NO_SPACE:
        return "the disk is full or failing"
    if code in _BUSY:
        return "another program is using it"
    if code in _REFUSED:
        return "this user needs permission to read and write it and its folder"
    if code in DAMAGED:
        return f"it is damaged ({error}); restart the bot to restore a backup"
    return str(error)
