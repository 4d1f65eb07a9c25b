"""The card of a stored answer: the model's text, and buttons that change or explain it."""

from collections.abc import Mapping
from typing import Any, Final

from bot.core.cards import Button, Card, Text
from bot.store.replies import StoredReply

# The id of a card that shows a stored answer is this and the answer's own id.
REPLY_CARD: Final = "reply-"
_CHAT_BUTTONS: Final = (Button("again", "Again"), Button("continue", "Continue"), Button("why", "Why"))


def reply_card(reply: StoredReply, *, notice: str | None = None, buttons: tuple[Button, ...] | None = None) -> Card:
    """Return the card that shows a stored answer, by default a chat answer."""
    sampling, template = reply.provenance.sampling, reply.provenance.template
    data = {
        "text": reply.message.text,
        "finish_reason": reply.provenance.finish_reason,
        "seed": sampling.seed if sampling else None,
        "template": template.name if template else None,
        "model": reply.provenance.model_name,
    }
    return answer_card(reply.message.text, reply.message.id, notice=notice, data=data, buttons=buttons or _CHAT_BUTTONS)


def answer_card(
    text: str,
    reply_id: str | None,
    *,
    notice: str | None,
    data: Mapping[str, Any],
    buttons: tuple[Button, ...] = _CHAT_BUTTONS,
) -> Card:
    """Return the card of a chat answer, with buttons if it was stored."""
    blocks = (Text(text, is_model_text=True), *([Text(notice, is_quiet=True)] if notice else []))
    if reply_id is None:
        return Card(blocks=blocks, data=data)
    return Card(
        blocks=blocks,
        data=data,
        buttons=buttons,
        open_card_id=f"{REPLY_CARD}{reply_id}",
        reply_id=reply_id,
    )
