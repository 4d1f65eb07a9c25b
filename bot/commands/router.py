"""Routing of messages, clicks and forms to commands, cards and conversations, and the right to ask."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bot.commands import (
    changing_settings,
    channel,
    completing,
    explaining,
    inspecting,
    models,
    moderating,
    privacy,
    story,
    word_list,
)
from bot.commands.clicks import Clicks
from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.model_choice import answer_request, answered_by, model_of_chat, model_of_place
from bot.commands.framework.request import (
    Quotas,
    TextBudget,
    check_message,
    check_owner,
    has_words,
    is_command_line,
    read_request,
    typed_line,
)
from bot.commands.story_steps import STORY
from bot.commands.templates import (
    browser,
    editing,
    history,
    listing,
    neighbours,
    proposals,
    publishing,
    rows,
    running,
    testing,
    tuning,
)
from bot.commands.typed_answers import DECLINED, TypedAnswer, find_answered, is_question, is_word_to_card, may_answer
from bot.core.cards import Button, Card, Text
from bot.core.mentions import mention
from bot.core.messages import Author, Click, FormSubmitted, Message, Scope
from bot.core.picture import check_pictures, reads_text_only
from bot.core.stopping import Stopper
from bot.core.suggesting import nearest
from bot.errors import OptedOut, RequestError, Unavailable
from bot.services.chat import SEND_TEXT, Chat
from bot.services.completions import leave_completion
from bot.services.open_cards import COMMAND_CARD, COMPLETION_CARD, FOR_GOOD, open_card
from bot.services.places import Place
from bot.services.replies import READ_AGAIN
from bot.services.story import STORY_CARD
from bot.trace import note_step

COMMANDS: Final[Mapping[str, Command]] = {
    command.name: command
    for command in (
        *completing.COMMANDS,
        *story.COMMANDS,
        *inspecting.COMMANDS,
        *running.COMMANDS,
        *browser.COMMANDS,
        *listing.COMMANDS,
        *testing.COMMANDS,
        *tuning.COMMANDS,
        *neighbours.COMMANDS,
        *proposals.COMMANDS,
        *editing.COMMANDS,
        *rows.COMMANDS,
        *publishing.COMMANDS,
        *history.COMMANDS,
        *changing_settings.COMMANDS,
        *word_list.COMMANDS,
        *models.COMMANDS,
        *channel.COMMANDS,
        *explaining.COMMANDS,
        *privacy.COMMANDS,
        *moderating.COMMANDS,
    )
}
_ONLY_CHAT: Final = "A picture is read only in a message to the model, not here."
COMMAND_WORDS: Final = tuple(sorted({name.split()[0] for name in COMMANDS}))


@dataclass(slots=True)
class Asked:
    """The command's name for the data of the cards, as far as it is known."""

    command: str


