"""Masking of secrets in every line of the log, including the lines of libraries."""

import logging
import re
from copy import copy
from dataclasses import dataclass
from typing import Final

MASK: Final = "‹token›"


@dataclass(frozen=True, slots=True)
class LogRules:
    """Rules for the log of one platform's library.

    `token` is the pattern of tokens that are not known beforehand, for example in a URL; its first group is kept.
    `library` is the name of the logger that reports a broken connection; `ordinary_errors` are network errors, which
    are logged as one line without a traceback. `libraries` log message texts and tokens at DEBUG.
    """

    token: re.Pattern[str]
    library: str
    ordinary_errors: tuple[type[Exception], ...]
    libraries: tuple[str, ...]


class MaskingFormatter(logging.Formatter):
    """Formats a record and its traceback, and masks the bot's token and those that `rules` describe."""

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


class _WithoutRequests(logging.Filter):
    """Shortens the errors of reading HTTP, whose texts are what a client sent: its key, cookie or words."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, with no more than the kind of an error of the library."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and type(error).__module__.startswith("aiohttp."):
            record.msg, record.args = f"{record.getMessage()} ({type(error).__name__})", ()
            record.exc_info = record.exc_text = None
        return True


def hide_requests() -> None:
    """Keep what clients send to a server of this program out of its log."""
    logging.getLogger("aiohttp.server").addFilter(_WITHOUT_REQUESTS)


_WITHOUT_REQUESTS: Final = _WithoutRequests()


def mask_secrets(secret: str, rules: LogRules) -> None:
    """Mask `secret` in everything that the program logs, and keep libraries from logging payloads."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(MaskingFormatter(handler.formatter or logging.Formatter(), secret, rules))
    for name in rules.libraries:
        library = logging.getLogger(name)
        library.setLevel(max(logging.INFO, library.getEffectiveLevel()))
