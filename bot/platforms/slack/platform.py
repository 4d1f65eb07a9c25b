"""Slack as a Platform: other channels of a workspace, and answers that a restart interrupted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bot.core.cards import Card, Text
from bot.core.messages import Message, Scope
from bot.core.safe_text import one_line
from bot.errors import MessageGone, MissingPermission, SendRefused
from bot.platforms.shared.platform import Platform, Reopened
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.interactions.items import STOP_PREFIX
from bot.platforms.slack.outgoing.outlets import AnswerOutlet, InteractionOutlet
from bot.platforms.slack.outgoing.rendering import render
from bot.platforms.slack.outgoing.sender import Sender, is_answer
from bot.platforms.slack.removing import find_placed, remove
from bot.platforms.slack.workspaces import Workspaces
from bot.services.ledger import Accepted, Delivery

# An answer counts as shown if so many characters of its start are visible; Slack may change the rest.
_NUM_COMPARED: Final = 200


class SlackPlatform(Platform):
    """Slack, through the workspaces' clients."""

    def __init__(self, sender: Sender, workspaces: Workspaces, delivery: Delivery) -> None:
        self._sender = sender
        self._workspaces = workspaces
        self._delivery = delivery

    async def reopen(self, request: Accepted) -> Reopened:
        """Return the place of an answer: its interaction's address, or its conversation with the visible message."""
        message = request.message
        address = Address.of(message.id, message.scope)
        if self._workspaces.get(address.team) is None:
            raise MissingPermission("The bot is no longer installed in that workspace.")
        try:
            found = await self._find(address, request)
        except MissingPermission:
            if not request.token:
                raise
            found = None  # the bot is no member there, and answers by the interaction's address
        sent = None if found is None else SlackId(address.team, address.channel, str(found["ts"]))
        if request.token:
            outlet = InteractionOutlet(
                self._sender,
                address,
                asker=message.author.id,
                request_id=message.id,
                response_url=request.token,
                kind=message.scope.kind,
                begins_thread=bool(message.reply_to) and SlackId.parse(str(message.reply_to)).ts == address.thread,
                sent=sent,
            )
            return Reopened(outlet, is_whole=_is_whole(found, request))
        if message.replied_card is not None and (card := await self._card_above(message)) is not None:
            outlet = InteractionOutlet(
                self._sender,
                replace(address, thread=card.ts),
                asker=message.author.id,
                request_id=message.id,
                clicked=card,
                kind=message.scope.kind,
            )
            return Reopened(outlet)
        answer = AnswerOutlet.for_message(self._sender, message, sent=sent)
        return Reopened(answer, is_whole=_is_whole(found, request))

    async def _card_above(self, message: Message) -> SlackId | None:
        """Return the message above the thread in which a word for its card was said, None if it is in no thread."""
        said = SlackId.parse(message.id)
        placed = await find_placed(self._sender, said)
        return replace(said, ts=placed.thread) if placed is not None and placed.thread else None

    async def _find(self, address: Address, request: Accepted) -> Mapping[str, Any] | None:
        """Return the message that shows the answer so far: by its stored id, by its metadata, or as a lone stream."""
        sent_ids = {SlackId.parse(one).ts for one in request.sent_ids}
        where = SlackId.parse(request.message.id)
        after = where.ts if where.channel == address.channel else address.thread
        me = self._workspaces[address.team].user_id
        mine = [one for one in await self._sender.newest(address, after=after) if one.get("user") == me]
        for message in reversed(mine):
            if message.get("ts") in sent_ids or is_answer(message, request.message.id):
                return message
        # The program ended between the start of a stream and the note of its id; a stream has no metadata.
        if address.thread and not sent_ids:
            # One that begins just now may not be known to be another answer's.
            async with self._sender.streams.turn(address):
                return await self._find_lone(address, mine, after)
        return None

    async def _find_lone(
        self, address: Address, mine: Sequence[Mapping[str, Any]], after: str
    ) -> Mapping[str, Any] | None:
        for message in mine:
            sent = SlackId(address.team, address.channel, str(message.get("ts", "")))
            is_lone = not message.get("metadata") and not message.get("files") and sent.ts > after
            if is_lone and await self._delivery.request_of(str(sent)) is None and self._sender.streams.adopt(sent):
                return message
        return None

    async def post_notice(self, channel_id: str, notice: Card, cause: Message, notice_id: str) -> None:
        """Post `notice` with a link to the place of `cause`. Raises what the sender raises."""
        team = SlackId.parse(cause.id).team
        if not cause.scope.has_server or not channel_id.startswith(("C", "G")):
            raise MissingPermission("This is not a channel of the workspace.")
        workspace = self._workspaces[team]
        info = await self._sender.call(team, "conversations_info", channel=channel_id)
        if not (info.get("channel") or {}).get("is_member"):
            raise MissingPermission(f"The bot is not in that channel of {workspace.name}.")
        link = await self._link_of(cause)
        blocks = (*notice.blocks, Text(link, is_quiet=True)) if link else notice.blocks
        card = Card(blocks=blocks, buttons=notice.buttons, open_card_id=notice.open_card_id, revision=notice.revision)
        await self._sender.post(Address(team, channel_id), render(card), request_id=notice_id)

    async def _link_of(self, cause: Message) -> str:
        where = SlackId.parse(cause.reply_to or cause.id)
        if where.channel == "interaction":
            # A slash command is no message, so the link leads to the newest one where it was given.
            place = Address.of(cause.id, cause.scope)
            newest = max((str(one.get("ts")) for one in await self._newest(place)), default="")
            where = SlackId(place.team, place.channel, newest)
        if not where.ts:
            return ""
        answer = await self._sender.call(where.team, "chat_getPermalink", channel=where.channel, message_ts=where.ts)
        return str(answer.get("permalink") or "")

    async def _newest(self, place: Address) -> Sequence[Mapping[str, Any]]:
        try:
            return await self._sender.newest(place)
        except (MissingPermission, SendRefused, MessageGone):
            return []  # the bot is not in that channel

    async def delete(self, scope: Scope, sent_id: str) -> None:
        """Delete one of the bot's own messages, with its files. Raises what the sender raises."""
        sent = SlackId.parse(sent_id)
        await remove(self._sender, sent, me=self._workspaces[sent.team].user_id)


def _is_whole(found: Mapping[str, Any] | None, request: Accepted) -> bool:
    """Say whether a visible message is the whole answer: finished, with its text."""
    # A stream gets its metadata at its end.
    if found is None or request.reply_text is None or not is_answer(found, request.message.id):
        return False
    if any(STOP_PREFIX in str(block) for block in found.get("blocks") or ()):
        return False
    expected = one_line(render(Card(blocks=(Text(request.reply_text, is_model_text=True),))).text)[:_NUM_COMPARED]
    return one_line(str(found.get("text") or ""))[: len(expected)] == expected
