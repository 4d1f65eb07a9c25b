"""What is special about the logs of discord.py."""

import re
from typing import Final

import aiohttp
import discord

from bot.platforms.shared.masking import LogRules

LOG_RULES: Final = LogRules(
    # The token of an interaction or webhook stands in its URL.
    token=re.compile(r"(/(?:interactions|webhooks)/\d+/)[\w.-]{8,}"),
    library="discord",
    # discord.py writes a traceback each time and connects again.
    ordinary_errors=(
        OSError,
        TimeoutError,
        aiohttp.ClientError,
        discord.ConnectionClosed,
        discord.DiscordServerError,
        discord.GatewayNotFound,
    ),
    libraries=("discord", "aiohttp"),
)
