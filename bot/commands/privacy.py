"""Commands about stored personal data: privacy for all of it, forget for one message."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.commands.framework.request import check_owner
from bot.core.cards import Button, Card, Facts, Text, TextFile
from bot.core.mentions import mention
from bot.core.messages import Author, Click, Scope
from bot.core.stopping import Stopper
from bot.core.wording import list_words
from bot.errors import RequestError
from bot.services.open_cards import open_card
from bot.services.writing import WRITING_CARD
from bot.store.cards import OpenCard

PRIVACY_CARD: Final = "privacy"
FORGET_CARD: Final = "privacy_forget"  # the question before everything is erased
FORGET_NOW: Final = "forget-now"
ERASED: Final = "num_erased"  # in the data of the answer, once everything is erased
_LIFETIME: Final = timedelta(days=1)

_CHOICES: Final = ("--do export", "--do forget", "--read off", "--read on")
_WHAT_IS_STORED: Final = (
    "The bot stores messages to it, its answers, and messages that people ask it about, by a reply or from their menu."
    " Where it answers every message, or a story is being written, it stores all of them."
)
_PICTURES: Final = "With a message to a model that sees pictures, it stores a small copy of each picture."
_READ_HERE: Final = (
    "Only the model reads them, on the operator's own machine. They are never logged, sent elsewhere or used for"
    " training."
)
_READ_THERE: Final = (
    "The model that reads them runs on the server {server}, so what it needs for an answer is sent there; what that"
    " server does with it is up to its provider. The bot never logs them or sends them anywhere else."
)
_READ_PARTLY: Final = (
    "The model reads them: {names} on the server {server}, so what one of these needs for an answer is sent there, and"
    " what that server does with it is up to its provider; {others} on the operator's own machine. The bot never logs"
    f" them or sends them anywhere else. {mention('model')} says which one answers here."
)
_IF_NOT_READ: Final = (
    "If you ask not to be read, the bot neither reads nor stores what you say, and does not answer your chat. Commands"
    f" still work, but nothing is stored, so you can't go on with their answers, and {mention('why')} can't explain"
    " them. What was stored before is not read, and stays stored until you erase it."
)


async def answer_privacy(request: Request) -> Cards:
    """Show what is stored about the asker, or export it, erase it or stop reading them."""
    message, action = request.message, request.options.get("do", "")
    if request.options.get("read"):
        action = f"read-{request.options['read']}"
    done = await _do(request.services, message.scope, message.author, action)
    # The answer to a public option shows nothing private.
    if action.startswith("read-"):
        done = replace(done, buttons=())
    yield await _tied(request.services, message.scope, message.author, action, done)


async def act_on_privacy(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Carry out the clicked button."""
    check_owner(card, click.author, "card", "privacy")
    done = await _do(services, click.scope, click.author, click.action)
    yield await _tied(services, click.scope, click.author, click.action, done)


async def _tied(services: Services, scope: Scope, author: Author, action: str, shown: Card) -> Card:
    """Return `shown` with a card of its own behind its buttons; a question has one where its answer is typed too."""
    kind = FORGET_CARD if action == "forget" else PRIVACY_CARD
    if not shown.buttons or not (services.traits.has_buttons or kind == FORGET_CARD):
        return replace(shown, buttons=())
    card = await open_card(services.store, scope, author.id, kind, {}, lives=_LIFETIME)
    if not services.traits.has_buttons:
        return replace(shown, buttons=())
    return replace(shown, open_card_id=card.id, revision=card.revision)


async def _do(services: Services, scope: Scope, author: Author, action: str) -> Card:
    store, platform = services.store, scope.platform
    if action == "export":
        records = await store.export_person(platform, author.id)
        text = await asyncio.to_thread(json.dumps, records, ensure_ascii=False, indent=1)
        file = TextFile("stored-about-me.json", text + "\n")
        return _private_card(
            f"Everything stored about you: {len(records)} records.", data={"records": records}, file=file
        )
    if action == "forget":
        how = f"use {mention(f'privacy --do {FORGET_NOW}')}"
        how = how if services.traits.has_buttons else f"type yes, or {how}"
        num_texts = await store.count_cards(platform, author.id, WRITING_CARD)
        texts = (
            f" Your {_texts(num_texts)} in Write {'is' if num_texts == 1 else 'are'} erased, too." if num_texts else ""
        )
        return replace(
            _private_card(
                "This permanently erases everything you said to this bot, on all"
                f" {services.traits.server_word}s, and its answers to you.{texts}"
                f" To confirm, {how}."
            ),
            buttons=(Button(FORGET_NOW, "Erase everything", "danger"),),
        )
    if action == FORGET_NOW:
        num = await store.forget_person(platform, author.id)
        card = _private_card(
            f"Permanently erased: {num} of your messages, and the answers to them.", data={ERASED: num}
        )
        return replace(card, withdraws_all=True)
    if action == "read-off":
        await store.opt_out(platform, author.id, True)
        return _private_card(
            f"The bot no longer reads or stores what you say. To be read again, use {mention('privacy --read on')}."
        )
    if action == "read-on":
        await store.opt_out(platform, author.id, False)
        return _private_card("The bot reads your messages to it again.")
    return await _show(services, scope, author)


