"""Words that answer a card where they are typed: in reply to it, or right after it where that is clear."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bot.commands import completing, privacy
from bot.commands.context import Services
from bot.commands.templates import publishing
from bot.core.messages import Message
from bot.core.platform_traits import PlatformTraits
from bot.services.answer_cards import REPLY_CARD
from bot.services.open_cards import COMPLETION_CARD
from bot.store.cards import OpenCard

DECLINED: Final = ""  # the action of a no

# Questions, each with the action that a yes stands for.
_QUESTIONS: Final[Mapping[str, str]] = {privacy.FORGET_CARD: privacy.FORGET_NOW, publishing.DELETE_CARD: "delete"}
_YES: Final = ("yes", "y", "yes please")
_NO: Final = ("no", "n", "cancel")


@dataclass(frozen=True, slots=True)
class TypedAnswer:
    """What a message says to a card: the action of a button at `revision` and its value, or DECLINED.

    A `card` of None is gone.
    """

    card: OpenCard | None
    card_id: str
    revision: int
    action: str
    value: str = ""


def may_answer(message: Message) -> bool:
    """Say, without reading anything, whether the words of `message` are an answer to some kind of card."""
    return message.attachment is None and (completing.is_action(message.text) or _is_yes_or_no(message.text))


def is_word_to_card(message: Message, traits: PlatformTraits) -> bool:
    """Say, without reading anything, whether `message` is where words act on a card, and has such words."""
    return (message.replied_card is not None or _follows_cards(message, traits)) and may_answer(message)


def is_question(card: OpenCard) -> bool:
    """Say whether `card` asks a question that yes or no answers."""
    return card.kind in _QUESTIONS


def action_on(card: OpenCard, text: str, *, allows_name: bool = False) -> tuple[str, str] | None:
    """Return the action on `card` that `text` stands for and its value, None if it is no answer to such a card.

    With `allows_name` a branch of a completion may be named by typing; elsewhere the message that was typed could be
    erased without the name.
    """
    word = _plain(text)
    if card.kind == COMPLETION_CARD:
        return completing.typed_action(card, text, allows_name=allows_name)
    if card.kind in _QUESTIONS and word in (*_YES, *_NO):
        return (_QUESTIONS[card.kind] if word in _YES else DECLINED), ""
    return None


async def find_answered(services: Services, message: Message) -> TypedAnswer | None:
    """Return the answer that `message` gives to a card, None if it is an ordinary message.

    Where there are buttons, that is a reply to the card; in a direct message, and in a thread where people reply in
    threads, also the first thing said after it. Where there are none, the newest card of the author is meant.
    """
    allows_name = not services.traits.has_buttons
    if not (may_answer(message) or (allows_name and completing.is_name(message.text))):
        return None
    if not services.traits.has_buttons:
        card = await services.store.latest_open_card(message.scope, message.author.id)
        return _answer_to(card, message, allows_name=allows_name)
    if message.replied_card is not None:
        return await _answer_to_replied(services, message)
    if not _follows_cards(message, services.traits) or message.reply_to is not None:
        return None
    card = await services.store.latest_open_card(message.scope, message.author.id)
    if card is None or await services.store.was_asked_since(card, except_id=message.id):
        return None
    return _answer_to(card, message)


def _follows_cards(message: Message, traits: PlatformTraits) -> bool:
    """Say whether a word alone, right after a card, is said to it."""
    return message.scope.kind == "direct" or (traits.replies_in_threads and bool(message.scope.thread))


async def _answer_to_replied(services: Services, message: Message) -> TypedAnswer | None:
    shown = message.replied_card
    if shown is None or shown.id.startswith(REPLY_CARD):
        return None  # words to an answer of a conversation go on with it
    card = await services.store.get_open_card(message.scope, shown.id)
    if card is None:
        # As a button of it would, the answer says that it is gone.
        return TypedAnswer(None, shown.id, shown.revision, _plain(message.text))
    action = action_on(card, message.text)
    return None if action is None else TypedAnswer(card, shown.id, shown.revision, *action)


def _answer_to(card: OpenCard | None, message: Message, *, allows_name: bool = False) -> TypedAnswer | None:
    action = None if card is None else action_on(card, message.text, allows_name=allows_name)
    return None if card is None or action is None else TypedAnswer(card, card.id, card.revision, *action)


def _plain(text: str) -> str:
    return text.strip().casefold().rstrip(".!")


def _is_yes_or_no(text: str) -> bool:
    return _plain(text) in (*_YES, *_NO)
