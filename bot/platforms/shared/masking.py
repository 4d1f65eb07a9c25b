"""A log that holds no secrets: tokens are masked in every line, whoever wrote it."""

import logging
import re
from copy import copy
from dataclasses import dataclass
from typing import Final

MASK: Final = "‹token›"


@dataclass(frozen=True, slots=True)
class LogRules:
    """What is special about the logs of one platform's library.

    `token` is the pattern of a token that nobody knows beforehand, as in a URL; its first group stays. `library` is the
    name of the logger that reports a broken connection, and `ordinary_errors` are those of a network that comes and
    goes: of them one line is enough. `libraries` write message texts and tokens at DEBUG.
    """

    token: re.Pattern[str]
    library: str
    ordinary_errors: tuple[type[Exception], ...]
    libraries: tuple[str, ...]


class MaskingFormatter(logging.Formatter):
    """Formats a record, its traceback too, and masks the bot's token and those that `rules` describe."""

    def __init__(self, inner: logging.Formatter, secret: str, rules: LogRules) -> None:
        super().__init__()
        self._inner = inner
        self._secret = secret
        self._rules = rules

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = self._inner.format(self._shortened(record))
        if self._secret:
            line = line.replace(self._secret, MASK)
        return self._rules.token.sub(rf"\1{MASK}", line)

    def _shortened(self, record: logging.LogRecord) -> logging.LogRecord:
        error = record.exc_info[1] if record.exc_info else None
        if not record.name.startswith(self._rules.library) or not isinstance(error, self._rules.ordinary_errors):
            return record
        short = copy(record)
        short.msg, short.args = f"{record.getMessage()} ({type(error).__name__})", ()
        short.exc_info = short.exc_text = None
        return short


def mask_secrets(secret: str, rules: LogRules) -> None:
    """Mask `secret` in all that the program logs, and keep libraries from logging payloads."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(MaskingFormatter(handler.formatter or logging.Formatter(), secret, rules))
    for name in rules.libraries:
        library = logging.getLogger(name)
        library.setLevel(max(logging.INFO, library.getEffectiveLevel()))
