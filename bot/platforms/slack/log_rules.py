"""Rules for the log of slack_sdk and slack_bolt."""

import re
from typing import Final

import aiohttp
from slack_sdk.errors import SlackClientError

from bot.platforms.shared.masking import LogRules

LOG_RULES: Final = LogRules(
    # Tokens, the addresses that answer an interaction, and the tickets of sockets.
    token=re.compile(r"((?:xox[a-z]-|xapp-)|hooks\.slack\.com/[a-z]+/|[?&]ticket=)[\w./=%-]{6,}"),
    library="slack",
    # The SDK logs each of them with a traceback and tries again.
    ordinary_errors=(OSError, TimeoutError, aiohttp.ClientError, SlackClientError),
    libraries=("slack_sdk", "slack_bolt", "aiohttp"),
)
