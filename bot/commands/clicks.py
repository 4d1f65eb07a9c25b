"""Clicks on cards and submitted forms: the owner, the revision, and the function that answers."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

from bot.commands import changing_settings, completing, models, privacy
from bot.commands.completing import MOVED_ON
from bot.commands.context import Services
from bot.commands.explaining import ACTIONS, WHY_CARD, act_on_why, explain
from bot.commands.framework.command import MODEL, Act, Cards, Command, Request, Submit, TextSource
from bot.commands.framework.model_choice import (
    answer_request,
    answered_by,
    model_of_place,
    model_of_template,
    model_that_wrote,
    without_model,
)
from bot.commands.framework.parsing import format_command_line
from bot.commands.framework.request import UNREADABLE, check_message, check_owner, load_asked, message_of, read_request
from bot.commands.templates import (
    browser,
    draft_cards,
    editing,
    neighbours,
    proposals,
    publishing,
    running,
    tuning,
)
from bot.core.cards import Answers, Button, Card
from bot.core.history import HistoryMessage
from bot.core.mentions import mention
from bot.core.messages import Click, FormSubmitted, Message, Scope
from bot.core.safe_text import clean_name
from bot.core.stopping import Stopper
from bot.errors import FewshotError, RequestError
from bot.services.answer_cards import REPLY_CARD, reply_card
from bot.services.chat import NOT_LATEST, asker_of
from bot.services.completions import MAX_OPTIONS, OPTIONS_VIEW, CompletionState, command_of, model_of
from bot.services.open_cards import COMMAND_CARD, COMPLETION_CARD
from bot.services.places import Place
from bot.services.replies import READ_AGAIN
from bot.store.cards import OpenCard
from bot.store.messages import EXAMPLE_FORM
from bot.store.replies import StoredReply

GONE: Final = "That card has expired, or its message was deleted. Give the command again."
DELETED: Final = "That answer was deleted."
_MORE: Final = "more"
NOT_ASKER: Final = "Only the person who asked, or a moderator, can change this answer. Anyone can use Why."

_ACTS: Final[Mapping[str, tuple[str, Act]]] = {
    changing_settings.SETTINGS_CARD: ("settings", changing_settings.act_on_settings),
    models.MODELS_CARD: ("model", models.act_on_models),
    privacy.PRIVACY_CARD: ("privacy", privacy.act_on_privacy),
    privacy.FORGET_CARD: ("privacy", privacy.act_on_privacy),
    draft_cards.DRAFT_CARD: ("prompt edit", editing.act_on_draft),
    publishing.DELETE_CARD: ("prompt delete", publishing.act_on_delete),
    publishing.TRY_CARD: ("prompt run", publishing.act_on_published),
    tuning.TUNING_CARD: ("prompt tune", tuning.act_on_tuning),
    neighbours.NEIGHBOURS_CARD: ("prompt neighbours", neighbours.act_on_neighbours),
}
_SUBMITS: Final[Mapping[str, tuple[str, Submit]]] = {
    EXAMPLE_FORM: ("prompt example", proposals.submit_example),
    editing.DRAFT_FORM: ("prompt edit", editing.submit_draft),
    publishing.REASON_FORM: ("prompt publish", publishing.submit_reason),
}

# These ask nothing of the model.
_NO_TEMPLATES: Final = frozenset(
    {changing_settings.SETTINGS_CARD, models.MODELS_CARD, privacy.PRIVACY_CARD, privacy.FORGET_CARD}
)
_WITHOUT_MODEL: Final = frozenset({"edit", "rows", "discard", "try"})
# The buttons that may open a form; a platform that must open it within a time asks before it knows the answer.
FORM_ACTIONS: Final = frozenset({"open", "edit", "rows", "publish", "publish-anyway", "try", "name"})
# The buttons whose work may take longer than a restart; it goes on from what was done before.
LONG_ACTIONS: Final = frozenset({"open", "test", privacy.FORGET_NOW})


async def _restored(cards: Cards, show_again: Callable[[str], Awaitable[Card]]) -> Cards:
    """Yield `cards`; an error after snapshots, which have replaced the visible card, shows that again with a notice."""
    has_begun = False
    try:
        async with aclosing(cards):
            async for snapshot in cards:
                has_begun = True
                yield snapshot
    except FewshotError as e:
        if not has_begun:
            raise
        yield await show_again(str(e))


def _is_current(click: Click, card: OpenCard) -> bool:
    return card.owner_id == click.author.id and card.revision == click.revision


def _writer(reply: StoredReply) -> str:
    return reply.provenance.model_name


class Clicks:
    """Answers clicks on the bot's cards."""

    def __init__(self, services: Services, commands: Mapping[str, Command]) -> None:
        self._services = services
        self._commands = commands
        # Completions in progress, by their card, and what was pressed: a second click at the same revision is refused.
        self._busy: dict[str, str] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def _by(self, model: str | None, act: "Callable[[Clicks], Cards]", *, loading: Answers | None = None) -> Cards:
        """Return the cards of `act` by the model (None: whichever); see `answered_by`."""

        def answer(services: Services) -> Cards:
            other = copy.copy(self)
            other._services = services
            return act(other)

        return answered_by(self._services, model, answer, loading=loading)

    async def answer(
        self, click: Click, stopper: Stopper, place: Place, *, may_store: bool, typed: Message | None = None
    ) -> tuple[str, Cards]:
        """Return the name of the clicked card's command, and the cards that answer the click.

        Without `may_store` nothing may be stored for the person who clicked. `typed` is the message whose words stand
        for the click: what is written then answers it. A card goes on with the model that made it, others with that of
        their template or `place`. Raises RequestError if there is no such card, or the model is not there any more.
        """
        store = self._services.store
        if click.card_id.startswith(REPLY_CARD):
            reply = await self._reply_of(click, REPLY_CARD)
            if click.action == "why":
                cards = self._by(self._known(reply), lambda by: by._explain(reply), loading="private")
            else:
                cards = self._act_on_reply(click, reply, stopper, may_store=may_store)
            return reply.provenance.command, cards
        if click.card_id.startswith(WHY_CARD):
            reply = await self._reply_of(click, WHY_CARD)
            if click.action not in ACTIONS:
                raise RequestError(MOVED_ON)
            return "why", self._by(
                self._known(reply),
                lambda by: act_on_why(by._services, by._commands, reply, click.action, asker_of(click), stopper),
                loading="private",
            )
        card = await store.get_open_card(click.scope, click.card_id)
        if card is None:
            raise RequestError(GONE)
        if card.kind == COMMAND_CARD:
            return str(card.state["command"]), self._open(click, card, stopper, may_store=may_store)
        if card.kind == COMPLETION_CARD:
            wrote = model_of(card.state)
            writer = model_that_wrote(self._services, wrote) if wrote else model_of_place(self._services, place)
            cards = self._complete(click, card, stopper, writer, may_store=may_store, typed=typed)
            return command_of(card.state), cards
        if card.kind == browser.BROWSER_CARD:
            return "prompt list", self._by(
                model_of_place(self._services, place),
                lambda by: browser.browse(by._services, by._commands, click, card, stopper, may_store=may_store),
            )
        if card.kind == publishing.TRY_CARD and click.action == "why":
            return "prompt run", self._explain_try(click, card)
        if card.kind not in _ACTS:
            raise RequestError(GONE)
        name, act = _ACTS[card.kind]
        model: str | None = None
        if click.action not in _WITHOUT_MODEL and card.kind not in _NO_TEMPLATES:
            is_asked = click.action == "test"
            model = await self._model_of_template(card, place, click.scope, is_asked=is_asked)
        if card.kind == draft_cards.DRAFT_CARD and click.action == "test" and _is_current(click, card):
            cards = self._by(model, lambda by: act(by._services, click, card, stopper), loading="public")
            return name, _restored(cards, lambda sentence: self._draft_again(click, card, sentence))
        return name, self._by(model, lambda by: act(by._services, click, card, stopper))

    async def _draft_again(self, click: Click, card: OpenCard, notice: str) -> Card:
        """Return the card of a draft as it was, with a notice."""
        services = self._services
        draft = await services.store.get_draft(click.scope, str(card.state["name"]), click.author.id)
        if draft is None:
            raise RequestError(notice)
        return await draft_cards.draft_card(services, click.scope, draft, card=card, notice=notice)

    async def _explain(self, reply: StoredReply) -> Cards:
        yield await explain(self._services, self._commands, reply)

    async def _model_of_template(self, card: OpenCard, place: Place, scope: Scope, *, is_asked: bool = False) -> str:
        """Return the model of the template that a card is about."""
        name = str(card.state.get("name", ""))
        return await model_of_template(self._services, place, scope, name, author_id=card.owner_id, is_asked=is_asked)

    async def _reply_of(self, click: Click, prefix: str) -> StoredReply:
        reply = await self._services.store.get_reply(click.scope, click.card_id.removeprefix(prefix))
        if reply is None:
            raise RequestError(DELETED)
        return reply

    def _known(self, reply: StoredReply) -> str | None:
        """Return the model that wrote an answer, None if it is not there any more."""
        return self._services.models.find(_writer(reply))

    async def submit(self, submitted: FormSubmitted, place: Place) -> tuple[str, Cards]:
        """Return the name of the form's command, and the cards that answer the form.

        Raises RequestError if there is no such form.
        """
        card_id, _, part = submitted.form_id.partition(".")
        card = await self._services.store.get_open_card(submitted.scope, card_id)
        if card is not None and card.kind == publishing.TRY_CARD:
            return "prompt run", self._try(submitted, card)
        if card is not None and card.kind == COMPLETION_CARD and part.isascii() and part.isdigit():
            return command_of(card.state), self._name_branch(submitted, card, int(part))
        if card is None or card.kind not in _SUBMITS:
            raise RequestError("That form has expired, or its message was deleted. Give the command again.")
        name, submit = _SUBMITS[card.kind]
        model = await self._model_of_template(card, place, submitted.scope)
        # On a card the form's answer takes its place, and nothing would bring it back.
        loading: Answers | None = None if submitted.is_on_card else "private"
        return name, self._by(model, lambda by: submit(by._services, submitted, card), loading=loading)

    async def _try(self, submitted: FormSubmitted, card: OpenCard) -> Cards:
        """Answer the text in the form with the template that was just published, as its command does."""
        services, author = self._services, submitted.author
        check_owner(card, author, "form", "prompt NAME TEXT")
        named = submitted.values.get(MODEL.name, "")
        options = {MODEL.name: services.models.check(named)} if named else {}
        command, arguments = self._commands["prompt run"], {"NAME": str(card.state["name"])}
        line = format_command_line(command, arguments, options, "", services.command_prefix)
        # After -- the text is taken as it is.
        text = f"{line} -- {submitted.values.get('text', '')}"
        asked = Message(submitted.id, submitted.scope, author, text, reach=submitted.reach)
        message = check_message(asked, services.traits)
        may_store = not await services.store.is_opted_out(submitted.scope.platform, author.id)
        request = await read_request(services, self._commands, message, Stopper(), may_store=may_store)
        if may_store:
            await services.store.add_message(message, kind="command")
        async with aclosing(await answer_request(request)) as cards:
            async for snapshot in cards:
                if not submitted.is_on_card or card.state.get("is_beside") or snapshot.error is not None:
                    yield replace(snapshot, answers="private")
                elif not snapshot.is_final:
                    yield replace(snapshot, answers="public")
                else:
                    yield await publishing.tried_card(services, card, snapshot)

    async def _explain_try(self, click: Click, card: OpenCard) -> Cards:
        check_owner(card, click.author, "card", "prompt NAME TEXT")
        reply_id = card.state.get("reply_id")
        reply = await self._services.store.get_reply(click.scope, reply_id) if reply_id else None
        if reply is None:
            raise RequestError(DELETED)
        yield await explain(self._services, self._commands, reply)

    async def _complete(
        self, click: Click, card: OpenCard, stopper: Stopper, model: str, *, may_store: bool, typed: Message | None
    ) -> Cards:
        """Act on a completion with the model: only its owner may, and only at its current revision."""
        await self._check_owner(click, card, command_of(card.state))
        self._check_may_store(may_store)
        if self._busy.get(card.id, _MORE) != _MORE:
            raise RequestError(MOVED_ON)
        if card.id in self._busy and click.action != _MORE:
            raise RequestError(MOVED_ON)
        turn = self._turns.setdefault(card.id, asyncio.Lock())
        # Presses of More in a row are all carried out, one after another.
        async with turn, aclosing(self._complete_in_turn(click, card, stopper, model, typed)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot

    async def _complete_in_turn(
        self, click: Click, card: OpenCard, stopper: Stopper, model: str, typed: Message | None
    ) -> Cards:
        services = self._services
        self._busy[card.id] = click.action
        try:
            # Read again, since nobody else can write it now.
            current = await services.store.get_open_card(click.scope, card.id)
            if current is None:
                raise RequestError(GONE)
            state = CompletionState.from_dict(current.state)
            num_behind = current.revision - click.revision - state.num_named
            is_more = click.action == _MORE and state.view == OPTIONS_VIEW
            if not -state.num_named <= num_behind <= (state.num_grown if is_more else 0):
                raise RequestError(MOVED_ON)
            request = await self._asked_again(click, state, stopper, typed)
            if num_behind > 0 and len(state.tree.here.options) >= MAX_OPTIONS:
                yield completing.show_again(request, current, state, completing.TOO_MANY)
                return

            def act(by: Clicks) -> Cards:
                asked = replace(request, services=by._services)
                return completing.answer_action(asked, current, state, click.action, click.value)

            async def show_again(sentence: str) -> Card:
                return completing.show_again(request, current, state, sentence)

            async with aclosing(_restored(self._by(model, act, loading="public"), show_again)) as cards:
                async for snapshot in cards:
                    yield snapshot
        finally:
            del self._busy[card.id]

    async def _name_branch(self, submitted: FormSubmitted, card: OpenCard, branch_id: int) -> Cards:
        """Name a branch of a completion as its form says; the form may be older than what the card shows."""
        check_owner(card, submitted.author, "card", command_of(card.state))
        self._check_may_store(
            not await self._services.store.is_opted_out(submitted.scope.platform, submitted.author.id)
        )
        if card.id in self._busy:
            raise RequestError(MOVED_ON)
        turn = self._turns.setdefault(card.id, asyncio.Lock())
        async with turn:
            current = await self._services.store.get_open_card(submitted.scope, card.id)
            if current is None:
                raise RequestError(GONE)
            state = CompletionState.from_dict(current.state)
            click = Click(submitted.id, submitted.scope, submitted.author, card.id, current.revision, "name")
            request = await self._asked_again(click, state, Stopper(), None)
            yield await completing.name_branch(request, current, state, branch_id, submitted.values.get("name", ""))

    async def _asked_again(
        self, click: Click, state: CompletionState, stopper: Stopper, typed: Message | None
    ) -> Request:
        services = self._services
        source = TextSource(state.message_id, is_command_line=state.is_command_line)
        asked = await load_asked(services.store, click.scope, source, services.command_prefix, self._commands)
        if asked is None:
            raise RequestError(completing.TEXT_GONE)
        message = typed or Message(state.request_id, click.scope, click.author, click.action, reach=click.reach)
        click_id = "" if typed else click.id
        command = self._commands[state.command]
        return Request(services, self._commands, stopper, message, command, {}, {}, *asked, click_id=click_id)

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
        async with aclosing(await answer_request(request)) as cards:
            async for snapshot in cards:
                yield snapshot

    async def _act_on_reply(self, click: Click, reply: StoredReply, stopper: Stopper, *, may_store: bool) -> Cards:
        """Write a stored answer again, or continue it, with the model that wrote it."""
        model = model_that_wrote(self._services, _writer(reply))
        asked = await self._load_message(click.scope, reply.message.reply_to)
        if asked is None:
            raise RequestError("The message behind this answer was deleted, so the answer can't be changed.")
        if asked.author_id != click.author.id and not click.author.is_moderator:
            raise RequestError(NOT_ASKER)
        self._check_may_store(may_store)
        if reply.provenance.command == "chat" and click.action in ("again", "continue"):
            goes_on = click.action == "continue"

            def write(by: Clicks) -> Cards:
                return by._services.chat.rewrite(
                    asked, reply.message.id, asker_of(click), click.scope, stopper, goes_on=goes_on
                )

        elif reply.provenance.command == "prompt run" and click.action == "again":

            def write(by: Clicks) -> Cards:
                return by._run_again(click, reply, asked, stopper)

        else:
            raise RequestError(MOVED_ON)

        async def show_again(sentence: str) -> Card:
            buttons = None if reply.provenance.command == "chat" else (Button("again", "Again"), Button("why", "Why"))
            return reply_card(reply, notice=sentence, buttons=buttons)

        async with aclosing(_restored(self._by(model, write, loading="public"), show_again)) as cards:
            async for snapshot in cards:
                yield snapshot

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
        async with aclosing(running.run_template(without_model(request), replaces=reply)) as cards:
            async for snapshot in cards:
                yield snapshot

    async def _check_owner(self, click: Click, card: OpenCard, command: str) -> None:
        if card.owner_id == click.author.id:
            return
        whose = "someone else"
        # The author of a message that someone else asked about is not the owner; the request is then another message.
        for message_id in (card.source_message_id, card.state.get("request_id")):
            source = await self._load_message(click.scope, message_id)
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
