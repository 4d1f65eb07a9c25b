"""What people say, change and take back on the page: accepted once, shown to all, answered where that is wanted."""

import asyncio
import logging
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bot.commands.bot import MAX_TEXT_BYTES, Bot
from bot.core.messages import Message, Scope, ShownCard, attachment_format
from bot.core.safe_text import replace_lone_surrogates
from bot.errors import RequestError
from bot.platforms.shared.answering import Answering, Responder
from bot.platforms.shared.text_files import MAX_BYTES
from bot.platforms.web.fields import message_number
from bot.platforms.web.outlets import Asked, WebOutlet
from bot.platforms.web.stage import Stage
from bot.platforms.web.traits import WEB
from bot.platforms.web.windows import Window
from bot.services.hosted_messages import HostedMessage
from bot.services.hosted_places import HostedPerson
from bot.services.ledger import Delivery
from bot.trace import note_step

logger = logging.getLogger(__name__)

_MAX_NONCE: Final = 64
_LIKE_A_COMMAND: Final = re.compile(r"/[A-Za-z][\w-]*(?=\s|$)")  # unlike /etc/hosts


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody typed in a window: `nonce` is the window's own id for it, a file has a name and a text."""

    channel: str
    text: str
    nonce: str
    thread: str = ""
    reply_to: str | None = None
    file_name: str = ""
    file_text: str | None = None


