"""The real bot on the stand-in for Discord: connected as the program connects it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.outgoing.request_limit import RequestLimit
from bot.platforms.discord.starting import look_up_application
from bot.platforms.discord.traits import DISCORD
from bot.services.ledger import Delivery
from bot.services.sharing import Sharing
from tests.bots import Talk
from tests.servers.discord import Discord, pointed_at

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDe.a-token-of-the-stand-in-for-tests-0123"
# How the tasks are named that answer people, the bot's and those of discord.py.
_WORK = ("answer ", "finishing ", "removing the ", "showing ", "discord.py: ", "CommandTree", "discord-ui-")


def is_at_rest(client: FewshotClient, discord: Discord) -> bool:
    """Return whether the bot has read every event that the stand-in has for it, and works on none."""
    sockets = [shard._parent.ws for shard in client.shards.values()]
    num_read = {socket.session_id: socket.sequence for socket in sockets}
    if any(num_read.get(session.id) != session.seq for session in discord.gateway.sessions.values()):
        return False
    return not any(task.get_name().startswith(_WORK) for task in asyncio.all_tasks())


@asynccontextmanager
async def on_discord(
    talk: Talk,
    discord: Discord,
    *,
    tell: Callable[[str], None] = lambda _: None,
    requests: RequestLimit | None = None,
    sharing: Sharing | None = None,
    **how: Any,
) -> AsyncIterator[FewshotClient]:
    """Connect the open bot to the stand-in, wait until it is ready, and disconnect it at the end.

    With `sharing` it is one of several programs.
    """
    with pointed_at(discord):
        requests = requests or RequestLimit()
        application = await look_up_application(TOKEN, requests)
        client = FewshotClient(
            talk.bot,
            Delivery(talk.store, DISCORD, sharing),
            application,
            requests=requests,
            api_base=discord.api_base,
            tell=tell,
            **{"identify_pause_s": 0.1, **how},
        )
        client._connection.guild_ready_timeout = 0.1
        connecting = None
        try:
            async with client:
                await client.login(TOKEN)
                connecting = asyncio.create_task(client.connect())
                await client.wait_until_ready()
                discord.world.is_bot_at_rest = lambda: is_at_rest(client, discord)
                yield client
        finally:
            discord.world.is_bot_at_rest = lambda: False
            if connecting is not None:
                await asyncio.wait({connecting}, timeout=10)
