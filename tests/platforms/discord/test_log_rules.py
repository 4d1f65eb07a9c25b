"""Logs without secrets: tokens are masked in every line, and a broken connection is one line."""

import io
import logging
from collections.abc import Iterator

import aiohttp
import discord
import pytest

from bot.platforms.discord.log_rules import LOG_RULES
from bot.platforms.shared.masking import MASK, mask_secrets
from tests.platforms.discord.connecting import TOKEN


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Return the log from here on; restore the handlers and levels at the end."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "discord", "aiohttp")}
    handlers, root.handlers = root.handlers, []
    text = io.StringIO()
    root.addHandler(logging.StreamHandler(text))
    root.setLevel(logging.DEBUG)
    mask_secrets(TOKEN, LOG_RULES)
    yield text
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_the_token_is_masked_in_words_arguments_and_tracebacks(written: io.StringIO) -> None:
    log = logging.getLogger("somebody")
    log.info("Bot %s and %s", TOKEN, {"Authorization": f"Bot {TOKEN}"})
    try:
        raise ValueError(f"who sent {TOKEN}?")
    except ValueError:
        log.exception("failed")
    assert TOKEN not in written.getvalue()
    assert written.getvalue().count(MASK) == 3
    assert "Traceback" in written.getvalue()


def test_tokens_of_interactions_are_masked_in_urls(written: io.StringIO) -> None:
    logging.getLogger("discord.http").warning(
        "We are being rate limited. PATCH %s responded with 429",
        "https://discord.com/api/v10/webhooks/123/aW50ZXJhY3Rpb246MTIz.abc-_x/messages/@original",
    )
    logging.getLogger("discord.http").warning("POST /interactions/5/aW50ZXJhY3Rpb246MTIz/callback 100%")
    text = written.getvalue()
    assert "aW50" not in text
    assert f"/webhooks/123/{MASK}/messages/@original" in text
    assert f"/interactions/5/{MASK}/callback 100%" in text


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "reset"), TimeoutError(), aiohttp.ClientError(), discord.GatewayNotFound()]
)
def test_a_broken_connection_is_one_line(written: io.StringIO, error: Exception) -> None:
    logging.getLogger("discord.shard").error(
        "Attempting a reconnect for shard ID %s in %.2fs (100%%)", 3, 1.5, exc_info=error
    )
    assert written.getvalue() == f"Attempting a reconnect for shard ID 3 in 1.50s (100%) ({type(error).__name__})\n"


def test_a_mistake_in_the_program_keeps_its_traceback(written: io.StringIO) -> None:
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("discord.client").exception("Ignoring exception in %s", "on_message")
    assert "Traceback" in written.getvalue()


def test_what_libraries_write_at_debug_is_left_out(written: io.StringIO) -> None:
    for name in ("discord.gateway", "discord.http", "aiohttp.client"):
        logging.getLogger(name).debug("payload: secret words")
        logging.getLogger(name).info("connected")
    assert "secret words" not in written.getvalue()
    assert written.getvalue().count("connected") == 3
