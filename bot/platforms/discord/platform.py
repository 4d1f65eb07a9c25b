"""Discord as a Platform: other channels of a server, and answers that a restart interrupted."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import aiohttp
import discord

from bot.core.cards import Card, Text
from bot.core.messages import Message, Scope
from bot.core.safe_text import one_line
from bot.errors import DeliveryFailed, MessageGone, MissingPermission
from bot.platforms.discord.incoming.histories import read_history
from bot.platforms.discord.incoming.reading import read_message
from bot.platforms.discord.interactions.items import STOP_ID_PREFIX
from bot.platforms.discord.outgoing.notices import render_notice
from bot.platforms.discord.outgoing.outlets import ChannelOutlet, TokenOutlet
from bot.platforms.discord.outgoing.permissions import TO_SEND, listed, missing_in
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.shared.kept_clicks import click_of
from bot.platforms.shared.platform import Platform, Reopened
from bot.services.ledger import Accepted

_NUM_LOOKED_AT: Final = 50
# An answer counts as shown if so many characters of its start are visible; Discord may change the rest.
_NUM_COMPARED: Final = 200


class DiscordPlatform(Platform):
    """Discord, through a logged-in client."""

    def __init__(self, client: discord.Client, sender: Sender, *, command_prefix: str) -> None:
        self._client = client
        self._sender = sender
        self._command_prefix = command_prefix

    async def reopen(self, request: Accepted) -> Reopened:
        """Return the place of an answer: the token of its interaction, or its channel with the visible messages.

        Raises DeliveryFailed if the channel can't be read now, and MissingPermission if nothing can be sent there.
        """
        if request.token:
            is_click = click_of(request.message) is not None
            return Reopened(TokenOutlet(self._sender, self._client, request.token, is_apart=is_click))
        channel = self._channel(request.message.scope)
        if missing := missing_in(self._cached_channel(request.message.scope), TO_SEND):
            # Nothing is written that can't be shown; until it expires, somebody may allow it.
            raise MissingPermission(f"The bot is missing the {listed(missing)} in this channel.")
        try:
            message = await self._as_it_is_now(channel, request.message)
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
        is_whole = request.reply_text is not None and _shows(visible, request.reply_text)
        return Reopened(outlet, is_whole=is_whole, message=message)

    async def _as_it_is_now(self, channel: discord.PartialMessageable, asked: Message) -> Message | None:
        """Return the message that is answered with its present words; None if it was not edited."""
        me = self._client.user
        try:
            current = await channel.fetch_message(int(asked.id))
        except discord.NotFound as e:
            raise MessageGone("The message was deleted.") from e
        except discord.Forbidden:
            return None
        if me is None or current.edited_at is None:
            return None
        read = read_message(current, me, command_prefix=self._command_prefix)
        if read is None or read.text == asked.text:
            return None
        return replace(asked, text=read.text)

    async def post_notice(self, channel_id: str, notice: Card, cause: Message, notice_id: str) -> None:
        """Post `notice` with a link to the place of `cause`. Raises what the sender raises."""
        channel = self._channel_of_server(cause.scope, channel_id)
        if channel is None and cause.scope.has_server and self._client.get_guild(int(cause.scope.server)) is None:
            channel = await self._fetched_channel(cause.scope, channel_id)
        if channel is None:
            raise MissingPermission("This is not a text channel or thread of the server.")
        await self._sender.send(channel, render_notice(notice, cause), request_id=notice_id)

    async def delete(self, scope: Scope, sent_id: str) -> None:
        """Delete one of the bot's own messages. Raises what the sender raises."""
        await self._sender.delete(self._channel(scope).get_partial_message(int(sent_id)))

    def name_of(self, scope: Scope, id: str) -> str | None:
        """Return a role or channel of the server as people write it; None if there is none with that id."""
        guild = self._client.get_guild(int(scope.server)) if scope.has_server else None
        if guild is None:
            return id  # nothing is known of a server that is unavailable
        if not (id.isascii() and id.isdigit()):
            return None
        if role := guild.get_role(int(id)):
            return f"@{one_line(role.name).lstrip('@')}"
        channel = guild.get_channel_or_thread(int(id))
        return f"#{one_line(channel.name)}" if channel else None

    def _channel(self, scope: Scope) -> discord.PartialMessageable:
        place = int(scope.thread or scope.channel)
        if not scope.has_server:
            return self._client.get_partial_messageable(place, type=discord.ChannelType.private)
        return self._client.get_partial_messageable(place, guild_id=int(scope.server))

    def _cached_channel(self, scope: Scope) -> object:
        guild = self._client.get_guild(int(scope.server)) if scope.has_server else None
        return guild.get_channel_or_thread(int(scope.thread or scope.channel)) if guild else None

    def _channel_of_server(self, scope: Scope, channel_id: str) -> discord.abc.Messageable | None:
        """Return the channel, thread or voice channel's chat if it belongs to the server: nothing leaves a server."""
        guild = self._client.get_guild(int(scope.server)) if scope.has_server else None
        if guild is None or not (channel_id.isascii() and channel_id.isdigit()):
            return None
        channel = guild.get_channel_or_thread(int(channel_id))
        # A forum has posts, but no messages of its own.
        return channel if isinstance(channel, discord.abc.Messageable) else None

    async def _fetched_channel(self, scope: Scope, channel_id: str) -> discord.abc.Messageable | None:
        """Return a channel of a server whose events come to another program, None if the server has none like it.

        Raises DeliveryFailed if Discord can't be asked now.
        """
        try:
            channel = await self._client.fetch_channel(int(channel_id))
        except (discord.NotFound, discord.Forbidden, discord.InvalidData, ValueError):
            return None
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            raise DeliveryFailed(f"The channel can't be looked up now ({type(e).__name__}).") from e
        if isinstance(channel, discord.abc.PrivateChannel) or str(channel.guild.id) != scope.server:
            return None
        return channel if isinstance(channel, discord.abc.Messageable) else None

    async def _visible(self, channel: discord.PartialMessageable, request: Accepted) -> list[discord.Message]:
        """Return the messages that the bot has sent as the answer to `request`, stored or not."""
        me = self._client.user
        found = []
        try:
            async for message in read_history(channel, after=int(request.message.id), limit=_NUM_LOOKED_AT):
                reference = message.reference.message_id if message.reference else None
                is_answer = str(message.id) in request.sent_ids or str(reference) == request.message.id
                if me is not None and message.author.id == me.id and is_answer:
                    found.append(message)
        except (discord.Forbidden, discord.NotFound):
            return []
        # In a busy channel, the answer may have come after many others.
        for sent_id in set(request.sent_ids) - {str(message.id) for message in found}:
            with suppress(discord.NotFound):
                found.append(await channel.fetch_message(int(sent_id)))
        return sorted(found, key=lambda message: message.id)


def _shows(visible: Sequence[discord.Message], reply_text: str) -> bool:
    """Say whether the visible messages are the whole answer: finished, none missing, with its text."""
    is_being_written = any(STOP_ID_PREFIX in str(part.to_dict()) for sent in visible for part in sent.components)
    expected = render(Card(blocks=(Text(reply_text, is_model_text=True),)))
    if is_being_written or not expected.num_messages <= len(visible):
        return False
    start = one_line(expected.content[0])[:_NUM_COMPARED]
    return one_line(visible[0].content)[: len(start)] == start
