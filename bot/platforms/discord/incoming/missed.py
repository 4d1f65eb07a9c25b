"""What was said while the gateway was away: asked of Discord's REST interface after every session that was lost."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final, Protocol

import aiohttp
import discord

from bot.core.messages import now_utc
from bot.errors import Unavailable
from bot.platforms.discord.traits import ANSWERABLE_S

logger = logging.getLogger(__name__)

# Ids are times, but two channels' events may come in another order than their ids: what is this much older than the
# last one seen is asked for again. Whatever was accepted already is known by its id.
_SLACK_MS: Final = 10_000
# Of what is too old to be answered, so much of each channel is read, to be told of.
_MAX_OLD_MESSAGES: Final = 1_000
_NUM_AT_ONCE: Final = 4
_ID_BITS_BELOW_MS: Final = 22


class History(Protocol):
    """A channel or thread, or a direct message's channel known by its id alone."""

    id: int

    def history(
        self,
        *,
        limit: int | None,
        before: discord.abc.Snowflake | None = None,
        after: discord.abc.Snowflake,
        oldest_first: bool,
    ) -> AsyncIterator[discord.Message]:
        """Return the messages after one and before another."""


def start_of_gap(watermark: str) -> int:
    """Return the id after which everything is asked for again, given the highest id that was dealt with."""
    return max(0, int(watermark) - (_SLACK_MS << _ID_BITS_BELOW_MS))


def channels_with_news(guilds: Iterable[discord.Guild], after: int) -> list[History]:
    """Return the channels and threads of `guilds` in which something was said after `after` and that may be read."""
    found: list[History] = []
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
    channels: Sequence[History], after: int, take: Callable[[discord.Message], Awaitable[None]]
) -> bool:
    """Hand every message after `after` in `channels` to `take`, oldest first in each; return whether all were read.

    What may still be answered is read first, however much it is. A channel that went away or can't be read any more
    holds nothing to be answered.
    """
    places = asyncio.Semaphore(_NUM_AT_ONCE)
    answerable = discord.utils.time_snowflake(now_utc() - timedelta(seconds=ANSWERABLE_S))
    recent, start = discord.Object(max(after, answerable)), discord.Object(after)

    async def read(channel: History) -> bool:
        async with places:
            try:
                async for message in channel.history(limit=None, after=recent, oldest_first=True):
                    await take(message)
                if start.id < recent.id:
                    end = discord.Object(recent.id + 1)
                    old = channel.history(limit=_MAX_OLD_MESSAGES, before=end, after=start, oldest_first=True)
                    async for message in old:
                        await take(message)
            except (discord.Forbidden, discord.NotFound):
                return True
            except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError, Unavailable) as e:
                logger.warning("messages missed in channel %s can't be read: %s", channel.id, type(e).__name__)
                return False
            return True

    return all(await asyncio.gather(*(read(channel) for channel in channels)))
