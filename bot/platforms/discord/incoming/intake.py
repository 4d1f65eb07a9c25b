"""Incoming messages, edits and deletions: those for the bot are accepted, none is lost, none is handled twice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
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
from bot.core.picture import Picture
from bot.errors import RequestError, Unavailable
from bot.platforms.discord.incoming.attachments import read_attached_pictures, read_text_attachment
from bot.platforms.discord.incoming.changes import NUM_MESSAGES, find_all_changes, readable_channel
from bot.platforms.discord.incoming.gaps import Gaps
from bot.platforms.discord.incoming.missed import channels_with_news, start_of_gap, take_missed
from bot.platforms.discord.incoming.missed_authors import MissedAuthors
from bot.platforms.discord.incoming.payloads import UNREADABLE, describe_error
from bot.platforms.discord.incoming.reading import read_edit, read_message, read_replied
from bot.platforms.discord.incoming.too_late import TooLate
from bot.platforms.discord.outgoing.outlets import ChannelOutlet
from bot.platforms.discord.outgoing.permissions import TO_REACT, TO_SEND, missing_in
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.discord.traits import ANSWERABLE_S, DISCORD
from bot.platforms.shared.answering import Answering, Responder, answer_with
from bot.platforms.shared.arrivals import Arrivals
from bot.platforms.shared.refusals import MARK
from bot.platforms.shared.trying import until_available
from bot.services.ledger import Delivery
from bot.services.places import Place
from bot.trace import note_step

logger = logging.getLogger(__name__)

FindDirect = Callable[[], Awaitable[Sequence[discord.PartialMessageable]]]

# A message that mentions the bot only after an edit counts as new for this long.
_EDITED_IN: Final = timedelta(minutes=5)
_TAKEN_BACK: Final = "An earlier edit took this question back. Send it as a new message."
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
        self._edits: dict[int, Message] = {}
        self._is_closing = False
        self._waiting_ids: set[int] = set()
        self._me = me
        self._too_late = TooLate(sender)
        self._missed_authors = MissedAuthors()
        self.arrivals = Arrivals()

    async def expect(self, shard_id: int, num_shards: int) -> None:
        """Prepare for a new session of a shard: the messages sent before it have to be read back."""
        if shard_id not in self._gaps:
            await self._until_done(lambda: self._open_gaps(shard_id, num_shards), "a watermark")
        if shard_id in self._gaps:
            self._gaps[shard_id].begin_again()

    async def _open_gaps(self, shard_id: int, num_shards: int) -> None:
        """Open the watermark of a shard. Raises Unavailable."""
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
                logger.info("could not handle a message in channel %s yet: %s", message.channel.id, e)
            else:
                break
            self._waiting_ids.add(message.id)
            await asyncio.sleep(min(_MAX_PAUSE_S, 2.0**num_tries))
            if message.id not in self._waiting_ids:  # deleted meanwhile
                self._done(message)
                break
            num_tries += 1
        self._waiting_ids.discard(message.id)

    async def _take_once(self, message: discord.Message, *, is_missed: bool = False) -> None:
        """Accept a message if it is for the bot. Raises Unavailable, and leaves it to do, if that can't be known.

        `is_missed` says that it was read over REST.
        """
        if self._is_closing:
            return
        try:
            await self._accept(message, is_missed=is_missed)
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
        self._edits[event.message_id] = message
        try:
            await self.arrivals.edited(event.message_id, message)
            await self._until_done(lambda: self._store_edit(event.message_id, message), "an edit")
            if self._edits.get(event.message_id) is not message:
                return  # edited again meanwhile
        finally:
            if self._edits.get(event.message_id) is message:
                del self._edits[event.message_id]
        if self._answering.is_open(message.id) and not await self._is_still_wanted(message):
            # An edit that removes the bot's name takes the question back.
            await self.deleted([event.message_id])
            return
        if self._bot.is_gone(DISCORD.key, message.id):
            # Taken back by an earlier edit; its id was answered, so it can't be asked again.
            if await self._is_still_wanted(message):
                self._refuse(event.message, message, _TAKEN_BACK)
            return
        is_answered_again = await self._answering.edited(message)
        if not is_answered_again and now_utc() - message.created_at_utc < _EDITED_IN:
            await self._accept(event.message)

    async def deleted(self, message_ids: Sequence[int]) -> None:
        """Erase deleted messages, also the bot's own, and cancel the answers being written to them."""
        self._waiting_ids.difference_update(message_ids)
        ids = [str(message_id) for message_id in message_ids]
        self._bot.note_gone(DISCORD.key, ids)
        for message_id in ids:
            await self._answering.withdrawn(message_id)
        await self._until_done(lambda: self._bot.deleted(DISCORD.key, ids), "a deletion")

    async def _store_edit(self, message_id: int, message: Message) -> None:
        """Store an edit, unless a later one has come: the words of the last one count."""
        if self._edits.get(message_id) is message:
            await self._bot.edited(message)

    async def _is_still_wanted(self, message: Message) -> bool:
        """Say whether an edited message is to be answered; without the database, as far as its words say so."""
        try:
            return await self._bot.is_wanted(message)
        except Unavailable:
            return self._bot.is_meant(message)

    async def _until_done(self, store: Callable[[], Awaitable[None]], what: str) -> None:
        """Try to store what happened until the database takes it: Discord says it once."""
        await until_available(store, what, gives_up=lambda: self._is_closing)

    async def read_back(self, shard_id: int, guilds: Sequence[discord.Guild], find_direct: FindDirect | None) -> None:
        """Handle what was sent without a session; try until everything is read.

        That is in `guilds` and the direct messages that `find_direct` finds; it may raise Unavailable.
        """
        gaps = self._gaps[shard_id]
        session = gaps.session
        num_tries = 0
        while not self._is_closing and gaps.session == session:
            after = start_of_gap(gaps.seen.value or "0")
            for guild in guilds:
                if guild.unavailable:
                    self._late_guilds.setdefault(guild.id, after)
            direct = await self._found(find_direct)
            channels = [*channels_with_news(guilds, after), *(direct or ())]
            if await take_missed(channels, after, self._take_missed) and direct is not None:
                gaps.was_read(session)
                await self._take_changes(guilds, direct, discord.utils.snowflake_time(after))
                break
            await asyncio.sleep(min(_MAX_PAUSE_S, 2.0**num_tries))
            num_tries += 1
        if not self._is_closing:
            await self._too_late.tell()

    async def _found(self, find_direct: FindDirect | None) -> Sequence[discord.PartialMessageable] | None:
        """Return the channels of direct messages, None if the database can't be read now."""
        try:
            return () if find_direct is None else await find_direct()
        except Unavailable as e:
            logger.warning("could not look up the direct messages to read back: %s", e)
            return None

    async def _take_changes(
        self, guilds: Sequence[discord.Guild], direct: Sequence[discord.PartialMessageable], since: datetime
    ) -> None:
        """Handle the edits and deletions since `since` in the conversations used last."""
        guild_of = {str(guild.id): guild for guild in guilds}
        direct_of = {str(channel.id): channel for channel in direct}

        def find_channel(scope: Scope) -> discord.abc.Messageable | None:
            if not scope.has_server:
                return direct_of.get(scope.channel)
            return readable_channel(guild_of[scope.server], scope)

        servers = [*guild_of, *([DIRECT_MESSAGES] if direct else [])]
        stored: dict[Scope, Sequence[str]] = {}

        async def look_up() -> None:
            found = await self._delivery.visible_ids(
                servers, num_conversations=_MAX_COMPARED_CHANNELS, num_each=NUM_MESSAGES
            )
            stored.update(found)

        await self._until_done(look_up, "missed edits and deletions")
        for changes in await find_all_changes(stored, find_channel, since):
            await self.deleted(changes.deleted_ids)
            for message in changes.edited:
                await self._take_edited(message)

    async def _take_edited(self, message: discord.Message) -> None:
        """Store a missed edit; skip one that can't be read."""
        try:
            read = self._read(message)
        except UNREADABLE as e:
            logger.error("skipped an edit of message %s, which can't be read: %s", message.id, describe_error(e))
            return
        if read is not None:
            await self._until_done(lambda: self._bot.edited(read), "a missed edit")
            if self._answering.is_running(read.id):
                await self._answering.edited(read)

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
        # If it fails, the whole channel is read again.
        await self._take_once(message, is_missed=True)

    async def _with_roles(self, message: discord.Message, read: Message) -> Message:
        """Return a message read over REST with the roles of its author, which it does not contain."""
        if message.guild is None or isinstance(message.author, discord.Member):
            return read
        member = await self._missed_authors.find(message.guild, message.author.id)
        if member is None:
            return read
        message.author = member
        return self._read(message) or read

    def _is_too_old(self, message: Message) -> bool:
        return now_utc() - message.created_at_utc > timedelta(seconds=ANSWERABLE_S)

    def _tell(self, message: discord.Message, read: Message, error: Unavailable) -> None:
        """Answer a message that could not be accepted with the sentence of `error`."""
        self._refuse(message, read, str(error))

    def _refuse(self, message: discord.Message, read: Message, sentence: str) -> None:
        outlet = ChannelOutlet(self._sender, message.channel, request_id=read.id, reply_to=message)
        # Without the id of the message that it replies to, so that nothing is read again.
        answer = answer_with(error_card(sentence))
        self._answering.begin(replace(read, reply_to=None), outlet, is_kept=False, answer=answer)

    async def _pass_over(self, message: discord.Message, read: Message) -> None:
        """Do nothing for a message that can't be answered in its channel, but tell the operator, and mark it."""
        await self._sender.tell_missing(message.channel.id, TO_SEND)
        if self._bot.is_meant(read) and not missing_in(message.channel, TO_REACT):
            await self._sender.react(message, MARK)

    async def _accept(self, message: discord.Message, *, is_missed: bool = False) -> None:
        replied_id = message.reference.message_id if message.reference else None
        with self.arrivals.storing([message.id] if replied_id is None else [message.id, replied_id]):
            await self._accept_arrived(message, is_missed=is_missed)

    async def _accept_arrived(self, message: discord.Message, *, is_missed: bool) -> None:
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
        if missing_in(message.channel, TO_SEND):
            await self._pass_over(message, read)
            return
        if self._is_too_old(read):
            if not await self._delivery.is_known(read.id):
                self._too_late.note(message)
            return
        if is_missed and not await self._delivery.is_known(read.id):
            read = await self._with_roles(message, read)
        answer: Responder = partial(self._bot.answer, place=place)
        try:
            file = await read_text_attachment(message.attachments, self._session, allowed_origins=self._file_origins)
            if file is not None:
                read = replace(read, attachment=file.text, attachment_format=file.format)
            if self._bot.sees_pictures(read, place):
                read = replace(read, pictures=await self._pictures_of(message))
        except RequestError as e:
            answer = answer_with(error_card(str(e)))
        try:
            await self._keep_replied(message, read, place)
            is_new = await self._delivery.accept(read)
        except Unavailable:
            # Commands that store nothing work on a full disk as well; the others say why they can't.
            is_kept = False
        else:
            is_kept = True
            if not is_new:
                return
        # Deleted meanwhile: from here to the start of the answer nothing else runs.
        if self._bot.is_gone(DISCORD.key, read.id):
            return
        note_step(read.id, "received")
        if (latest := self.arrivals.latest(message.id)) is not None:
            read = read.with_edit(latest)
        outlet = ChannelOutlet(self._sender, message.channel, request_id=read.id, reply_to=message)
        self._answering.begin(read, outlet, is_kept=is_kept, answer=answer)
        if not is_kept:
            self._answering.keep_later(read)

    async def _pictures_of(self, message: discord.Message) -> tuple[Picture, ...]:
        return await read_attached_pictures(message.attachments, self._session, allowed_origins=self._file_origins)

    async def _keep_replied(self, message: discord.Message, read: Message, place: Place) -> None:
        """Store what `message`, which is `read`, replies to, with the pictures that the model sees. Raises Unavailable.

        Pictures that can't be read are left out: who asks can't change them.
        """
        replied = read_replied(message, self._me, command_prefix=self._bot.command_prefix)
        shown = message.reference.resolved if message.reference else None
        if replied is None or not isinstance(shown, discord.Message):
            return
        sees_pictures = self._bot.sees_pictures(replace(read, picture_ids=replied.picture_ids), place)
        if sees_pictures and not await self._bot.is_stored_in(replied.scope, [replied.id]):
            try:
                replied = replace(replied, pictures=await self._pictures_of(shown))
            except RequestError as e:
                logger.info("pictures of a message in channel %s can't be read: %s", message.channel.id, e)
        await self._bot.keep(replied)

    def _gaps_of(self, message: discord.Message) -> Gaps | None:
        guild = message.guild
        # The first shard receives the direct messages.
        return self._gaps.get(guild.shard_id if guild is not None else 0)