class Router:
    """Finds the handler of each event, checks rights and rate limits, and returns the cards that answer it.

    A RequestError becomes an answer of one sentence.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._clicks = Clicks(services, COMMANDS)
        self._quotas = Quotas()
        self._budget = TextBudget()

    def is_meant(self, message: Message) -> bool:
        """Say, without reading anything, whether `message` addresses the bot or is a command for it."""
        if message.author.is_bot or message.author.is_me:
            return False
        if message.is_addressed:
            return True
        # A word unlike all commands belongs to another bot.
        return self._is_command(message.text) and nearest(self._command_word(message), COMMAND_WORDS) is not None

    async def place_where_wanted(self, message: Message) -> Place | None:
        """Return the place of `message` if it is to be answered, None if not.

        Messages of bots are not answered; others are if they address the bot, or if it answers every message there.
        """
        if message.author.is_bot or message.author.is_me:
            return None
        is_command = self._is_command(self.line_of(message))
        is_silent = not (message.text.strip() or message.attachment)
        if not self.is_meant(message) and (is_command or (is_silent and not message.picture_ids)):
            return None
        place = await self._services.place_of(message.scope, message.author)
        answer_when = place.values["answer_when"]
        has_story = place.has_story_at(message.created_at_utc)
        # Where a story is written, everything said is for it.
        if is_command or (message.is_addressed and (answer_when != "never" or has_story)):
            return place
        # A word to a card goes on with a command.
        is_to_card = message.is_addressed or is_word_to_card(message, self._services.traits)
        if is_to_card and may_answer(message) and await find_answered(self._services, message):
            return place
        if is_silent and not self.sees_pictures(message, place):
            return None
        # People who asked not to be read and talk to others are not told so each time.
        return place if (answer_when == "every" or has_story) and not place.is_opted_out else None

    async def begin_message(self, asked: Asked, message: Message, stopper: Stopper, place: Place | None) -> Cards:
        """Return the cards that answer a message; a `place` of None is read here."""
        message = check_message(replace(message, text=self.line_of(message)), self._services.traits)
        has_buttons = self._services.traits.has_buttons
        is_command = self._is_command(message.text)
        if is_command:
            asked.command = self._command_word(message)[:32]
        place = place or await self._services.place_of(message.scope, message.author)
        author = await self._admit(message.scope, message.author, place, is_counted=has_buttons)
        message = replace(message, author=author)
        if has_buttons:
            self._budget.count(message)
        note_step(message.id, "accepted")
        may_store = not place.is_opted_out
        if not is_command and place.has_story_at(message.created_at_utc) and not _is_to_another_card(message):
            asked.command = STORY
            if place.is_opted_out:
                raise RequestError(READ_AGAIN)
            if not has_words(message):
                raise RequestError(f"{_ONLY_CHAT} {SEND_TEXT}")
            model = model_of_place(self._services, place)
            go_on = partial(story.go_on_with, commands=COMMANDS, message=message, stopper=stopper)
            return answered_by(self._services, model, go_on, loading="public")
        if not is_command and (answer := await find_answered(self._services, message)) is not None:
            return await self._answer_card(asked, message, answer, stopper, place)
        if not has_buttons:
            await self._leave_card(message, is_command=is_command)
        if is_command:
            request = await read_request(
                self._services,
                COMMANDS,
                message,
                stopper,
                may_store=may_store,
            )
            asked.command = request.command.name
            cards = await self._run(request, place)
            return _with_note(cards, _ONLY_CHAT) if message.picture_ids and message.attachment is None else cards
        if place.is_opted_out:
            raise RequestError(READ_AGAIN)
        self._check_pictures(message, place)
        await self._services.store.add_message(message, kind="chat")
        return self._services.chat.reply(message, stopper, place, by=partial(_chat_by, self._services))

    def sees_pictures(self, message: Message, place: Place) -> bool:
        """Say whether `message` is for the conversation in `place`, and the model there takes its pictures."""
        is_for_it = not self._is_command(self.line_of(message)) and not place.has_story_at(message.created_at_utc)
        return bool(message.picture_ids) and is_for_it and not place.is_opted_out and self._takes_pictures(place)

    def _takes_pictures(self, place: Place) -> bool:
        try:
            if place.templates.get(place.values["chat_template"]).markup != "auto":
                return False
            return self._services.models.reads_pictures(model_of_chat(self._services, place))
        except RequestError:  # the answer says so
            return False

    def _check_pictures(self, message: Message, place: Place) -> None:
        """Raise RequestError if there is nothing in `message` that the model of `place` reads, or a picture is missing.

        Before the message is stored, so that it can be edited.
        """
        if not message.picture_ids:
            return
        if self._takes_pictures(place):
            check_pictures(message.picture_ids, message.pictures)
        elif not has_words(message):
            unseen = reads_text_only(model_of_chat(self._services, place), len(message.picture_ids))
            raise RequestError(f"{unseen} {SEND_TEXT}")

    async def begin_look(self, asked: Asked, message: Message, stopper: Stopper) -> Cards:
        """Return the cards that answer a command without storing anything or counting a quota, if it allows that."""
        message = check_message(message, self._services.traits)
        request = await read_request(self._services, COMMANDS, message, stopper, may_store=False)
        asked.command = request.command.name
        if not request.command.allows_look:
            raise RequestError(f"{mention(request.command.name)} does more than look. Send it as a message.")
        return await answer_request(replace(request, is_look=True))

    async def _answer_card(
        self, asked: Asked, message: Message, answer: TypedAnswer, stopper: Stopper, place: Place
    ) -> Cards:
        """Return the answer to a message whose words stand for a button."""
        click = Click(
            message.id,
            message.scope,
            message.author,
            answer.card_id,
            answer.revision,
            answer.action,
            answer.value,
            reach=message.reach,
        )
        if answer.card is not None and answer.action == DECLINED:
            check_owner(answer.card, message.author, "card", "help")
            await self._services.store.close_open_card(message.scope, answer.card_id)
            return _nothing_changed()
        may_store = not place.is_opted_out
        asked.command, cards = await self._clicks.answer(click, stopper, place, may_store=may_store, typed=message)
        if may_store:
            await self._services.store.add_message(message, kind="command")
        return cards

    async def _leave_card(self, message: Message, *, is_command: bool) -> None:
        """Leave the author's newest card where words are typed to it: any other message withdraws a question.

        A command leaves continuations open; after an ordinary message plain numbers and words are chat again.
        """
        store = self._services.store
        card = await store.latest_open_card(message.scope, message.author.id)
        if card is not None and is_question(card):
            await store.close_open_card(message.scope, card.id)
        elif card is not None and card.kind == COMPLETION_CARD and not is_command:
            await leave_completion(store, card)

    async def begin_click(self, asked: Asked, click: Click, stopper: Stopper) -> Cards:
        """Return the cards that answer a click."""
        place = await self._services.place_of(click.scope, click.author)
        click = replace(click, author=await self._admit(click.scope, click.author, place))
        note_step(click.id, "accepted")
        if click.card_id.startswith(STORY_CARD):
            asked.command = STORY
            press = partial(story.press, commands=COMMANDS, click=click, stopper=stopper)
            return answered_by(self._services, model_of_place(self._services, place), press)
        asked.command, cards = await self._clicks.answer(click, stopper, place, may_store=not place.is_opted_out)
        return cards

    async def begin_form(self, asked: Asked, submitted: FormSubmitted) -> Cards:
        """Return the cards that answer a submitted form."""
        place = await self._services.place_of(submitted.scope, submitted.author)
        submitted = replace(submitted, author=await self._admit(submitted.scope, submitted.author, place))
        note_step(submitted.id, "accepted")
        asked.command, cards = await self._clicks.submit(submitted, place)
        return cards

    async def _admit(self, scope: Scope, author: Author, place: Place, *, is_counted: bool = True) -> Author:
        """Return `author` with their rights. Raises RequestError for a bot, and above the rate limit."""
        if author.is_bot:
            raise RequestError("This bot does not answer other bots.")
        author = await self._services.with_rights(scope, author, place)
        if is_counted:
            self._quotas.count(
                scope,
                author,
                num_per_minute=int(place.values["quota_per_minute"]),
                num_per_server=int(place.values["server_quota_per_minute"]),
                server_word=self._services.traits.server_word,
            )
        return author

    def line_of(self, message: Message) -> str:
        """Return the text of `message`, as a command line if it means one."""
        return typed_line(message, self._services.command_prefix, COMMANDS)

    def _is_command(self, text: str) -> bool:
        return is_command_line(text, self._services.command_prefix)

    def _command_word(self, message: Message) -> str:
        return message.text[len(self._services.command_prefix) :].split(maxsplit=1)[0].lower()

    async def _run(self, request: Request, place: Place) -> Cards:
        """Store the command's message and return its answer, or a card with an Open button for it."""
        if request.may_store:
            try:
                await self._services.store.add_message(_without_unread_file(request), kind="command")
            except Unavailable:
                # Without a text there is nothing to come back to: on a full disk such a command works all the same.
                if request.text:
                    raise
        is_secret_for = request.command.is_secret_for
        if not _needs_opening(request) or (is_secret_for is not None and not await is_secret_for(request)):
            return await answer_request(request, place)
        if not request.may_store:
            raise self._no_button(request)
        return self._offer(request)

    def _no_button(self, request: Request) -> RequestError:
        """Return the refusal of a card with a button to a person who asked not to be read."""
        or_slash = ", or as a slash command" if self._services.traits.slash_prefix else ""
        return RequestError(
            "You asked not to be read, so no button can be stored for you here. Use"
            f" {mention(request.command.name)} in a direct message{or_slash}."
        )

    async def _offer(self, request: Request) -> Cards:
        """Answer in public with a button that shows the asker the answer in private."""
        message, name = request.message, request.command.name
        try:
            card = await open_card(
                self._services.store,
                message.scope,
                message.author.id,
                COMMAND_CARD,
                {"command": name},
                source_message_id=message.id,
                lives=FOR_GOOD,
            )
        except OptedOut as e:
            raise self._no_button(request) from e
        yield Card(
            blocks=(Text("The answer is visible only to you."),),
            buttons=(Button("open", "Open", "primary"),),
            open_card_id=card.id,
            revision=card.revision,
        )


