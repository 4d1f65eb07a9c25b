"""Clicks that take long, kept as requests: after a restart they are carried out again, and go on from what is known."""

from typing import Final

from bot.core.messages import Click, Message

_WORD: Final = "click"


def as_request(click: Click) -> Message:
    """Return `click` as a request that the ledger can keep; no person can write such a text in a form's reach."""
    text = " ".join((_WORD, click.card_id, str(click.revision), click.action, click.value))
    return Message(click.id, click.scope, click.author, text, reach="form")


def click_of(message: Message) -> Click | None:
    """Return the click that `message` keeps; None for every other request."""
    if message.reach != "form" or not message.text.startswith(f"{_WORD} "):
        return None
    _, card_id, revision, action, *value = message.text.split(" ", 4)
    return Click(
        id=message.id,
        scope=message.scope,
        author=message.author,
        card_id=card_id,
        revision=int(revision),
        action=action,
        value=value[0] if value else "",
    )
