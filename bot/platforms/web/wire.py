"""What goes over the page's socket: cards, messages, forms and places as JSON-able objects."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, Final

from bot.core.cards import (
    Bars,
    Block,
    Card,
    Choices,
    Contrast,
    Facts,
    Form,
    Progress,
    Table,
    Text,
    TintedText,
    Verbatim,
)
from bot.core.messages import DIRECT_MESSAGES
from bot.services.hosted_messages import HostedMessage
from bot.services.hosted_places import HostedPerson, HostedServer

Json = dict[str, Any]

_TYPES: Final[Mapping[type[Block], str]] = {
    Text: "text",
    Facts: "facts",
    Table: "table",
    Bars: "bars",
    TintedText: "tinted",
    Contrast: "contrast",
    Choices: "choices",
    Verbatim: "verbatim",
    Progress: "progress",
}


def card_json(card: Card, *, stop_id: str | None = None) -> Json:
    """Return a card as the page draws it."""
    return {
        "blocks": [_block_json(block) for block in card.blocks],
        "error": card.error,
        "answers": card.answers,
        "buttons": [asdict(button) for button in card.buttons],
        "selects": [asdict(select) for select in card.selects],
        "file": None if card.file is None else asdict(card.file),
        "card_id": card.open_card_id,
        "card_revision": card.revision,
        "is_final": card.is_final,
        "stop_id": None if card.is_final else stop_id,
    }


def form_json(form: Form) -> Json:
    """Return a form as the page draws it."""
    return asdict(form)


def message_json(message: HostedMessage, people: Mapping[str, HostedPerson], bot_name: str) -> Json:
    """Return a message as the page draws it."""
    is_bot = not message.author_id
    person = people.get(message.author_id)
    name = bot_name if is_bot else person.name if person else "somebody who is gone"
    return {
        "id": str(message.id),
        "channel": message.scope.channel,
        "thread": message.scope.thread,
        "author": {"id": message.author_id, "name": name, "is_bot": is_bot},
        "text": message.text,
        "reply_to": None if message.reply_to is None else str(message.reply_to),
        "at": datetime.fromtimestamp(message.id / 1e6, UTC).isoformat(),
        "is_edited": message.is_edited,
        "file_name": message.file_name,
        "asked": None if message.asked is None else str(message.asked),
        "card": message.card,
        "num_replies": message.num_replies,
        "revision": message.revision,
    }


def person_json(person: HostedPerson) -> Json:
    """Return a person as the page names them."""
    return {"id": person.id, "name": person.name, "is_moderator": person.is_moderator}


def servers_json(servers: Sequence[HostedServer], direct_channel: str, bot_name: str) -> list[Json]:
    """Return the servers with their channels; the conversation with the bot alone is the first."""
    direct = {
        "id": DIRECT_MESSAGES,
        "name": "Direct messages",
        "is_direct": True,
        "channels": [{"id": direct_channel, "name": bot_name}],
    }
    others = [
        {
            "id": server.id,
            "name": server.name,
            "is_direct": False,
            "channels": [{"id": channel.id, "name": channel.name} for channel in server.channels],
        }
        for server in servers
    ]
    return [direct, *others]


def _block_json(block: Block) -> Json:
    if isinstance(block, Contrast):
        return {
            "type": "contrast",
            "texts": [asdict(text) for text in block.texts],
            "tables": [_block_json(table) for table in block.tables],
        }
    return {"type": _TYPES[type(block)], **{one.name: getattr(block, one.name) for one in fields(block)}}
