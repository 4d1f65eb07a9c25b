"""Notices for other channels of a server, with a link to their origin."""

from typing import Final

import discord

from bot.core.cards import Card
from bot.core.messages import Message
from bot.platforms.discord.outgoing.rendering import Rendering, render

_ADDRESS: Final = "https://discord.com/channels"


def render_notice(notice: Card, cause: Message) -> Rendering:
    """Return the notice with a link to the message that `cause` replies to, or else to the channel of `cause`."""
    rendering = render(notice, as_layout=True)
    scope = cause.scope
    address = "/".join(filter(None, (_ADDRESS, scope.server, scope.thread or scope.channel, cause.reply_to)))
    label = "Go to message" if cause.reply_to else "Go to channel"
    link: discord.ui.Button[discord.ui.LayoutView] = discord.ui.Button(label=label, url=address)
    if rendering.layout is not None:
        rendering.layout.add_item(discord.ui.ActionRow(link))
    return rendering
