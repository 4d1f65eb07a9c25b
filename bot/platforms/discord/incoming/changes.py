"""Edits and deletions missed without a connection: found by comparing the store with Discord's history."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import aiohttp
import discord

from bot.core.messages import Scope

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
    newest = [message async for message in channel.history(limit=NUM_MESSAGES)]
    there = {message.id for message in newest}
    oldest = min(there) if len(newest) == NUM_MESSAGES else 0
    return Changes(
        tuple(sorted(one for one in ids if one >= oldest and one not in there)),
        tuple(one for one in newest if one.id in ids and one.edited_at is not None and one.edited_at >= since),
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
    return found


def readable_channel(guild: discord.Guild, scope: Scope) -> discord.abc.Messageable | None:
    """Return the channel or thread of `scope` if the bot may read its history, else None."""
    channel = guild.get_channel_or_thread(int(scope.thread or scope.channel))
    if not isinstance(channel, discord.abc.Messageable):
        return None
    allowed = channel.permissions_for(guild.me)
    return channel if allowed.view_channel and allowed.read_message_history else None