class Intake:
    """Handles messages, edits and deletions. RequestError and Unavailable are for the person who acted."""

    def __init__(self, bot: Bot, delivery: Delivery, answering: Answering, stage: Stage) -> None:
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._stage = stage
        self._saying: dict[str, asyncio.Task[str]] = {}
        mention = rf"@{re.escape(bot.name)}\b[,:]?\s*"
        self._mention = re.compile(mention, re.IGNORECASE)

    # ---- messages

    async def say(self, said: Said, window: Window) -> str:
        """Show what somebody said and answer it; return its id, which is the same for a nonce that was used before."""
        if not said.nonce or len(said.nonce) > _MAX_NONCE:
            raise RequestError("The page is out of date. Reload it.")
        nonce = f"{window.person.id}.{said.nonce}"
        running = self._saying.get(nonce)
        if running is None:
            # Not cancelled with its window: half of it would be done.
            running = asyncio.ensure_future(self._say(said, nonce, window))
            self._saying[nonce] = running
            running.add_done_callback(lambda _: self._saying.pop(nonce, None))
        return await asyncio.shield(running)

    async def _say(self, said: Said, nonce: str, window: Window) -> str:
        known = await self._stage.messages.said_with(nonce)
        if known is not None:
            return str(known)
        message = await self._read(said, window.person)
        is_kept = not await self._stage.messages.is_opted_out(window.person.id)
        if self._is_secret(message):
            await self._ask(message, window, is_kept=is_kept)
            return message.id
        place = await self._bot.place_where_wanted(message)
        if place is not None:
            if message.reply_to is not None:
                await self._keep_target(message)
            if not await self._delivery.accept(message):
                return message.id
            note_step(message.id, "received")
        shown = HostedMessage(
            int(message.id),
            message.scope,
            window.person.id,
            replace_lone_surrogates(said.text),
            reply_to=message_number(said.reply_to),
            file_name=said.file_name,
            revision=int(message.id),
        )
        await self._stage.add(shown, nonce=nonce, is_kept=is_kept)
        if place is not None:
            self._begin(message, window, is_kept=is_kept, answer=partial(self._bot.answer, place=place))
        return message.id

    async def _ask(self, message: Message, window: Window, *, is_kept: bool) -> None:
        """Answer a command that only its asker sees; the command itself is no message."""
        message = replace(message, reach="form")
        if message.reply_to is not None:
            await self._keep_target(message)
        accepts = self._bot.answers_of(self._bot.line_of(message)) != "form"
        if accepts and not await self._delivery.accept(message):
            return
        note_step(message.id, "received")
        self._begin(message, window, is_kept=is_kept, is_accepted=accepts)

    def _begin(
        self,
        message: Message,
        window: Window,
        *,
        is_kept: bool,
        is_accepted: bool = True,
        answer: Responder | None = None,
    ) -> None:
        outlet = WebOutlet(self._stage, Asked(message.id, message.scope, message.author.id, window, is_kept))
        self._answering.begin(message, outlet, is_kept=is_accepted, answer=answer)

    def _is_secret(self, message: Message) -> bool:
        """Say whether a message is a command whose answer, or whose form, only its asker sees."""
        line = self._bot.line_of(message)
        if not line.startswith(self._bot.command_prefix) or not line[len(self._bot.command_prefix) :][:1].isalpha():
            return False
        return self._bot.answers_of(line) != "public"

    async def _read(self, said: Said, person: HostedPerson) -> Message:
        """Return what was said as the bot reads it. Raises RequestError."""
        text = replace_lone_surrogates(said.text)
        if len(text.encode()) > MAX_TEXT_BYTES:
            raise RequestError(f"The text is too long: at most {MAX_TEXT_BYTES:,} bytes. Shorten it.")
        if not text.strip() and said.file_text is None:
            raise RequestError("There is nothing to send. Write a text, or attach a file.")
        if said.file_text is not None and len(said.file_text.encode(errors="replace")) > MAX_BYTES:
            raise RequestError(f"The file is too large: at most {MAX_BYTES:,} bytes. Shorten it.")
        scope = self._stage.places.scope_of(person, said.channel, said.thread)
        root = await self._message_in(scope, said.thread) if said.thread else None
        target = await self._message_in(scope, said.reply_to) if said.reply_to else None
        is_addressed = scope.kind == "direct" or bool(self._mention.search(text)) or _is_bots(target)
        if not is_addressed and root is not None:
            is_addressed = _is_bots(root) or await self._stage.messages.has_answer(scope)
        message = Message(
            str(self._stage.clock.next()),
            scope,
            self._stage.places.author(person),
            self._mention.sub("", text, count=1).strip() if is_addressed else text,
            reply_to=None if target is None else str(target.id),
            replied_card=_card_of(target),
            attachment=None if said.file_text is None else replace_lone_surrogates(said.file_text),
            attachment_format=attachment_format(said.file_name),
            has_file=said.file_text is not None,
            is_addressed=is_addressed,
        )
        as_command = replace(message, text=text.lstrip(), is_addressed=True)
        line = self._bot.line_of(as_command)
        if text.startswith("/") and line != as_command.text:
            # As a slash command in a chat: the bot is meant, and it may answer with a form.
            message = replace(message, text=line, is_addressed=True, reach="form")
        elif _LIKE_A_COMMAND.match(text) and (problem := self._bot.why_unknown(text[1:])):
            raise RequestError(problem)
        return message

    async def _message_in(self, scope: Scope, message_id: str | None) -> HostedMessage:
        """Return the message of a channel with an id. Raises RequestError if it is not there."""
        number = message_number(message_id)
        found = None if number is None else await self._stage.messages.get(number)
        if found is None or (found.scope.server, found.scope.channel) != (scope.server, scope.channel):
            raise RequestError("That message is not there any more.")
        return found

    async def _keep_target(self, message: Message) -> None:
        """Store the message that is replied to, so that it can be read."""
        target = await self._message_in(message.scope, message.reply_to)
        person = self._stage.places.people.get(target.author_id)
        if person is None:
            return
        said = Message(str(target.id), target.scope, self._stage.places.author(person), target.text)
        await self._bot.keep(said, kind="chat" if message.reach != "form" else "command")

    # ---- edits and deletions

    async def edit(self, message_id: str, text: str, window: Window) -> None:
        """Change what somebody said, and answer it again while it is being answered."""
        shown = await self._own(message_id, window.person)
        if shown.author_id != window.person.id:
            raise RequestError("Only the author can change a message.")
        said = Said(
            shown.scope.channel, text, "", shown.scope.thread, None if not shown.reply_to else str(shown.reply_to)
        )
        message = replace(await self._read(said, window.person), id=str(shown.id), has_file=bool(shown.file_name))
        if text == shown.text:
            return
        if await self._stage.change(shown, text=text) is None:
            raise RequestError("That message is not there any more.")
        await self._bot.edited(message)
        if self._answering.is_open(message.id) and not await self._bot.is_wanted(message):
            await self._answering.withdrawn(message.id)
            await self._bot.deleted(WEB.key, [message.id])
            return
        await self._answering.edited(message)

    async def remove(self, message_id: str, window: Window) -> None:
        """Take back a message, or delete one as a moderator; what was said is erased from the files."""
        shown = await self._own(message_id, window.person)
        self._bot.note_gone(WEB.key, [message_id])
        await self._answering.withdrawn(message_id)
        await self._stage.remove(shown.id)
        await self._bot.deleted(WEB.key, [message_id])

    async def _own(self, message_id: str, person: HostedPerson) -> HostedMessage:
        """Return a message that a person may change or delete. Raises RequestError."""
        number = message_number(message_id)
        shown = None if number is None else await self._stage.messages.get(number)
        if shown is None:
            raise RequestError("That message is not there any more.")
        self._stage.places.scope_of(person, shown.scope.channel)
        if person.id not in (shown.author_id, shown.asker_id) and not person.is_moderator:
            raise RequestError("Only the author, or a moderator, can do that.")
        return shown

    # ---- places

    async def remove_channel(self, channel_id: str) -> None:
        """Remove a channel and erase what was said there."""
        scope = await self._stage.places.remove_channel(channel_id)
        self._stage.tell_places()
        await self._answering.end_in(scope.server, scope.channel)
        await self._bot.channel_gone(scope)

    async def remove_server(self, server_id: str) -> None:
        """Remove a server and erase everything of it."""
        await self._stage.places.remove_server(server_id)
        self._stage.tell_places()
        await self._answering.end_in(server_id)
        await self._bot.left(WEB.key, server_id)


def _is_bots(message: HostedMessage | None) -> bool:
    return message is not None and not message.author_id


def _card_of(message: HostedMessage | None) -> ShownCard | None:
    card = None if message is None else message.card
    return ShownCard(card["card_id"], card["card_revision"]) if card and card.get("card_id") else None
