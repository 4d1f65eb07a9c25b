"""Rules for the log of discord.py."""

import re
from typing import Final

import aiohttp
import discord

from bot.platforms.shared.masking import LogRules

LOG_RULES: Final = LogRules(
    # The URL of an interaction or webhook contains its token.
    token=re.compile(r"(/(?:interactions|webhooks)/\d+/)[\w.-]{8,}"),
    library="discord",
    # discord.py logs each of them with a traceback and reconnects.
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