def _private_card(sentence: str, *, data: dict[str, object] | None = None, file: TextFile | None = None) -> Card:
    return Card(blocks=(Text(sentence),), data={"text": sentence, **(data or {})}, file=file, answers="private")


async def _show(services: Services, scope: Scope, author: Author) -> Card:
    num_messages = await services.store.count_messages_of(scope.platform, author.id)
    is_out = await services.store.is_opted_out(scope.platform, author.id)
    days = (await services.settings_in(scope))["retention_days"]
    num_texts = await services.store.count_cards(scope.platform, author.id, WRITING_CARD)
    texts = (("in Write, until you remove them", _texts(num_texts)),) if num_texts else ()
    backup_days = services.backup_days
    backups = (
        (("in backups for up to", f"{backup_days} more day{'s' if backup_days > 1 else ''}"),) if backup_days else ()
    )
    pictures = _PICTURES if any(map(services.models.reads_pictures, services.models.names)) else ""
    read = Button("read-on", "Read me again") if is_out else Button("read-off", "Stop reading me")
    return Card(
        blocks=(
            Text(" ".join(filter(None, (_WHAT_IS_STORED, pictures, _who_reads(services))))),
            Facts(
                (
                    ("your stored messages", f"{num_messages:,}"),
                    ("kept here for", f"{days} days"),
                    *backups,
                    *texts,
                    ("the bot reads you", "no" if is_out else "yes"),
                )
            ),
            Text(_IF_NOT_READ, is_quiet=True),
            Text(" · ".join(mention(f"privacy {one}") for one in _CHOICES), is_quiet=True),
        ),
        data={
            "num_messages": num_messages,
            "num_texts": num_texts,
            "retention_days": int(days),
            "backup_days": backup_days,
            "is_read": not is_out,
        },
        buttons=(Button("export", "Export my data"), read, Button("forget", "Forget me", "danger")),
        answers="private",
    )


def _who_reads(services: Services) -> str:
    hosts, names = services.models.hosts, services.models.names
    if not hosts:
        return _READ_HERE
    server, others = list_words(tuple(dict.fromkeys(hosts.values()))), [name for name in names if name not in hosts]
    if not others:
        return _READ_THERE.format(server=server)
    return _READ_PARTLY.format(names=list_words(tuple(hosts)), server=server, others=list_words(others))


def _texts(num: int) -> str:
    return "1 text" if num == 1 else f"{num:,} texts"


async def answer_forget(request: Request) -> Cards:
    """Erase one message: the asker's own, or for a moderator any of this conversation, answers of the bot included."""
    store, message = request.services.store, request.message
    if message.reply_to is None:
        raise RequestError(_how_to_forget(request))
    target_id, sent_ids = message.reply_to, tuple[str, ...]()
    found = await store.load_messages(message.scope, [target_id])
    if found:
        (target,) = found
        author_id = None if target.is_me else target.author_id
        # Visible answers are found by the message that they answer.
        if target.is_me and target.reply_to:
            sent_ids = await store.sent_of(message.scope.platform, target.reply_to)
    else:
        # It may wait to be answered.
        author_id = await store.asker_of(message.scope, target_id)
        if author_id is None:
            raise RequestError("That message is not stored.")
    if author_id != message.author.id and not message.author.is_moderator:
        raise RequestError("You can erase only your own messages; moderators can erase others too.")
    await store.withdraw_request(message.scope.platform, target_id)
    await store.erase_sent(message.scope.platform, sent_ids)
    sentence = "That message is permanently erased."
    yield Card(
        blocks=(Text(sentence),),
        data={"text": sentence},
        answers="private",
        removed_ids=tuple(sent_ids),
        withdrawn_ids=(target_id,),
    )


def _how_to_forget(request: Request) -> str:
    if not request.services.traits.has_replies:
        return (
            f"In {request.services.traits.name} no single message can be chosen. {mention('purge 1')} erases my last"
            f" answer, {mention('privacy --do forget')} everything you said, and after {mention('fresh')} nothing above"
            " is read again."
        )
    by_reply = f"reply to the message with {mention('forget')}"
    by_menu = "choose Forget in the menu of the message"
    if not request.services.traits.has_buttons:
        return f"To erase a message, {by_reply}."
    # A slash command can't be a reply, and in a thread nothing is.
    if request.message.reach == "form" or request.services.traits.replies_in_threads:
        return f"To erase a message, {by_menu}."
    return f"To erase a message, {by_reply}, or {by_menu}."


COMMANDS: Final = (
    Command(
        name="privacy",
        needs_model=False,
        summary="Show what is stored about you; export it, erase it, or stop being read",
        answer=answer_privacy,
        answers="private",
        options=(
            Option("do", "choice", "export or erase everything stored about you", ("export", "forget", FORGET_NOW)),
            Option("read", "choice", "whether the bot may read and store what you say", ("on", "off")),
        ),
        public_options=("read",),
        details=f"{_WHAT_IS_STORED} Its answer says where the model reads them. {_IF_NOT_READ}",
    ),
    Command(
        name="forget",
        needs_model=False,
        summary="Erase one message from what the bot stores",
        answer=answer_forget,
        answers="private",
        is_secret=False,
        menu="Forget",
        needs_reply=True,
        details="Moderators can erase messages of others too.",
    ),
)
