"""The card that the bot posts when it joins a server: what it can do, which permissions are missing, what it stores."""

import logging

import discord

from bot.commands.bot import Bot
from bot.core.cards import Card, Text
from bot.errors import FewshotError
from bot.platforms.discord.outgoing.permissions import listed, missing_permissions
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender

logger = logging.getLogger(__name__)


def find_place(guild: discord.Guild) -> discord.TextChannel | None:
    """Return the channel for the card: the server's system channel, else the first in which the bot may write."""
    channels = [channel for channel in (guild.system_channel, *guild.text_channels) if channel is not None]
    for channel in channels:
        allowed = channel.permissions_for(guild.me)
        if allowed.view_channel and allowed.send_messages:
            return channel
    return None


def welcome_card(
    *, bot_name: str, model_line: str, prefix: str, has_content: bool, missing: tuple[str, ...], retention_days: int
) -> Card:
    """Return the welcome card. Without `has_content` it says that typed commands are off."""
    ways = "Mention me, reply to me or send me a direct message, and I answer."
    commands = f"/help or {prefix}help shows what else I can do." if has_content else "/help shows what else I can do."
    texts = [
        Text(f"Hello, I am {bot_name}."),
        Text(f"{ways} {commands}"),
        Text(
            "Try /complete Once upon a time, /perplexity Can it does what? and /prompt list. Moderators choose how I"
            " behave here with /settings."
        ),
        Text(
            "What I store: messages to me, the messages that those reply to, and my answers, for"
            f" {retention_days} days. They stay on the machine that runs me. /privacy shows, exports and erases yours."
        ),
    ]
    if missing:
        texts.append(Text(f"I'm missing the {listed(missing)}, so I can't show some answers."))
    if not has_content:
        texts.append(
            Text(
                "I can't read messages that don't mention me or reply to me, so commands such as"
                f" {prefix}help work only after a mention. Slash commands always work."
            )
        )
    texts.append(Text(model_line, is_quiet=True))
    return Card(blocks=tuple(texts))


async def post_welcome(guild: discord.Guild, bot: Bot, sender: Sender, *, has_content: bool) -> None:
    """Post the card where the bot may write; if it may write nowhere, post nothing."""
    place = find_place(guild)
    if place is None:
        return
    card = welcome_card(
        bot_name=bot.name,
        model_line=bot.model_line,
        prefix=bot.command_prefix,
        has_content=has_content,
        missing=missing_permissions(place.permissions_for(guild.me)),
        retention_days=bot.retention_days,
    )
    try:
        await sender.send(place, render(card), request_id=f"hello-{guild.id}")
    except FewshotError as e:
        logger.warning("could not post the welcome card in server %s: %s", guild.id, e)
