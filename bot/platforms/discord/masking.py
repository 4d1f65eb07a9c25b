"""A log that holds no secrets: tokens are masked in every line, whoever wrote it."""

import logging
import re
from typing import Final

MASK: Final = "‹token›"
# The token of an interaction or webhook stands in its URL.
_TOKEN_IN_URL: Final = re.compile(r"(/(?:interactions|webhooks)/\d+/)[\w.-]{8,}")


class MaskingFormatter(logging.Formatter):
    """Formats a record, its traceback too, and masks the bot's token and those in URLs."""

    def __init__(self, inner: logging.Formatter, secret: str) -> None:
        super().__init__()
        self._inner = inner
        self._secret = secret

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = self._inner.format(record)
        if self._secret:
            line = line.replace(self._secret, MASK)
        return _TOKEN_IN_URL.sub(rf"\1{MASK}", line)


def mask_secrets(secret: str) -> None:
    """Mask `secret` in all that the program logs, and keep libraries from logging payloads."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(MaskingFormatter(handler.formatter or logging.Formatter(), secret))
    # At DEBUG these write message texts and tokens.
    for name in ("discord", "aiohttp"):
        library = logging.getLogger(name)
        library.setLevel(max(logging.INFO, library.getEffectiveLevel()))
