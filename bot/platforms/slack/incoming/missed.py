"""What was said, edited and deleted while no socket was open, read back from the histories of the bot's channels."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.core.messages import DIRECT_MESSAGES, Scope
from bot.errors import MessageGone, MissingPermission, SendRefused
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.incoming.channels import READING_S, Channels, pages
from bot.platforms.slack.outgoing.sender import MAX_READ, Sender
from bot.services.ledger import Delivery

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

_PAGE: Final = 200
_NUM_KNOWN: Final = 30
# Edits and deletions are looked for in so many conversations: each takes a call.
_NUM_COMPARED: Final = 12
_NUM_COMPARED_EACH: Final = 50
# A channel that can't be read any more is nobody's loss.
_SKIPPED: Final = (MissingPermission, MessageGone, SendRefused)


@dataclass(frozen=True, slots=True)
class Found:
    """A message of a history, with the channel that it does not name itself."""

    channel: str
    channel_type: str
    message: Json


class MissedMessages:
    """Reads the histories of the bot's channels, as sparingly as Slack's limits ask for."""

    def __init__(self, delivery: Delivery, sender: Sender, channels: Channels) -> None:
        self._delivery = delivery
        self._sender = sender
        self._channels = channels

    async def read(self, team: str, after: str, *, done: set[str]) -> AsyncIterator[list[Found]]:
        """Yield what was said in a workspace after the time `after`: channel by channel, first that, then its threads.

        The channels in `done` are left out, and those that are read are added: a further try goes on from there.
        Raises Unavailable if something can't be read now, and MissingPermission where the bot may list nothing.
        """
        stored = await self._stored(team, num_conversations=_NUM_KNOWN, num_each=1)
        channels = await self._channels.read(team)
        # First where people talk with the bot: in a large workspace the last channel is read minutes later.
        latest = dict.fromkeys(scope.channel for scope in stored if scope.channel in channels)
        for place in [*latest, *(one for one in channels if one not in latest)]:
            if place in done:
                continue
            threads = {scope.thread for scope in stored if scope.thread and scope.channel == place}
            yield [found async for found in self._read_channel(team, place, channels[place], after, threads)]
            yield [found async for found in self._read_threads(team, place, channels[place], after, threads)]
            done.add(place)

    async def _read_channel(
        self, team: str, place: str, kind: str, after: str, threads: set[str]
    ) -> AsyncIterator[Found]:
        """Yield what was said outside threads, and add to `threads` those in which somebody has written since.

        Those in which nobody has are removed.
        """
        try:
            async for message in _newest(self._sender, team, place, after):
                ts = str(message.get("ts", ""))
                if ts > after:
                    yield Found(place, kind, message)
                if str(message.get("latest_reply", "")) > after:
                    threads.add(ts)
                else:
                    threads.discard(ts)
        except _SKIPPED as e:
            logger.info("channel %s can't be read back: %s", place, e)

    async def _read_threads(
        self, team: str, place: str, kind: str, after: str, threads: set[str]
    ) -> AsyncIterator[Found]:
        for root in sorted(threads, reverse=True):
            try:
                # The first message of the thread comes with it, however old it is.
                address = Address(team, place, root)
                for message in await self._sender.newest(address, after=after, deadline_s=READING_S):
                    if str(message.get("ts", "")) > after:
                        yield Found(place, kind, message)
            except _SKIPPED as e:
                logger.info("a thread in channel %s can't be read back: %s", place, e)

    async def find_changes(self, team: str, after: str) -> AsyncIterator[tuple[list[str], list[Found]]]:
        """Yield, conversation by conversation, the stored messages that were deleted, and the messages edited since."""
        stored = await self._stored(team, num_conversations=_NUM_COMPARED, num_each=_NUM_COMPARED_EACH)
        for scope, message_ids in stored.items():
            ids = [SlackId.parse(one) for one in message_ids]
            # What is stored of clicks and slash commands is no message of the channel.
            own = {one.ts: str(one) for one in ids if one.team == team and one.channel == scope.channel}
            kind = self._channels.type_in(team, scope.channel)
            if not own or kind is None:
                continue
            try:
                address = Address(team, scope.channel, scope.thread)
                messages = await self._sender.newest(address, after=min(own), is_inclusive=True, deadline_s=READING_S)
            except MessageGone:
                messages = []  # the whole thread was deleted
            except _SKIPPED as e:
                logger.info("channel %s can't be compared: %s", scope.channel, e)
                continue
            if len(messages) >= MAX_READ:
                continue  # what is missing may only be further away
            present = {str(message.get("ts")): message for message in messages}
            gone = {ts: message_id for ts, message_id in own.items() if _is_deleted(present.get(ts))}
            # A word for the card above a thread belongs to the card's conversation, and stands in the thread.
            deleted = [
                message_id
                for ts, message_id in gone.items()
                if scope.thread or ts in present or not await self._is_elsewhere(team, scope.channel, ts)
            ]
            edited = [
                Found(scope.channel, kind, message)
                for message in messages
                if str((message.get("edited") or {}).get("ts", "")) > after
            ]
            yield deleted, edited

    async def _is_elsewhere(self, team: str, channel: str, ts: str) -> bool:
        """Say whether a message that is not in its channel's history stands in a thread there."""
        try:
            found = await self._sender.call(
                team, "conversations_replies", deadline_s=READING_S, channel=channel, ts=ts, limit=1
            )
        except MessageGone:
            return False
        except _SKIPPED as e:
            logger.info("a message in channel %s can't be looked for: %s", channel, e)
            return True
        return bool(found.get("messages"))

    async def _stored(self, team: str, *, num_conversations: int, num_each: int) -> Mapping[Scope, Sequence[str]]:
        """Return the ids of the newest messages of the latest conversations in a workspace."""
        stored = await self._delivery.visible_ids(
            [team, DIRECT_MESSAGES], num_conversations=num_conversations, num_each=num_each
        )
        return {scope: ids for scope, ids in stored.items() if any(one.startswith(f"{team}:") for one in ids)}


def _is_deleted(message: Json | None) -> bool:
    # What is left of a deleted message with replies.
    return message is None or message.get("subtype") == "tombstone"


async def _newest(sender: Sender, team: str, channel: str, after: str) -> AsyncIterator[Json]:
    """Yield the messages of a channel, the newest first: at least a page, and all after `after`."""
    async for message in pages(
        sender,
        team,
        "conversations_history",
        "messages",
        is_enough=lambda page: any(str(one.get("ts", "")) <= after for one in page),
        deadline_s=READING_S,
        channel=channel,
        limit=_PAGE,
    ):
        yield message
