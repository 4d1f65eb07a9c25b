"""The real bot on the stand-in for Discord: connected as the program connects it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.starting import look_up_application
from bot.platforms.discord.traits import DISCORD
from bot.services.ledger import Delivery
from tests.bots import Talk
from tests.servers.discord import Discord, pointed_at

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDe.a-token-of-the-stand-in-for-tests-0123"


@asynccontextmanager
async def on_discord(
    talk: Talk, discord: Discord, *, tell: Callable[[str], None] = lambda _: None, **how: Any
) -> AsyncIterator[FewshotClient]:
    """Connect the open bot to the stand-in, wait until it is ready, and disconnect it at the end."""
    with pointed_at(discord):
        application = await look_up_application(TOKEN)
        client = FewshotClient(
            talk.bot, Delivery(talk.store, DISCORD), application, api_base=discord.api_base, tell=tell, **how
        )
        client._connection.guild_ready_timeout = 0.1
        connecting = None
        try:
            async with client:
                await client.login(TOKEN)
                connecting = asyncio.create_task(client.connect())
                await client.wait_until_ready()
                yield client
        finally:
            if connecting is not None:
                await asyncio.wait({connecting}, timeout=10)