def _without_unread_file(request: Request) -> Message:
    """Return the message to store: a file that the command does not read is left out."""
    message = request.message
    return message if message.attachment == request.text else replace(message, attachment=None, attachment_format="")


def _is_to_another_card(message: Message) -> bool:
    """Say whether `message` replies to a card with words that act on it, and that is not a story's."""
    shown = message.replied_card
    return shown is not None and not shown.id.startswith(STORY_CARD) and may_answer(message)


async def _with_note(cards: Cards, sentence: str) -> Cards:
    """Yield `cards`, the last one with a quiet sentence below it unless it is an error or a form."""
    async with aclosing(cards):
        async for card in cards:
            takes_note = card.is_final and card.error is None and card.form is None
            yield replace(card, blocks=(*card.blocks, Text(sentence, is_quiet=True))) if takes_note else card


def _chat_by(services: Services, place: Place, write: Callable[[Chat], Cards]) -> Cards:
    """Return what `write` writes with the model that answers the messages of `place`."""
    model = model_of_chat(services, place)
    return answered_by(services, model, lambda by: write(by.chat), loading="public")


async def _nothing_changed() -> Cards:
    sentence = "Nothing was changed."
    yield Card(blocks=(Text(sentence),), data={"text": sentence}, answers="private")


def _needs_opening(request: Request) -> bool:
    """Say whether the request can't show the command's answer without a click."""
    command, reach = request.command, request.message.reach
    if (
        not request.services.traits.has_buttons
        or not command.is_secret
        or not set(command.public_options).isdisjoint(request.options)
    ):
        return False
    return reach == "public" if command.answers == "private" else command.answers == "form" and reach != "form"
