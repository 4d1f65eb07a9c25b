"""The card that the bot posts when it joins a channel: what it can do and what it stores, once for each channel."""

import logging

from bot.commands.bot import Bot
from bot.core.cards import Card, Text
from bot.errors import FewshotError
from bot.platforms.slack.ids import Address
from bot.platforms.slack.outgoing.rendering import render
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.workspaces import Workspace

logger = logging.getLogger(__name__)


def welcome_card(*, bot_name: str, model_line: str, prefix: str, retention_days: int) -> Card:
    """Return the welcome card."""
    return Card(
        blocks=(
            Text(f"Hello, I am {bot_name}."),
            Text(
                "Mention me, and I answer in a thread; there I answer everything that you write."
                f" {prefix}help shows what else I can do, and my Home tab shows the templates."
            ),
            Text(
                f"Try {prefix}complete Once upon a time, {prefix}perplexity Can it does what? and {prefix}prompt list."
                f" Moderators choose how I behave here with {prefix}settings."
            ),
            Text(
                "What I store: messages to me, messages that you ask me about from their menu, and my answers, for"
                f" {retention_days} days. They stay on the machine that runs me. {prefix}privacy shows, exports and"
                " erases yours."
            ),
            Text(model_line, is_quiet=True),
        )
    )


async def post_welcome(sender: Sender, workspace: Workspace, channel: str, bot: Bot) -> None:
    """Post the card; joined again, a channel is not told twice."""
    card = welcome_card(
        bot_name=bot.name, model_line=bot.model_line, prefix=bot.command_prefix, retention_days=bot.retention_days
    )
    address, request_id = Address(workspace.team, channel), f"{workspace.team}.{channel}.welcome"
    try:
        if await sender.find(address, request_id) is None:
            await sender.post(address, render(card), request_id=request_id)
    except FewshotError as e:
        logger.info("could not post the welcome card in channel %s: %s", channel, e)
