"""A log that holds no secrets: tokens are masked in every line, whoever wrote it."""

import logging
import re
from copy import copy
from typing import Final

import aiohttp
import discord

MASK: Final = "‹token›"
# The token of an interaction or webhook stands in its URL.
_TOKEN_IN_URL: Final = re.compile(r"(/(?:interactions|webhooks)/\d+/)[\w.-]{8,}")
# A network that comes and goes; discord.py writes a traceback each time and connects again.
_ORDINARY: Final = (
    OSError,
    TimeoutError,
    aiohttp.ClientError,
    discord.ConnectionClosed,
    discord.DiscordServerError,
    discord.GatewayNotFound,
)


class MaskingFormatter(logging.Formatter):
    """Formats a record, its traceback too, and masks the bot's token and those in URLs.

    Of a connection that broke discord.py tells in one line instead of a traceback.
    """

    def __init__(self, inner: logging.Formatter, secret: str) -> None:
        super().__init__()
        self._inner = inner
        self._secret = secret

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = self._inner.format(_shortened(record))
        if self._secret:
            line = line.replace(self._secret, MASK)
        return _TOKEN_IN_URL.sub(rf"\1{MASK}", line)


def _shortened(record: logging.LogRecord) -> logging.LogRecord:
    error = record.exc_info[1] if record.exc_info else None
    if not record.name.startswith("discord") or not isinstance(error, _ORDINARY):
        return record
    short = copy(record)
    short.msg, short.args = f"{record.getMessage()} ({type(error).__name__})", ()
    short.exc_info = short.exc_text = None
    return short


def mask_secrets(secret: str) -> None:
    """Mask `secret` in all that the program logs, and keep libraries from logging payloads."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(MaskingFormatter(handler.formatter or logging.Formatter(), secret))
    # At DEBUG these write message texts and tokens.
    for name in ("discord", "aiohttp"):
        library = logging.getLogger(name)
        library.setLevel(max(logging.INFO, library.getEffectiveLevel()))
