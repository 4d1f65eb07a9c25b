"""Whether Discord's gateway answers: the shards' heartbeats, and one more where the latest is long ago."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import aiohttp
import discord
from discord.gateway import DiscordWebSocket, KeepAliveHandler

ASK_S: Final = 5.0
# discord.py sends a heartbeat every 41 seconds; one that was answered so lately needs no other.
_FRESH_S: Final = 10.0
# After so long without an answer a shard does not count as working.
_STALE_S: Final = 60.0
_LOOK_S: Final = 0.1


def count_shards(client: discord.AutoShardedClient) -> int:
    """Return how many shards are connected, and were answered lately."""
    handlers = (_open_handler(shard) for shard in client.shards.values())
    return sum(one is not None and time.perf_counter() - one._last_ack < _STALE_S for one in handlers)


async def find_gateway_problem(client: discord.AutoShardedClient, limit_s: float = ASK_S) -> str:
    """Return one sentence if a shard is not connected, or its heartbeat is not answered within `limit_s`; else ""."""
    if client.is_closed() or not client.shards:
        return "The bot is not connected to Discord."
    alive = await asyncio.gather(*(_is_alive(shard, limit_s) for shard in client.shards.values()))
    if all(alive):
        return ""
    if len(alive) == 1:
        return f"Discord's gateway has not answered for {limit_s:g} s; the bot tries to connect again."
    return f"{alive.count(False)} of {len(alive)} connections to Discord's gateway don't answer; they are opened again."


async def _is_alive(shard: discord.ShardInfo, limit_s: float) -> bool:
    """Wait for an answered heartbeat; a connection that is being opened again has the time for that."""
    started_at = time.perf_counter()
    asked: KeepAliveHandler | None = None
    while time.perf_counter() - started_at < limit_s:
        handler = _open_handler(shard)
        if handler is not None and handler._last_ack > started_at - _FRESH_S:
            return True
        if handler is not None and handler is not asked:
            asked = handler
            # On a connection that has just broken it fails, which the next look finds.
            with suppress(aiohttp.ClientError, discord.ConnectionClosed, OSError):
                await handler.ws.send_heartbeat(handler.beat())
        await asyncio.sleep(_LOOK_S)
    return False


def _open_handler(shard: discord.ShardInfo) -> KeepAliveHandler | None:
    """Return what sends the heartbeats of a shard, None while it is not connected."""
    socket: DiscordWebSocket | None = shard._parent.ws
    return None if socket is None or not socket.open else socket._keep_alive
