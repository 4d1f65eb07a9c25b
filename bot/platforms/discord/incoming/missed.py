"""Messages missed without a connection: read over REST after every lost session."""

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

# Ids contain times, but events of two channels may come in another order than their ids. So messages up to this much
# older than the last one are read again; those already accepted are known by their ids.
_SLACK_MS: Final = 10_000
# Messages too old to be answered are counted for the notice; at most so many are read in each channel.
_MAX_OLD_MESSAGES: Final = 1_000
_NUM_AT_ONCE: Final = 4
_ID_BITS_BELOW_MS: Final = 22


class History(Protocol):
    """A channel or thread, or a direct-message channel of which only the id is known."""

    id: int

    def history(
        self,
        *,
        limit: int | None,
        before: discord.abc.Snowflake | None = None,
        after: discord.abc.Snowflake,
        oldest_first: bool,
    ) -> AsyncIterator[discord.Message]:
        """Return the messages after `after` and before `before`."""


def start_of_gap(watermark: str) -> int:
    """Return the id after which messages are read again; `watermark` is the highest id that was handled."""
    return max(0, int(watermark) - (_SLACK_MS << _ID_BITS_BELOW_MS))


def channels_with_news(guilds: Iterable[discord.Guild], after: int) -> list[History]:
    """Return the readable channels and threads of `guilds` with messages after `after`."""
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
    """Pass every message after `after` in `channels` to `take`, oldest first in each; return whether all were read.

    All messages that can still be answered are read first. A channel that is gone or no longer readable is skipped.
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
                logger.warning("could not read the missed messages in channel %s: %s", channel.id, type(e).__name__)
                return False
            return True

    return all(await asyncio.gather(*(read(channel) for channel in channels)))
