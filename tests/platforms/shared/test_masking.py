"""Logs without secrets on any platform: the platform describes its tokens and ordinary errors."""

import asyncio
import io
import logging
import re
from collections.abc import Iterator

import pytest
from aiohttp import web

from bot.platforms.shared.masking import MASK, LogRules, hide_requests, mask_secrets

RULES = LogRules(
    token=re.compile(r"(ticket=)\w+"), library="chatlib", ordinary_errors=(ConnectionError,), libraries=("chatlib",)
)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root, library = logging.getLogger(), logging.getLogger("chatlib")
    handlers, root.handlers, level = root.handlers, [], root.level
    text = io.StringIO()
    root.addHandler(logging.StreamHandler(text))
    root.setLevel(logging.DEBUG)
    mask_secrets("s3cret", RULES)
    yield text
    root.handlers = handlers
    root.setLevel(level)
    library.setLevel(logging.NOTSET)


def test_secrets_and_tokens_of_the_platform_are_masked(written: io.StringIO) -> None:
    logging.getLogger("somebody").info("%s and ticket=abc", "s3cret")
    assert written.getvalue() == f"{MASK} and ticket={MASK}\n"


def test_only_an_ordinary_error_of_the_library_is_one_line(written: io.StringIO) -> None:
    logging.getLogger("chatlib.socket").error("again", exc_info=ConnectionError("gone"))
    assert written.getvalue() == "again (ConnectionError)\n"
    logging.getLogger("chatlib.socket").error("again", exc_info=KeyError("gone"))
    logging.getLogger("somebody").error("again", exc_info=ConnectionError("gone"))
    assert "KeyError" in written.getvalue()
    assert "ConnectionError: gone" in written.getvalue()


def test_debug_lines_of_the_library_are_left_out(written: io.StringIO) -> None:
    logging.getLogger("chatlib").debug("payload")
    assert written.getvalue() == ""


async def test_what_a_client_sends_is_not_logged_when_it_is_no_request(caplog: pytest.LogCaptureFixture) -> None:
    hide_requests()
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nCookie : session=s3cret\r\n\r\n")
        assert b"400" in await reader.readline()
        writer.close()
    finally:
        await runner.cleanup()
    assert "BadHttpMessage" in caplog.text
    assert "s3cret" not in caplog.text
