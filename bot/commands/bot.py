"""The bot as a platform sees it: messages, clicks and forms in, cards out; edits and deletions of messages."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, Literal

from bot.commands.channel import context_card
from bot.commands.clicks import FORM_ACTIONS, LONG_ACTIONS
from bot.commands.context import PlatformFigure, Services
from bot.commands.continuations import Continuations
from bot.commands.framework.command import Cards
from bot.commands.framework.line_completion import Expected
from bot.commands.framework.model_choice import Tell, leased, model_of_chat, model_of_place, model_of_typed, tell_nobody
from bot.commands.framework.parsing import find_command, parse_command_line
from bot.commands.framework.request import MAX_TEXT_BYTES, check_message
from bot.commands.framework.spelling import Spelling
from bot.commands.models import state_of
from bot.commands.router import COMMANDS, Asked, Router
from bot.commands.suggestions import KnownNames, expected_in, known_names, suggest_values
from bot.commands.typed_answers import find_answered, is_word_to_card
from bot.commands.workbench.workbench import Workbench
from bot.commands.writing import Desk
from bot.core.cards import BROKEN, Card, error_card
from bot.core.mentions import spell_mentions
from bot.core.messages import Author, Click, FormSubmitted, Message, Reach, Scope
from bot.core.safe_text import replace_lone_surrogates
from bot.core.stopping import Stopper
from bot.core.watch import Connection, EndedRequest, RequestOutcome
from bot.core.wording import list_words
from bot.errors import FewshotError, GenerationError, OptedOut, RequestError, Unavailable
from bot.services.places import Place
from bot.services.replies import READ_AGAIN
from bot.store.messages import MessageKind
from bot.store.store import Store

__all__ = ["COMMANDS", "MAX_TEXT_BYTES", "REPORTED_COMMANDS", "Bot"]

logger = logging.getLogger(__name__)

# What is asked without a command's name.
_OTHER_NAMES: Final = frozenset({"chat", "look", "click", "form"})
_UNKNOWN: Final = "unknown"
# All names under which requests are reported.
REPORTED_COMMANDS: Final = frozenset({*COMMANDS, *_OTHER_NAMES, _UNKNOWN})


class Bot:
    """Answers messages, clicks and forms of any platform."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._router = Router(services)
        self.workbench = Workbench(services)
        limit = services.traits.max_option_characters
        self.desk = Desk(services)
        self._continuations = Continuations(services.models, max_characters=limit or MAX_TEXT_BYTES)

    @property
    def store(self) -> Store:
        """Return the store behind the bot."""
        return self._services.store

    @property
    def command_prefix(self) -> str:
        """Return the prefix of typed commands."""
        return self._services.command_prefix

    def name_places_by(
        self,
        look_up: Callable[[Scope, str], str | None],
        *,
        fetch: Callable[[Scope, Sequence[str]], Awaitable[None]] | None = None,
    ) -> None:
        """Show roles and channels by the names that `look_up` returns for their ids in a scope.

        `fetch` is given the ids before, where their names have to be asked for; it does not raise.
        """
        self._services.names.look_up = look_up
        self._services.names.fetch = fetch

    @property
    def name(self) -> str:
        """Return the bot's name."""
        return self._services.chat.bot_name

    @property
    def retention_days(self) -> int:
        """Return for how many days messages are kept by default."""
        return int(self._services.channel_settings["retention_days"].default)

    @property
    def model_line(self) -> str:
        """Return one line about the default model, for people."""
        info = self._services.engine.info
        if info.server:
            return f"{info.name} · {info.device}"
        return f"{info.name} · {info.num_parameters / 1e6:.0f}M parameters · {info.device} · {info.precision}"

    @property
    def models_line(self) -> str:
        """Return one line about all models as they are now: the default one, and the state of the others."""
        others = [f"{one.name} ({state_of(one)})" for one in self._services.models.states_of_others()]
        return f"{self.model_line}; also {list_words(others)}" if others else self.model_line

    def show_figure(self, name: str, label: str, read: Callable[[], int]) -> None:
        """Let `stats` show a count of the platform: as `label` to people, as `name` in JSON."""
        self._services.platform_figures[name] = PlatformFigure(label, read)

    def answer(self, message: Message, stopper: Stopper, *, place: Place | None = None) -> Cards:
        """Yield snapshots of the reply, the last one final. Errors are cards too; only cancellation is raised.

        A plain number or word may stand for a button of a card: see typed_answers.py. `place` is what
        `place_where_wanted` returned for this message; without it, it is read again.
        """
        asked = Asked("chat")
        begin = self._router.begin_message
        # A word to a card stands for a button, and buttons answer in the form of slash commands where there are any.
        traits = self._services.traits
        is_in_thread = traits.replies_in_threads and bool(message.scope.thread or message.replied_card)
        reach = "form" if is_word_to_card(message, traits) and not is_in_thread else message.reach
        answer = partial(begin, asked, message, stopper, place)
        return self._as_answer(asked, answer, self._spelling(reach), message, stopper)

    def look(self, message: Message, stopper: Stopper) -> Cards:
        """Yield snapshots of the answer to a command that only measures; nothing of it is stored, and all may look."""
        asked = Asked("look")
        look = partial(self._router.begin_look, asked, message, stopper)
        return self._as_answer(asked, look, self._spelling("form"), message, stopper)

    def click(self, click: Click, stopper: Stopper) -> Cards:
        """Yield snapshots of the answer to a click, the last one final.

        A public card replaces the clicked one; only the person who clicked sees a private one; a form is opened.
        """
        asked = Asked("click")
        press = partial(self._router.begin_click, asked, click, stopper)
        return self._as_answer(asked, press, self._spelling(click.reach), click, stopper)

    async def context_card(self, scope: Scope, tell: Tell = tell_nobody) -> Card:
        """Return what the model would read in `scope` now, with the prompt; `tell` is told if it is loaded first.

        Raises FewshotError.
        """
        services = self._services
        name = model_of_chat(services, await services.place_of(scope))
        async with leased(services, name, tell) as by:
            return await context_card(by, scope, shows_prompt=True)

    def submit(self, submitted: FormSubmitted) -> Cards:
        """Yield snapshots of the answer to a submitted form, the last one final."""
        asked = Asked("form")
        # Only a slash command or a click opens a form.
        submit = partial(self._router.begin_form, asked, submitted)
        return self._as_answer(asked, submit, self._spelling("form"), submitted)

    async def _as_answer(
        self,
        asked: Asked,
        begin: Callable[[], Awaitable[Cards]],
        spelling: Spelling,
        event: Message | Click | FormSubmitted,
        stopper: Stopper | None = None,
    ) -> Cards:
        """Yield the cards that `begin` leads to, in the reader's spelling; an error becomes a card of one sentence.

        At the end it is reported and logged, without words.
        """
        started_at = time.perf_counter()
        outcome: RequestOutcome = "answered"
        try:
            async with aclosing(await begin()) as cards:
                async for card in cards:
                    outcome = "answered" if card.error is None else "refused"
                    yield spelling.card(replace(card, data={"command": asked.command, **card.data}))
            if stopper is not None and stopper.is_stopped:
                outcome = "cancelled"
        except FewshotError as e:
            outcome = _outcome_of(e)
            sentence = READ_AGAIN if isinstance(e, OptedOut) else str(e)
            yield spelling.card(error_card(sentence, command=asked.command))
        except Exception:
            outcome = "failed"
            logger.exception("answering failed")
            yield error_card(BROKEN, command=asked.command)
        except BaseException:
            outcome = "cancelled"
            raise
        finally:
            self._report(asked, event, outcome, time.perf_counter() - started_at)

    def _report(
        self, asked: Asked, event: Message | Click | FormSubmitted, outcome: RequestOutcome, duration_s: float
    ) -> None:
        """Report and log a request that has ended: by ids, names of commands and numbers."""
        # What somebody typed in place of a command's name is words of theirs.
        command = asked.command if asked.command in REPORTED_COMMANDS else _UNKNOWN
        platform = event.scope.platform
        self._services.watch.on_request(EndedRequest(platform, command, outcome, duration_s))
        duration_ms = round(1000 * duration_s, 1)
        logger.info(
            "%s on %s: %s in %.0f ms",
            command,
            platform,
            outcome,
            duration_ms,
            extra={
                "platform": platform,
                "command": command,
                "outcome": outcome,
                "duration_ms": duration_ms,
                "request": event.id,
            },
        )

    def watch_connection(self, count: Callable[[], int], find_problem: Callable[[], Awaitable[str]]) -> None:
        """Let the state of the platform's connection be watched: see `Connection`."""
        self._services.watch.connections[self._services.traits.key] = Connection(count, find_problem)

    def _spelling(self, reach: Reach) -> Spelling:
        """Return the form in which the reader of the answer to a request with `reach` calls commands."""
        return Spelling.for_reader(COMMANDS, self._services.traits, self.command_prefix, reach)

    async def place_where_wanted(self, message: Message) -> Place | None:
        """Return the place of `message` if it is to be answered (pass it to `answer`), None if not.

        Messages of bots are not answered; others are if they address the bot, or if it answers every message there.
        """
        return await self._router.place_where_wanted(message)

    def sees_pictures(self, message: Message, place: Place) -> bool:
        """Say whether the answer to `message` in `place` is of a model that takes its pictures."""
        return self._router.sees_pictures(message, place)

    async def is_answer_to_card(self, message: Message) -> bool:
        """Say whether the words of `message` stand for a button of a card. Raises Unavailable."""
        return await find_answered(self._services, message) is not None

    def line_of(self, message: Message) -> str:
        """Return the text of `message`, as a command line if it means one (`/complete …`, `help`)."""
        return self._router.line_of(message)

    def why_unknown(self, line: str) -> str:
        """Return what is wrong with the name in a command line without its prefix, "" if there is such a command."""
        try:
            find_command(line, COMMANDS)
        except RequestError as e:
            return spell_mentions(str(e), self._spelling("form").spell)
        return ""

    def is_meant(self, message: Message) -> bool:
        """Say, without reading anything, whether `message` addresses the bot or is a command for it."""
        return self._router.is_meant(message)

    async def is_wanted(self, message: Message) -> bool:
        """Say whether `message` is to be answered."""
        return await self.place_where_wanted(message) is not None

    async def suggest_values(
        self,
        scope: Scope,
        command_name: str,
        option_name: str,
        typed: str,
        *,
        who: Author | None = None,
        tell: Tell | None = None,
    ) -> tuple[str, ...]:
        """Return values for an option that is being typed, the best first.

        The model of the place is asked only for a text that it continues, by `who`, and for at most a second. With
        `tell`, which is told so, it is loaded first where that is needed; else there is nothing then.
        """
        command = COMMANDS.get(command_name)
        if who is not None and command is not None and command.continues_text and option_name == command.text_name:
            services = self._services
            model = model_of_place(services, await services.place_of(scope))
            if tell is not None:
                async with leased(services, model, tell):
                    return await self._continuations.suggest((scope.platform, who.id), typed, model)
            return await self._continuations.suggest((scope.platform, who.id), typed, model)
        return await suggest_values(self._services, COMMANDS, scope, command_name, option_name, typed)

    async def known_names(self, scope: Scope) -> KnownNames:
        """Return the names of templates and settings that may be typed in `scope`. Raises Unavailable."""
        return await known_names(self._services, scope)

    def expected_in(self, line: str, known: KnownNames) -> Expected:
        """Return what may stand at the end of the command `line`, without its prefix; never asks the model."""
        return expected_in(COMMANDS, known, line)

    def lacks_text(self, line: str) -> bool:
        """Say whether the command `line` is valid but for the text that it needs."""
        try:
            found = parse_command_line(line[len(self.command_prefix) :], COMMANDS)
        except RequestError:
            return False
        return found.command.text == "required" and not found.text.strip()

    def answers_of(self, line: str) -> Literal["public", "private", "form"]:
        """Return how the command `line` is answered; the error of an invalid line is private."""
        try:
            found = parse_command_line(line[len(self.command_prefix) :], COMMANDS)
        except RequestError:
            return "private"
        return found.command.answers

    def may_open_form(self, action: str) -> bool:
        """Say whether a click on a button with `action` may open a form."""
        return action in FORM_ACTIONS

    def may_take_long(self, action: str) -> bool:
        """Say whether a click on a button with `action` may start work that is longer than a restart."""
        return action in LONG_ACTIONS

    async def with_rights(self, scope: Scope, author: Author) -> Author:
        """Return `author` with `is_moderator` as it holds in `scope`."""
        return await self._services.with_rights(scope, author)

    async def keep(self, message: Message, *, kind: MessageKind = "chat") -> bool:
        """Store a message that someone replies to, so that it can be read; return False if it may not be stored.

        One of kind "command" is only asked about; it is not part of the conversation.
        """
        try:
            # A picture that was not read is nothing that can be read later.
            kept_ids = tuple(picture.id for picture in message.pictures)
            message = check_message(replace(message, picture_ids=kept_ids), self._services.traits)
        except RequestError:
            return False
        return not message.author.is_me and await self._services.store.add_message(message, kind=kind)

    async def is_stored_in(self, scope: Scope, message_ids: Sequence[str]) -> bool:
        """Say whether one of these messages is stored in the conversation `scope`. Raises Unavailable."""
        return bool(await self._services.store.load_messages(scope, message_ids))

    async def edited(self, message: Message) -> None:
        """Store the new text of a stored message, and erase the files that it has no more.

        A message whose new text is too long to be stored is erased: the old one was taken back.
        """
        text = replace_lone_surrogates(self._router.line_of(message))
        if len(text.encode()) > MAX_TEXT_BYTES:
            await self._services.store.delete_message(message.scope.platform, message.id)
            return
        has_lost_file = not message.has_file and message.attachment is None
        await self._services.store.edit_message(
            message.scope.platform,
            message.id,
            text,
            has_lost_file=has_lost_file,
            picture_ids=message.picture_ids,
        )

    async def said_by(self, scope: Scope, author: Author, *, before_utc: datetime, limit: int) -> tuple[str, ...]:
        """Return what `author` said in `scope` before `before_utc`, among the newest `limit` messages, newest first.

        Raises Unavailable.
        """
        asked = await self._services.store.recent_asked(scope, limit=limit)
        said = (one.message for one in asked if one.message.author_id == author.id)
        return tuple(message.text for message in said if message.created_at_utc < before_utc)

    async def deleted(self, platform: str, message_ids: Sequence[str]) -> None:
        """Erase deleted messages, of members and of the bot; one that is not stored yet will not be."""
        self.note_gone(platform, message_ids)
        for message_id in message_ids:
            await self._services.store.withdraw_request(platform, message_id)
        await self._services.store.erase_sent(platform, message_ids)

    def note_gone(self, platform: str, message_ids: Sequence[str]) -> None:
        """Remember at once that messages were deleted, so that none that is on its way is stored."""
        self._services.store.note_gone(platform, message_ids)

    def is_gone(self, platform: str, message_id: str) -> bool:
        """Say whether a message was deleted lately."""
        return self._services.store.is_gone(platform, message_id)

    async def channel_gone(self, scope: Scope) -> None:
        """Erase everything said in a deleted channel or thread."""
        await self._services.store.forget_channel(scope)

    async def left(self, platform: str, server: str) -> None:
        """Erase everything of a server that the bot has left."""
        await self._services.store.forget_server(platform, server)

    async def suggest(
        self,
        line: Message,
        text: str,
        *,
        num: int,
        max_new_tokens: int,
        seed: int,
        tell: Tell = tell_nobody,
    ) -> tuple[str, ...]:
        """Return different continuations of `text`, the end of the `line` that is being typed, at most `num` (1-5).

        They are by the model that would answer the line; `tell` is told if it is loaded first. Raises FewshotError.
        """
        model = await model_of_typed(self._services, COMMANDS, replace(line, text=self.line_of(line)))
        how = {"num": num, "max_new_tokens": max_new_tokens, "seed": seed}
        texts: tuple[str, ...] = ()
        continued = self.desk.continue_text(line.scope, text, {}, person="", model=model, tell=tell, **how)
        async with aclosing(continued) as snapshots:
            async for snapshot in snapshots:
                texts = snapshot.texts
        return texts


def _outcome_of(error: FewshotError) -> RequestOutcome:
    if isinstance(error, Unavailable):
        return "unavailable"
    return "failed" if isinstance(error, GenerationError) else "refused"
