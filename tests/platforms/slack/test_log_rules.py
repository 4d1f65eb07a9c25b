"""The log on Slack: tokens and the addresses that answer interactions are masked, a broken line is one line."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from bot.platforms.shared.masking import MASK, mask_secrets
from bot.platforms.slack.log_rules import LOG_RULES
from bot.platforms.slack.traits import SLACK
from tests.bots import Talk
from tests.platforms.slack.towns import a_town

BOT, APP = "xoxb-123456789012-abcDEF", "xapp-1-A0123456789-987-0123abc"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Return the log from here on; restore the handlers and levels at the end."""
    root = logging.getLogger()
    names = ("", *LOG_RULES.libraries)
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, root.handlers = root.handlers, []
    text = io.StringIO()
    root.addHandler(logging.StreamHandler(text))
    root.setLevel(logging.DEBUG)
    mask_secrets("", LOG_RULES)
    yield text
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_every_token_is_masked_in_words_arguments_and_tracebacks(written: io.StringIO) -> None:
    log = logging.getLogger("somebody")
    log.info("tokens %s and %s", BOT, {"Authorization": f"Bearer {APP}"})
    try:
        raise ValueError(f"who sent {BOT}?")
    except ValueError:
        log.exception("failed")
    text = written.getvalue()
    assert text.count(MASK) == 3
    for secret in ("abcDEF", "0123abc", "A0123456789"):
        assert secret not in text


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.slack.com/actions/T012AB/123/abcdefSecret",
        "https://hooks.slack.com/commands/T012AB/123/abcdefSecret",
        "https://hooks.slack.com/app/T012AB/123/abcdefSecret",
        "wss://wss-primary.slack.com/link/?ticket=12345-abcdefSecret&app_id=5",
        "token xoxe.xoxb-1-abcdefSecret",
        "token xoxp-1-abcdefSecret",
    ],
)
def test_addresses_that_let_anybody_answer_are_masked(written: io.StringIO, address: str) -> None:
    logging.getLogger("slack_sdk").warning("could not reach %s (%s)", address, 503)
    assert "Secret" not in written.getvalue()
    assert MASK in written.getvalue()
    assert "(503)" in written.getvalue()


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(104, "reset"), TimeoutError(), aiohttp.ClientError(), SlackApiError("x", {"error": "y"})],
)
def test_a_broken_connection_is_one_line(written: io.StringIO, error: Exception) -> None:
    try:
        raise error
    except Exception:
        logging.getLogger("slack_sdk.socket_mode.aiohttp").exception("Failed to receive")
    assert written.getvalue() == f"Failed to receive ({type(error).__name__})\n"


def test_payloads_of_libraries_are_never_logged(written: io.StringIO) -> None:
    for name in LOG_RULES.libraries:
        logging.getLogger(name).debug("a payload with somebody's words")
    assert written.getvalue() == ""


async def test_the_sdk_does_not_warn_that_the_token_is_ignored(
    open_tiny: Callable[..., AbstractAsyncContextManager[Talk]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", BOT)
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK)) as town, town.run():
        assert "ignored" not in caplog.text
        assert town.told == ["Fewshot is on Slack, in Acme."]
