"""Words typed in the thread of a card: the card above is meant, as if a button of it was pressed."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bot.commands.bot import Bot
from bot.commands.typed_answers import may_answer
from bot.core.messages import Message, ShownCard
from bot.errors import FewshotError
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.incoming.reading import Said, scope_at
from bot.platforms.slack.interactions.items import read_action
from bot.platforms.slack.outgoing.outlets import InteractionOutlet
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.workspaces import Workspace
from bot.services.answer_cards import REPLY_CARD

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WordToCard:
    """A word for the card above its thread: the message as it is said to that card, and the place of its answer."""

    message: Message
    outlet: InteractionOutlet


async def word_to_root_card(
    bot: Bot, sender: Sender, said: Said, message: Message, workspace: Workspace
) -> WordToCard | None:
    """Return what `message` says to the card that its thread is about; None if it is no word for one.

    Slack is asked only about a thread below the bot's own message, and only for words that may answer a card.

    Raises Unavailable.
    """
    if not said.is_in_thread or said.parent_user_id != workspace.user_id or not may_answer(message):
        return None
    root = SlackId(said.id.team, said.id.channel, said.thread_ts)
    try:
        found = await sender.call(root.team, "conversations_replies", channel=root.channel, ts=root.ts, limit=1)
    except FewshotError as e:
        logger.info("could not look at the card above a thread in channel %s: %s", root.channel, e)
        return None
    card = next((_card_in(one) for one in found.get("messages") or () if one.get("ts") == root.ts), None)
    if card is None or card.id.startswith(REPLY_CARD):
        return None
    scope = scope_at(Address(root.team, root.channel), said.kind)
    to_card = replace(message, scope=scope, replied_card=card)
    if not await bot.is_answer_to_card(to_card):
        return None  # a card without such words: people talk about it
    thread = Address(root.team, root.channel, root.ts)
    outlet = InteractionOutlet(sender, thread, asker=said.user_id, request_id=message.id, clicked=root, kind=said.kind)
    return WordToCard(to_card, outlet)


def _card_in(shown: Mapping[str, Any]) -> ShownCard | None:
    """Return the card that a message of the bot's shows, None if it shows none."""
    for block in shown.get("blocks") or ():
        for element in block.get("elements") or () if block.get("type") == "actions" else ():
            if (pressed := read_action(element)) is not None:
                return ShownCard(pressed.card_id, pressed.revision)
    return None
