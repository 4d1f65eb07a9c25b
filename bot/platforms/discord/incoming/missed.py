"""Messages missed without a connection: read over REST after every lost session."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final

import aiohttp
import discord

from bot.core.messages import now_utc
from bot.errors import Unavailable
from bot.platforms.discord.incoming.histories import read_history
from bot.platforms.discord.incoming.payloads import UNREADABLE, describe_error
from bot.platforms.discord.traits import ANSWERABLE_S

logger = logging.getLogger(__name__)

# Ids contain times, but events of two channels may come in another order than their ids. So messages up to this much
# older than the last one are read again; those already accepted are known by their ids.
_SLACK_MS: Final = 10_000
# Messages too old to be answered are counted for the notice; at most so many are read in each channel.
_MAX_OLD_MESSAGES: Final = 1_000
_NUM_AT_ONCE: Final = 4
_ID_BITS_BELOW_MS: Final = 22


def start_of_gap(watermark: str) -> int:
    """Return the id after which messages are read again; `watermark` is the highest id that was handled."""
    return max(0, int(watermark) - (_SLACK_MS << _ID_BITS_BELOW_MS))


def channels_with_news(guilds: Iterable[discord.Guild], after: int) -> list[discord.abc.Messageable]:
    """Return the readable channels and threads of `guilds` with messages after `after`."""
    found: list[discord.abc.Messageable] = []
    for guild in guilds:
        places: list[discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread] = [
            *guild.text_channels,
            *guild.voice_channels,
            *guild.stage_channels,
            *guild.threads,
        ]
        for channel in places:
            if (channel.last_message_id or 0) <= after:
                continue
            allowed = channel.permissions_for(guild.me)
            if allowed.view_channel and allowed.read_message_history:
                found.append(channel)
    return found


async def take_missed(
    channels: Sequence[discord.abc.Messageable], after: int, take: Callable[[discord.Message], Awaitable[None]]
) -> bool:
    """Pass every message after `after` in `channels` to `take`, oldest first in each; return whether all were read.

    All messages that can still be answered are read first. A channel that is gone or no longer readable is skipped.
    """
    places = asyncio.Semaphore(_NUM_AT_ONCE)
    answerable = discord.utils.time_snowflake(now_utc() - timedelta(seconds=ANSWERABLE_S))
    recent = max(after, answerable)

    async def read(channel: discord.abc.Messageable) -> bool:
        async with places:
            try:
                async for message in read_history(channel, after=recent):
                    await _take_safely(take, message)
                if after < recent:
                    old = read_history(channel, after=after, before=recent + 1, limit=_MAX_OLD_MESSAGES)
                    async for message in old:
                        await _take_safely(take, message)
            except (discord.Forbidden, discord.NotFound):
                return True
            except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError, Unavailable) as e:
                logger.warning(
                    "could not read the missed messages in channel %s: %s", getattr(channel, "id", 0), type(e).__name__
                )
                return False
            except UNREADABLE as e:
                # It would be no better the next time.
                logger.error(
                    "what Discord sent of channel %s can't be read: %s", getattr(channel, "id", 0), describe_error(e)
                )
            return True

    return all(await asyncio.gather(*(read(channel) for channel in channels)))


async def _take_safely(take: Callable[[discord.Message], Awaitable[None]], message: discord.Message) -> None:
    """Pass a message to `take`; skip it if it can't be read."""
    try:
        await take(message)
    except UNREADABLE as e:
        logger.error(
            "skipped message %s in channel %s, which can't be read: %s",
            message.id,
            message.channel.id,
            describe_error(e),
        )
