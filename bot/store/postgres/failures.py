"""Translation of PostgreSQL's errors into this package's errors and their sentences."""

import re
from typing import Final

import psycopg
from psycopg import errors

from bot.errors import Unavailable

# Of two transactions that would not have the same effect one after the other, one is run again.
CONFLICTS: Final = (errors.SerializationFailure, errors.DeadlockDetected)
_NO_SPACE: Final = (errors.DiskFull, errors.OutOfMemory, errors.IoError)
_REFUSED: Final = (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)
_DAMAGED: Final = (errors.DataCorrupted, errors.IndexCorrupted)
_LATE: Final = (errors.QueryCanceled, errors.LockNotAvailable)


def translate(error: psycopg.Error) -> Unavailable | None:
    """Return the error to raise for `error`; None if it is a bug of this program.

    Its sentence is for people who talk with the bot: where the database is, only the operator is told.
    """
    if isinstance(error, _NO_SPACE):
        return Unavailable("The database's disk is full or failing, so nothing new can be stored; try again later.")
    if isinstance(error, (*CONFLICTS, *_LATE)):
        return Unavailable("Too many others are using the bot's database; try again in a moment.")
    if isinstance(error, _REFUSED):
        return Unavailable("The bot's database can't be written now; try again later.")
    if isinstance(error, _DAMAGED):
        return Unavailable("The bot's database is damaged, so nobody can be answered until its operator restores it.")
    if isinstance(error, psycopg.OperationalError):
        return Unavailable("The bot's database can't be reached now; try again later.")
    return None


def cause_of(error: psycopg.Error) -> str:
    """Return why a database could not be opened or used, as the end of a sentence for the operator."""
    if isinstance(error, _NO_SPACE):
        return "the server's disk is full or failing"
    if isinstance(error, (*CONFLICTS, *_LATE)):
        return "others use the same rows, or the server is too busy"
    if isinstance(error, _REFUSED):
        return "this user may not write it, or the server is a copy that is only read"
    if isinstance(error, _DAMAGED):
        return "it is damaged"
    # The first line says what is wrong, at its end; more may follow, such as advice of libpq.
    said = (error.diag.message_primary or str(error)).strip().partition("\n")[0]
    said = re.sub(r"^.*FATAL:\s+", "", said)
    return said.removesuffix(".") or type(error).__name__


def without_values(error: psycopg.Error) -> psycopg.Error:
    """Return an error of a bug without its details: they may be a whole row, with people's words."""
    return type(error)(f"{error.sqlstate}: {error.diag.message_primary or 'no message'}")
