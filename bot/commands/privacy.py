"""What is stored about a person, in their own hands: privacy for all of it, forget for one message."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.core.cards import Button, Card, Facts, Text, TextFile
from bot.core.messages import Author, Click, Scope
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard

PRIVACY_CARD: Final = "privacy"
_LIFETIME: Final = timedelta(days=1)

_WHAT_IS_STORED: Final = (
    "Stored are messages to this bot, its answers, and messages that somebody replies to for it; where it answers every"
    " message, all of them. Only the model reads them, on the operator's own machine: they are never logged, sent"
    " elsewhere or trained on."
)
_IF_NOT_READ: Final = (
    "Who asked not to be read is neither stored nor read: chat is not answered, and a command's words are gone with its"
    " answer, so that has no buttons to go on and no why. What was stored before stays unread until it is forgotten."
)


async def answer_privacy(request: Request) -> Cards:
    """Show what is stored of the asker, or do what they ask about it."""
    message, action = request.message, request.options.get("do", "")
    if request.options.get("read"):
        action = f"read-{request.options['read']}"
    card = None
    if request.has_buttons:
        store = request.services.store
        card = await open_card(store, message.scope, message.author.id, PRIVACY_CARD, {}, lives=_LIFETIME)
    done = await _do(request.services, message.scope, message.author, action)
    # What answers an option that all may see says nothing that only the asker may know.
    yield _tied(replace(done, buttons=()) if action.startswith("read-") else done, card)


async def act_on_privacy(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Do what the clicked button says."""
    if card.owner_id != click.author.id:
        raise RequestError("That card is somebody else's; ask for your own with privacy.")
    yield _tied(await _do(services, click.scope, click.author, click.action), card)


def _tied(shown: Card, card: OpenCard | None) -> Card:
    if card is None or not shown.buttons:
        return replace(shown, buttons=())
    return replace(shown, open_card_id=card.id, revision=card.revision)


async def _do(services: Services, scope: Scope, author: Author, action: str) -> Card:
    store, platform, prefix = services.store, scope.platform, services.command_prefix
    if action == "export":
        records = await store.export_person(platform, author.id)
        file = TextFile("stored-about-me.json", json.dumps(records, ensure_ascii=False, indent=1) + "\n")
        return _told(f"All that is stored of you: {len(records)} records.", data={"records": records}, file=file)
    if action == "forget":
        return replace(
            _told(
                "Everything you said to this bot, on all servers, and its answers to you will be erased for good."
                f" Without a button: {prefix}privacy --do forget-now."
            ),
            buttons=(Button("forget-now", "Erase it all", "danger"),),
        )
    if action == "forget-now":
        num = await store.forget_person(platform, author.id)
        return _told(
            f"Erased for good: {num} {'message' if num == 1 else 'messages'} of yours, and the answers to them."
        )
    if action == "read-off":
        await store.opt_out(platform, author.id, True)
        return _told(
            f"You are not read any more, and nothing you say is stored. {prefix}privacy --read on takes that back."
        )
    if action == "read-on":
        await store.opt_out(platform, author.id, False)
        return _told("You are read again when you speak to the bot.")
    return await _show(services, scope, author)


def _told(sentence: str, *, data: dict[str, object] | None = None, file: TextFile | None = None) -> Card:
    return Card(blocks=(Text(sentence),), data={"text": sentence, **(data or {})}, file=file, answers="private")


async def _show(services: Services, scope: Scope, author: Author) -> Card:
    records = await services.store.export_person(scope.platform, author.id)
    is_out = await services.store.is_opted_out(scope.platform, author.id)
    num_messages = sum(record["kind"] == "message" for record in records)
    days = (await services.settings_in(scope))["retention_days"]
    read = Button("read-on", "Read me again") if is_out else Button("read-off", "Stop reading me")
    prefix = services.command_prefix
    return Card(
        blocks=(
            Text(_WHAT_IS_STORED),
            Facts(
                (
                    ("messages of yours", f"{num_messages:,}"),
                    ("kept here for", f"{days} days"),
                    ("you are read", "no" if is_out else "yes"),
                )
            ),
            Text(_IF_NOT_READ, is_quiet=True),
            Text(f"{prefix}privacy --do export · --do forget · --read off · --read on", is_quiet=True),
        ),
        data={"num_messages": num_messages, "retention_days": int(days), "is_read": not is_out},
        buttons=(Button("export", "Export mine"), read, Button("forget", "Forget me", "danger")),
        answers="private",
    )


async def answer_forget(request: Request) -> Cards:
    """Erase one message: one's own, or for a moderator any of this conversation, the bot's answers too."""
    store, message = request.services.store, request.message
    if message.reply_to is None:
        menu = ", or choose Forget in its menu" if request.has_buttons else ""
        raise RequestError(f"Say forget in reply to the message that is to be forgotten{menu}.")
    found = await store.load_messages(message.scope, [message.reply_to])
    if not found:
        raise RequestError("Nothing is stored of that message.")
    (target,) = found
    if (target.is_me or target.author_id != message.author.id) and not message.author.is_moderator:
        raise RequestError("You can have your own messages forgotten; those of others are for moderators.")
    # A visible answer is known by the message that it answers.
    sent_ids = await store.sent_of(message.scope.platform, target.reply_to) if target.is_me and target.reply_to else ()
    await store.withdraw_request(message.scope.platform, target.id)
    await store.erase_sent(message.scope.platform, sent_ids)
    sentence = "That message is forgotten for good."
    yield Card(blocks=(Text(sentence),), data={"text": sentence}, answers="private", removed_ids=tuple(sent_ids))


COMMANDS: Final = (
    Command(
        name="privacy",
        summary="what is stored about you; export it, have it forgotten, or stop being read",
        answer=answer_privacy,
        answers="private",
        options=(
            Option(
                "do", "choice", "hand over, or erase, all that is stored of you", ("export", "forget", "forget-now")
            ),
            Option("read", "choice", "whether what you say may be stored and read", ("on", "off")),
        ),
        public_options=("read",),
        details=f"{_WHAT_IS_STORED} {_IF_NOT_READ}",
    ),
    Command(
        name="forget",
        summary="in reply to a message: erases it from what the bot stores; others' messages for moderators",
        answer=answer_forget,
        answers="private",
        is_secret=False,
        menu="Forget",
    ),
)
