"""Discord as a Platform: other channels of a server, and answers that a restart interrupted."""

from collections.abc import Sequence
from typing import Final

import aiohttp
import discord

from bot.core.cards import Card, Text
from bot.core.messages import Message, Scope
from bot.core.safe_text import one_line
from bot.errors import DeliveryFailed, MissingPermission
from bot.platforms.discord.interactions.items import STOP_ID_PREFIX
from bot.platforms.discord.outgoing.notices import render_notice
from bot.platforms.discord.outgoing.outlets import ChannelOutlet, TokenOutlet
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.shared.platform import Platform, Reopened
from bot.services.ledger import Accepted

_NUM_LOOKED_AT: Final = 50
# An answer counts as shown if so many characters of its start are visible; Discord may change the rest.
_NUM_COMPARED: Final = 200


class DiscordPlatform(Platform):
    """Discord, through a logged-in client."""

    def __init__(self, client: discord.Client, sender: Sender) -> None:
        self._client = client
        self._sender = sender

    async def reopen(self, request: Accepted) -> Reopened:
        """Return the place of an answer: the token of its interaction, or its channel with the visible messages.

        Raises DeliveryFailed if the channel can't be read now.
        """
        if request.token:
            return Reopened(TokenOutlet(self._sender, self._client, request.token))
        channel = self._channel(request.message.scope)
        try:
            visible = await self._visible(channel, request)
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            raise DeliveryFailed(f"The channel can't be read now ({type(e).__name__}).") from e
        message_id = request.message.id
        outlet = ChannelOutlet(
            self._sender,
            channel,
            request_id=message_id,
            reply_to=channel.get_partial_message(int(message_id)),
            sent=visible,
        )
        return Reopened(outlet, is_whole=request.reply_text is not None and _shows(visible, request.reply_text))

    async def post_notice(self, channel_id: str, notice: Card, cause: Message, notice_id: str) -> None:
        """Post `notice` with a link to the place of `cause`. Raises what the sender raises."""
        channel = self._channel_of_server(cause.scope, channel_id)
        if channel is None:
            raise MissingPermission("This is not a text channel or thread of the server.")
        await self._sender.send(channel, render_notice(notice, cause), request_id=notice_id)

    async def delete(self, scope: Scope, sent_id: str) -> None:
        """Delete one of the bot's own messages. Raises what the sender raises."""
        await self._sender.delete(self._channel(scope).get_partial_message(int(sent_id)))

    def _channel(self, scope: Scope) -> discord.PartialMessageable:
        place = int(scope.thread or scope.channel)
        if scope.is_direct:
            return self._client.get_partial_messageable(place, type=discord.ChannelType.private)
        return self._client.get_partial_messageable(place, guild_id=int(scope.server))

    def _channel_of_server(self, scope: Scope, channel_id: str) -> discord.TextChannel | discord.Thread | None:
        """Return the channel or thread if it belongs to the server: nothing leaves a server."""
        guild = None if scope.is_direct else self._client.get_guild(int(scope.server))
        if guild is None or not (channel_id.isascii() and channel_id.isdigit()):
            return None
        channel = guild.get_channel_or_thread(int(channel_id))
        return channel if isinstance(channel, discord.TextChannel | discord.Thread) else None

    async def _visible(self, channel: discord.PartialMessageable, request: Accepted) -> list[discord.Message]:
        """Return the messages that the bot has sent as the answer to `request`, stored or not."""
        me = self._client.user
        found = []
        try:
            start = discord.Object(int(request.message.id))
            async for message in channel.history(limit=_NUM_LOOKED_AT, after=start, oldest_first=True):
                reference = message.reference.message_id if message.reference else None
                is_answer = str(message.id) in request.sent_ids or str(reference) == request.message.id
                if me is not None and message.author.id == me.id and is_answer:
                    found.append(message)
        except (discord.Forbidden, discord.NotFound):
            return []
        return found


def _shows(visible: Sequence[discord.Message], reply_text: str) -> bool:
    """Say whether the visible messages are the whole answer: finished, none missing, with its text."""
    is_being_written = any(STOP_ID_PREFIX in str(part.to_dict()) for sent in visible for part in sent.components)
    expected = render(Card(blocks=(Text(reply_text, is_model_text=True),)))
    if is_being_written or not expected.num_messages <= len(visible):
        return False
    start = one_line(expected.content[0])[:_NUM_COMPARED]
    return one_line(visible[0].content)[: len(start)] == start
