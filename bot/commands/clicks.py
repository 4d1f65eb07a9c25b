"""Clicks on cards and submitted forms: the owner, the revision, and the function that answers."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

from bot.commands import channel, completing, privacy
from bot.commands.context import Services
from bot.commands.explaining import explain
from bot.commands.framework.command import Act, Cards, Command, Request, Submit, TextSource
from bot.commands.framework.request import UNREADABLE, load_asked, message_of, read_request
from bot.commands.templates import drafts, editing, proposals, publishing, running
from bot.core.cards import Button
from bot.core.history import HistoryMessage
from bot.core.mentions import mention
from bot.core.messages import Click, FormSubmitted, Message, Scope
from bot.core.safe_text import clean_name
from bot.core.stopping import Stopper
from bot.errors import FewshotError, RequestError
from bot.services.answer_cards import REPLY_CARD, reply_card
from bot.services.chat import NOT_LATEST, asker_of
from bot.services.open_cards import COMMAND_CARD, COMPLETION_CARD, CompletionTree
from bot.services.replies import READ_AGAIN
from bot.store.cards import OpenCard
from bot.store.replies import StoredReply

MOVED_ON: Final = "That card is out of date; use the newest one."
GONE: Final = "That card has expired, or its message was deleted. Give the command again."
NOT_ASKER: Final = "Only the person who asked, or a moderator, can change this answer. Anyone can use Why."

_ACTS: Final[Mapping[str, tuple[str, Act]]] = {
    channel.SETTINGS_CARD: ("settings", channel.act_on_settings),
    privacy.PRIVACY_CARD: ("privacy", privacy.act_on_privacy),
    drafts.DRAFT_CARD: ("prompt edit", editing.act_on_draft),
    publishing.DELETE_CARD: ("prompt delete", publishing.act_on_delete),
}
_SUBMITS: Final[Mapping[str, tuple[str, Submit]]] = {
    proposals.EXAMPLE_FORM: ("prompt example", proposals.submit_example),
    editing.DRAFT_FORM: ("prompt edit", editing.submit_draft),
    publishing.REASON_FORM: ("prompt publish", publishing.submit_reason),
}


class Clicks:
    """Answers clicks on the bot's cards."""

    def __init__(self, services: Services, commands: Mapping[str, Command]) -> None:
        self._services = services
        self._commands = commands
        # Completions in progress: a second click at the same revision is refused.
        self._busy: set[str] = set()

    async def answer(self, click: Click, stopper: Stopper, *, may_store: bool) -> tuple[str, Cards]:
        """Return the name of the clicked card's command, and the cards that answer the click.

        Without `may_store` nothing may be stored for the person who clicked. Raises RequestError if there is no such
        card.
        """
        store = self._services.store
        if click.card_id.startswith(REPLY_CARD):
            reply = await store.get_reply(click.scope, click.card_id.removeprefix(REPLY_CARD))
            if reply is None:
                raise RequestError("That answer was deleted.")
            return reply.provenance.command, self._act_on_reply(click, reply, stopper, may_store=may_store)
        card = await store.get_open_card(click.scope, click.card_id)
        if card is None:
            raise RequestError(GONE)
        if card.kind == COMMAND_CARD:
            return str(card.state["command"]), self._open(click, card, stopper, may_store=may_store)
        if card.kind == COMPLETION_CARD:
            return "complete", self._complete(click, card, stopper, may_store=may_store)
        if card.kind not in _ACTS:
            raise RequestError(GONE)
        name, act = _ACTS[card.kind]
        return name, act(self._services, click, card, stopper)

    async def submit(self, submitted: FormSubmitted) -> tuple[str, Cards]:
        """Return the name of the form's command, and the cards that answer the form.

        Raises RequestError if there is no such form.
        """
        card = await self._services.store.get_open_card(submitted.scope, submitted.form_id)
        if card is None or card.kind not in _SUBMITS:
            raise RequestError("That form has expired, or its message was deleted. Give the command again.")
        name, submit = _SUBMITS[card.kind]
        return name, submit(self._services, submitted, card)

    async def _complete(self, click: Click, card: OpenCard, stopper: Stopper, *, may_store: bool) -> Cards:
        """Act on a completion: only its owner may, and only at its current revision."""
        services = self._services
        await self._check_owner(click, card, "complete")
        self._check_may_store(may_store)
        if card.id in self._busy or not completing.is_action(click.action):
            raise RequestError(MOVED_ON)
        self._busy.add(card.id)
        try:
            # Read again, since nobody else can write it now.
            current = await services.store.get_open_card(click.scope, card.id)
            if current is None:
                raise RequestError(GONE)
            if current.revision != click.revision:
                raise RequestError(MOVED_ON)
            tree = CompletionTree.from_dict(current.state)
            request = await self._asked_again(click, tree, stopper)
            has_begun = False
            try:
                async with aclosing(completing.answer_action(request, current, tree, click.action)) as cards:
                    async for snapshot in cards:
                        has_begun = True
                        yield snapshot
            except FewshotError as e:
                if not has_begun:
                    raise
                # Snapshots have replaced the visible card.
                yield completing.show_again(request, current, tree, str(e))
        finally:
            self._busy.discard(card.id)

    async def _asked_again(self, click: Click, tree: CompletionTree, stopper: Stopper) -> Request:
        services = self._services
        source = TextSource(tree.message_id, is_command_line=tree.is_command_line)
        asked = await load_asked(services.store, click.scope, source, services.command_prefix, self._commands)
        if asked is None:
            raise RequestError(completing.TEXT_GONE)
        message = Message(tree.request_id, click.scope, click.author, click.action, reach=click.reach)
        complete = self._commands["complete"]
        return Request(services, self._commands, stopper, message, complete, {}, {}, *asked, click_id=click.id)

    async def _open(self, click: Click, card: OpenCard, stopper: Stopper, *, may_store: bool) -> Cards:
        """Run the private or form command of an Open button."""
        services = self._services
        name = str(card.state["command"])
        await self._check_owner(click, card, name)
        stored = await self._load_message(click.scope, card.source_message_id)
        if stored is None:
            raise RequestError(GONE)
        message = message_of(stored, click.scope, click.author, click.reach)
        request = await read_request(services, self._commands, message, stopper, may_store=may_store, click_id=click.id)
        if request.command.name != name:
            raise RequestError("That message was edited and now holds another command. Send it again.")
        async with aclosing(request.command.answer(request)) as cards:
            async for snapshot in cards:
                yield snapshot

    async def _act_on_reply(self, click: Click, reply: StoredReply, stopper: Stopper, *, may_store: bool) -> Cards:
        """Explain a stored answer, write it again, or continue it."""
        if click.action == "why":
            yield await explain(self._services, self._commands, reply)
            return
        asked = await self._load_message(click.scope, reply.message.reply_to)
        if asked is None:
            raise RequestError("The message behind this answer was deleted, so the answer can't be changed.")
        if asked.author_id != click.author.id and not click.author.is_moderator:
            raise RequestError(NOT_ASKER)
        self._check_may_store(may_store)
        if reply.provenance.command == "chat" and click.action in ("again", "continue"):
            goes_on = click.action == "continue"
            cards = self._services.chat.rewrite(
                asked, reply.message.id, asker_of(click), click.scope, stopper, goes_on=goes_on
            )
        elif reply.provenance.command == "prompt run" and click.action == "again":
            cards = self._run_again(click, reply, asked, stopper)
        else:
            raise RequestError(MOVED_ON)
        has_begun = False
        try:
            async with aclosing(cards):
                async for snapshot in cards:
                    has_begun = True
                    yield snapshot
        except FewshotError as e:
            if not has_begun:
                raise
            buttons = None if reply.provenance.command == "chat" else (Button("again", "Again"), Button("why", "Why"))
            yield reply_card(reply, notice=str(e), buttons=buttons)

    async def _run_again(self, click: Click, reply: StoredReply, asked: HistoryMessage, stopper: Stopper) -> Cards:
        services = self._services
        latest = await services.store.last_reply(click.scope)
        if latest is None or latest.message.id != reply.message.id:
            raise RequestError(NOT_LATEST)
        if await services.store.is_opted_out(click.scope.platform, asked.author_id):  # a moderator clicked
            raise RequestError(UNREADABLE)
        message = message_of(asked, click.scope, click.author, click.reach)
        request = await read_request(services, self._commands, message, stopper, click_id=click.id)
        if request.command.name != "prompt run":
            raise RequestError("The message behind this answer holds another command now. Give the command again.")
        async with aclosing(running.run_template(request, replaces=reply)) as cards:
            async for snapshot in cards:
                yield snapshot

    async def _check_owner(self, click: Click, card: OpenCard, command: str) -> None:
        if card.owner_id == click.author.id:
            return
        source = await self._load_message(click.scope, card.source_message_id)
        # The author of a message that someone else asked about is not the owner.
        whose = "someone else"
        if source is not None and source.author_id == card.owner_id:
            whose = clean_name(source.author_name)
        raise RequestError(f"That card belongs to {whose}. Get your own with {mention(command)}.")

    def _check_may_store(self, may_store: bool) -> None:
        if not may_store:
            raise RequestError(READ_AGAIN)

    async def _load_message(self, scope: Scope, message_id: str | None) -> HistoryMessage | None:
        if message_id is None:
            return None
        found = await self._services.store.load_messages(scope, [message_id])
        return found[0] if found else None
