"""Incoming messages, edits and deletions: those for the bot are accepted, none is lost, none is handled twice."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import aiohttp
import discord

from bot.commands.bot import Bot
from bot.core.cards import error_card
from bot.core.messages import DIRECT_MESSAGES, Message, Scope, now_utc
from bot.errors import RequestError, Unavailable
from bot.platforms.discord.incoming.attachments import read_text_attachment
from bot.platforms.discord.incoming.changes import NUM_MESSAGES, find_all_changes, readable_channel
from bot.platforms.discord.incoming.gaps import Gaps
from bot.platforms.discord.incoming.missed import channels_with_news, start_of_gap, take_missed
from bot.platforms.discord.incoming.reading import read_edit, read_message, read_replied
from bot.platforms.discord.incoming.too_late import TooLate
from bot.platforms.discord.outgoing.outlets import ChannelOutlet
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.discord.traits import ANSWERABLE_S, DISCORD
from bot.platforms.shared.answering import Answering, Responder, answer_with
from bot.services.ledger import Delivery
from bot.trace import note_step

logger = logging.getLogger(__name__)

# A message that mentions the bot only after an edit counts as new for this long.
_EDITED_IN: Final = timedelta(minutes=5)
_MAX_PAUSE_S: Final = 30.0
# After a gap each of these costs one request.
_MAX_COMPARED_CHANNELS: Final = 50


class Intake:
    """Handles what the gateway and REST deliver. Up to the watermark of a shard, every message has been handled.

    `me` is the bot's user.
    """

    def __init__(
        self,
        bot: Bot,
        delivery: Delivery,
        answering: Answering,
        sender: Sender,
        *,
        me: discord.abc.User,
        session: aiohttp.ClientSession,
        owner_ids: frozenset[str],
        file_origins: Sequence[str],
    ) -> None:
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._session = session
        self._sender = sender
        self._owner_ids = owner_ids
        self._file_origins = file_origins
        self._gaps: dict[int, Gaps] = {}
        self._stack = AsyncExitStack()
        self._late_guilds: dict[int, int] = {}
        self._is_closing = False
        self._waiting_ids: set[int] = set()
        self._me = me
        self._too_late = TooLate(sender)

    async def expect(self, shard_id: int, num_shards: int) -> None:
        """Prepare for a new session of a shard: the messages sent before it have to be read back."""
        if shard_id not in self._gaps:
            if not self._gaps:
                # With another number of shards, the servers of each shard change.
                await self._delivery.regroup_watermarks(*(f"{number}/{num_shards}" for number in range(num_shards)))
            opening = self._delivery.watermark(f"{shard_id}/{num_shards}")
            watermark = await self._stack.enter_async_context(opening)
            if watermark.seen.value is None:
                # The first start ever: no earlier message is for the bot. Saved at once, or else the next start would
                # count as the first.
                watermark.seen.done(str(discord.utils.time_snowflake(now_utc())))
                await watermark.save()
            self._gaps[shard_id] = Gaps(watermark.seen)
        self._gaps[shard_id].begin_again()

    def lost(self, shard_id: int) -> None:
        """Note that a shard's connection broke."""
        if shard_id in self._gaps:
            self._gaps[shard_id].is_lost()

    def connected(self, shard_id: int) -> None:
        """Note that a shard's session has started, or was resumed and Discord has sent what was missed."""
        if shard_id in self._gaps:
            self._gaps[shard_id].is_connected()

    def saw(self, message: discord.Message) -> None:
        """Note a message as soon as it arrives."""
        if (gaps := self._gaps_of(message)) is not None:
            gaps.seen.saw(str(message.id))

    async def close(self) -> None:
        """Accept nothing more, and save the watermarks."""
        self._is_closing = True
        await self._stack.aclose()

    def stop_taking(self) -> None:
        """Accept nothing more; the next start handles what comes from now on."""
        self._is_closing = True

    async def take(self, message: discord.Message) -> None:
        """Accept a message if it is for the bot, and start its answer; try until the database can be read."""
        num_tries = 0
        while not self._is_closing:
            try:
                await self._take_once(message)
            except Unavailable as e:
                logger.warning("could not handle a message in channel %s yet: %s", message.channel.id, e)
            else:
                break
            self._waiting_ids.add(message.id)
            await asyncio.sleep(min(_MAX_PAUSE_S, 2.0**num_tries))
            if message.id not in self._waiting_ids:  # deleted meanwhile
                self._done(message)
                break
            num_tries += 1
        self._waiting_ids.discard(message.id)

    async def _take_once(self, message: discord.Message) -> None:
        """Accept a message if it is for the bot. Raises Unavailable, and leaves it to do, if that can't be known."""
        if self._is_closing:
            return
        try:
            await self._accept(message)
        except Unavailable:
            raise
        except BaseException:
            self._done(message)
            raise
        self._done(message)

    def _done(self, message: discord.Message) -> None:
        if (gaps := self._gaps_of(message)) is not None:
            gaps.seen.done(str(message.id))

    async def edited(self, event: discord.RawMessageUpdateEvent) -> None:
        """Store the new text of an edited message, and start its answer again if it is being written."""
        if self._is_closing:
            return
        message = read_edit(event, self._me, owner_ids=self._owner_ids, command_prefix=self._bot.command_prefix)
        if message is None:
            return
        await self._bot.edited(message)
        if self._answering.is_open(message.id) and not await self._bot.is_wanted(message):
            # An edit that removes the bot's name takes the question back.
            await self.deleted([event.message_id])
            return
        is_answered_again = await self._answering.edited(message)
        if not is_answered_again and now_utc() - message.created_at_utc < _EDITED_IN:
            await self._accept(event.message)

    async def deleted(self, message_ids: Sequence[int]) -> None:
        """Erase deleted messages, also the bot's own, and cancel the answers being written to them."""
        self._waiting_ids.difference_update(message_ids)
        ids = [str(message_id) for message_id in message_ids]
        for message_id in ids:
            await self._answering.withdrawn(message_id)
        await self._bot.deleted(DISCORD.key, ids)

    async def read_back(
        self, shard_id: int, guilds: Sequence[discord.Guild], direct: Sequence[discord.PartialMessageable]
    ) -> None:
        """Handle what was sent in `guilds` and `direct` channels without a session; try until everything is read."""
        gaps = self._gaps[shard_id]
        session = gaps.session
        num_tries = 0
        while not self._is_closing and gaps.session == session:
            after = start_of_gap(gaps.seen.value or "0")
            for guild in guilds:
                if guild.unavailable:
                    self._late_guilds.setdefault(guild.id, after)
            channels = [*channels_with_news(guilds, after), *direct]
            if await take_missed(channels, after, self._take_missed):
                gaps.was_read(session)
                await self._take_changes(guilds, direct, discord.utils.snowflake_time(after))
                break
            await asyncio.sleep(min(_MAX_PAUSE_S, 2.0**num_tries))
            num_tries += 1
        if not self._is_closing:
            await self._too_late.tell()

    async def _take_changes(
        self, guilds: Sequence[discord.Guild], direct: Sequence[discord.PartialMessageable], since: datetime
    ) -> None:
        """Handle the edits and deletions since `since` in the conversations used last."""
        guild_of = {str(guild.id): guild for guild in guilds}
        direct_of = {str(channel.id): channel for channel in direct}

        def find_channel(scope: Scope) -> discord.abc.Messageable | None:
            if scope.is_direct:
                return direct_of.get(scope.channel)
            return readable_channel(guild_of[scope.server], scope)

        servers = [*guild_of, *([DIRECT_MESSAGES] if direct else [])]
        try:
            stored = await self._delivery.visible_ids(
                servers, num_conversations=_MAX_COMPARED_CHANNELS, num_each=NUM_MESSAGES
            )
            for changes in await find_all_changes(stored, find_channel, since):
                await self.deleted(changes.deleted_ids)
                for message in changes.edited:
                    read = self._read(message)
                    if read is not None:
                        await self._bot.edited(read)
        except Unavailable as e:
            logger.warning("could not handle missed edits and deletions: %s", e)

    def _read(self, message: discord.Message) -> Message | None:
        return read_message(message, self._me, owner_ids=self._owner_ids, command_prefix=self._bot.command_prefix)

    async def read_back_late(self, guild: discord.Guild) -> None:
        """Handle what was sent in a server that was unavailable when its shard was read back."""
        after = self._late_guilds.get(guild.id)
        if after is not None and await take_missed(channels_with_news([guild], after), after, self._take_missed):
            # After a failure the next session reads it.
            self._late_guilds.pop(guild.id, None)

    async def _take_missed(self, message: discord.Message) -> None:
        self.saw(message)
        if message.guild is not None and isinstance(message.author, discord.User) and self._may_be_wanted(message):
            # A message read over REST does not contain the roles of its author.
            try:
                message.author = await message.guild.fetch_member(message.author.id)
            except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError):
                logger.info("could not read the roles of an author in server %s", message.guild.id)
        # If it fails, the whole channel is read again.
        await self._take_once(message)

    def _may_be_wanted(self, message: discord.Message) -> bool:
        return not message.author.bot and now_utc() - message.created_at < timedelta(seconds=ANSWERABLE_S)

    def _is_too_old(self, message: Message) -> bool:
        return now_utc() - message.created_at_utc > timedelta(seconds=ANSWERABLE_S)

    def _tell(self, message: discord.Message, read: Message, error: Unavailable) -> None:
        """Answer a message that could not be accepted with the sentence of `error`."""
        outlet = ChannelOutlet(self._sender, message.channel, request_id=read.id, reply_to=message)
        # Without the id of the message that it replies to, so that nothing is read again.
        answer = answer_with(error_card(str(error)))
        self._answering.begin(replace(read, reply_to=None), outlet, is_kept=False, answer=answer)

    async def _accept(self, message: discord.Message) -> None:
        read = self._read(message)
        if read is None:
            return
        try:
            place = await self._bot.place_where_wanted(read)
        except Unavailable as e:
            if not self._bot.is_meant(read) or self._is_too_old(read):
                raise
            self._tell(message, read, e)
            return
        if place is None:
            return
        if self._is_too_old(read):
            if not await self._delivery.is_known(read.id):
                self._too_late.note(message)
            return
        answer: Responder = partial(self._bot.answer, place=place)
        try:
            attachment = await read_text_attachment(
                message.attachments, self._session, allowed_origins=self._file_origins
            )
            read = replace(read, attachment=attachment)
        except RequestError as e:
            answer = answer_with(error_card(str(e)))
        try:
            replied = read_replied(message, self._me, command_prefix=self._bot.command_prefix)
            if replied is not None:
                await self._bot.keep(replied)
            if not await self._delivery.accept(read):
                return
            note_step(read.id, "received")
        except Unavailable as e:
            self._tell(message, read, e)
            return
        outlet = ChannelOutlet(self._sender, message.channel, request_id=read.id, reply_to=message)
        self._answering.begin(read, outlet, answer=answer)

    def _gaps_of(self, message: discord.Message) -> Gaps | None:
        guild = message.guild
        # The first shard receives the direct messages.
        return self._gaps.get(guild.shard_id if guild is not None else 0)
