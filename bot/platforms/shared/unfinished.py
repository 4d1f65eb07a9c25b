"""What was accepted and not answered when the program ended: answered now, exactly once, or told to have expired."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import aiohttp
import discord

from bot.commands.bot import Bot
from bot.core.cards import Card, Text, error_card
from bot.core.messages import Message
from bot.core.safe_text import one_line
from bot.errors import Unavailable
from bot.platforms.discord.incoming.reading import DIRECT_MESSAGES
from bot.platforms.discord.outgoing.outlets import ChannelOutlet, TokenOutlet
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.shared.answering import Answering, answer_with
from bot.platforms.shared.streaming import Outlet
from bot.services.ledger import Accepted, Delivery

logger = logging.getLogger(__name__)

_EXPIRED: Final = "I was away when you asked this, and it is too long ago to answer now; ask again."
# How long after a failure Discord is asked again whether it is there.
PAUSE_S: Final = 15.0
_NUM_LOOKED_AT: Final = 50
# So much of an answer must be visible for it to count as shown: the platform may show the rest in another form.
_NUM_COMPARED: Final = 200


class Unfinished:
    """Reads back what is visible before anything is sent again."""

    def __init__(
        self,
        client: discord.Client,
        bot: Bot,
        delivery: Delivery,
        answering: Answering,
        sender: Sender,
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._client = client
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._sender = sender
        self._pause_s = pause_s
        self._accepted: Sequence[Accepted] = ()

    async def load(self) -> None:
        """Read what there is, before there is a connection: what is accepted from then on is answered already."""
        try:
            self._accepted = await self._delivery.unfinished()
        except Unavailable as e:
            logger.warning("unfinished requests can't be read: %s", e)

    async def answer_all(self) -> None:
        """Go on with every request that was loaded, the oldest first."""
        accepted, self._accepted = self._accepted, ()
        await self._answer(accepted)
        if accepted:
            logger.info("went on with %d requests of the last run", len(accepted))

    async def answer_undelivered(self) -> None:
        """Go on, every now and then, with the requests whose answers could not be shown; runs until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s)
            undelivered = self._answering.take_undelivered()
            if not undelivered:
                continue
            try:
                accepted = await self._delivery.unfinished()
            except Unavailable as e:
                logger.warning("unfinished requests can't be read: %s", e)
                for message_id in undelivered:
                    self._answering.leave(message_id)
                continue
            await self._answer([request for request in accepted if request.message.id in undelivered])

    async def _answer(self, accepted: Sequence[Accepted]) -> None:
        for request in accepted:
            if self._answering.is_running(request.message.id):  # after an edit
                continue
            try:
                await self._go_on(request)
            except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError, Unavailable) as e:
                logger.warning(
                    "a request in channel %s can't be gone on with: %s", request.message.scope.channel, type(e).__name__
                )
                self._answering.leave(request.message.id)

    async def _go_on(self, request: Accepted) -> None:
        message = request.message
        if request.is_erased:
            await self._delivery.finish(message.id, "cancelled")
            return
        outlet: Outlet
        if request.token:
            if request.is_expired:  # so is the token: nothing can be shown any more
                await self._delivery.finish(message.id, "expired")
                return
            outlet = TokenOutlet(self._sender, self._client, request.token)
        else:
            channel = self._channel(message)
            visible = await self._visible(channel, request)
            if request.reply_text is not None and _shows(visible, request.reply_text):
                for position, sent in enumerate(visible):
                    await self._delivery.note_sent(message.id, str(sent.id), position)
                await self._delivery.finish(message.id, "answered")
                return
            outlet = ChannelOutlet(
                self._sender, channel, request_id=message.id, reply_to=_reference(channel, message), sent=visible
            )
        if request.is_expired:
            self._answering.begin(message, outlet, answer=answer_with(error_card(_EXPIRED)), outcome="expired")
            return
        await self._delivery.discard_reply(message.id)
        self._answering.begin(message, outlet)

    def _channel(self, message: Message) -> discord.PartialMessageable:
        scope = message.scope
        place = int(scope.thread or scope.channel)
        if scope.server == DIRECT_MESSAGES:
            return self._client.get_partial_messageable(place, type=discord.ChannelType.private)
        return self._client.get_partial_messageable(place, guild_id=int(scope.server))

    async def _visible(self, channel: discord.PartialMessageable, request: Accepted) -> list[discord.Message]:
        """Return what the bot has sent already in answer to `request`, known or not known to the store."""
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


def _reference(channel: discord.PartialMessageable, message: Message) -> discord.PartialMessage:
    return channel.get_partial_message(int(message.id))


def _shows(visible: Sequence[discord.Message], reply_text: str) -> bool:
    """Say whether visible messages are the whole answer: no longer being written, none missing, and with its words."""
    is_being_written = any("fewshot-stop:" in str(part.to_dict()) for sent in visible for part in sent.components)
    expected = render(Card(blocks=(Text(reply_text, is_model_text=True),)))
    if is_being_written or not expected.num_messages <= len(visible):
        return False
    start = one_line(expected.content[0])[:_NUM_COMPARED]
    return one_line(visible[0].content)[: len(start)] == start
