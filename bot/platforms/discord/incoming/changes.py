"""Edits and deletions missed without a connection: found by comparing the store with Discord's history."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import aiohttp
import discord

from bot.core.messages import Scope
from bot.platforms.discord.incoming.histories import read_page
from bot.platforms.discord.incoming.payloads import UNREADABLE, describe_error

logger = logging.getLogger(__name__)

# One request for each conversation; changes to older messages are not found.
NUM_MESSAGES: Final = 100

FindChannel = Callable[[Scope], discord.abc.Messageable | None]


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes to the stored messages of a conversation."""

    deleted_ids: tuple[int, ...] = ()
    edited: tuple[discord.Message, ...] = ()


async def find_changes(channel: discord.abc.Messageable, stored_ids: Collection[str], since: datetime) -> Changes:
    """Return which stored messages, among the newest of `channel`, were deleted, or edited after `since`.

    The bot needs the permission to read the channel's history: without it Discord returns an empty history.
    """
    ids = {int(stored_id) for stored_id in stored_ids}
    page = await read_page(channel, limit=NUM_MESSAGES)
    oldest = min(page.ids, default=0) if page.num == NUM_MESSAGES else 0
    # A message whose id can't be read may be any of them.
    gone = sorted(one for one in ids if one >= oldest and one not in page.ids) if page.knows_all else ()
    return Changes(
        tuple(gone),
        tuple(one for one in page.messages if one.id in ids and one.edited_at is not None and one.edited_at >= since),
    )


async def find_all_changes(
    stored: Mapping[Scope, Collection[str]], find_channel: FindChannel, since: datetime
) -> list[Changes]:
    """Return the changes in each conversation that `find_channel` finds; unreadable ones are left out."""
    found = []
    for scope, ids in stored.items():
        channel = find_channel(scope)
        if channel is None:
            continue
        try:
            found.append(await find_changes(channel, ids, since))
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            logger.info("could not read the changes in channel %s: %s", scope.channel, type(e).__name__)
        except UNREADABLE as e:
            logger.error("what Discord sent of channel %s can't be read: %s", scope.channel, describe_error(e))
    return found


def readable_channel(guild: discord.Guild, scope: Scope) -> discord.abc.Messageable | None:
    """Return the channel or thread of `scope` if the bot may read its history, else None."""
    channel = guild.get_channel_or_thread(int(scope.thread or scope.channel))
    if not isinstance(channel, discord.abc.Messageable):
        return None
    allowed = channel.permissions_for(guild.me)
    return channel if allowed.view_channel and allowed.read_message_history else None
