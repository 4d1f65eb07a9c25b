"""Routing of messages, clicks and forms to commands, cards and conversations, and the right to ask."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from bot.commands import channel, completing, explaining, inspecting, moderating, privacy
from bot.commands.clicks import Clicks
from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request, TextSource
from bot.commands.framework.request import (
    Quotas,
    check_message,
    is_command_line,
    load_asked,
    read_request,
)
from bot.commands.templates import editing, history, proposals, publishing, rows, running, testing
from bot.core.cards import Button, Card, Text
from bot.core.mentions import mention
from bot.core.messages import Author, Click, FormSubmitted, Message, Scope
from bot.core.stopping import Stopper
from bot.core.suggesting import nearest
from bot.errors import OptedOut, RequestError
from bot.services.open_cards import COMMAND_CARD, COMPLETION_CARD, FOR_GOOD, CompletionTree, open_card
from bot.services.places import Place
from bot.services.replies import READ_AGAIN
from bot.store.cards import OpenCard
from bot.trace import note_step

COMMANDS: Final[Mapping[str, Command]] = {
    command.name: command
    for command in (
        *completing.COMMANDS,
        *inspecting.COMMANDS,
        *running.COMMANDS,
        *testing.COMMANDS,
        *proposals.COMMANDS,
        *editing.COMMANDS,
        *rows.COMMANDS,
        *publishing.COMMANDS,
        *history.COMMANDS,
        *channel.COMMANDS,
        *explaining.COMMANDS,
        *privacy.COMMANDS,
        *moderating.COMMANDS,
    )
}
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
        is_command = self._is_command(message.text)
        if not self.is_meant(message) and (is_command or not (message.text.strip() or message.attachment)):
            return None
        place = await self._services.place_of(message.scope, message.author)
        answer_when = place.values["answer_when"]
        if is_command or (message.is_addressed and answer_when != "never"):
            return place
        # People who asked not to be read and talk to others are not told so each time.
        return place if answer_when == "every" and not place.is_opted_out else None

    async def begin_message(self, asked: Asked, message: Message, stopper: Stopper, place: Place | None) -> Cards:
        """Return the cards that answer a message; a `place` of None is read here."""
        message = check_message(message)
        has_buttons = self._services.traits.has_buttons
        is_command = self._is_command(message.text)
        if is_command:
            asked.command = self._command_word(message)[:32]
        place = place or await self._services.place_of(message.scope, message.author)
        author = await self._admit(message.scope, message.author, place, is_counted=has_buttons)
        message = replace(message, author=author)
        note_step(message.id, "accepted")
        if is_command:
            request = await read_request(
                self._services,
                COMMANDS,
                message,
                stopper,
                may_store=not place.is_opted_out,
            )
            asked.command = request.command.name
            return await self._run(request)
        if place.is_opted_out:
            raise RequestError(READ_AGAIN)
        if not has_buttons and (card := await self._open_completion(message)):
            if completing.is_action(message.text):
                cards = await self._act(message, card, stopper)
                asked.command = "complete"
                return cards
            # An ordinary message ends the card: plain numbers and words are chat again.
            await self._services.store.close_open_card(message.scope, card.id)
        await self._services.store.add_message(message, kind="chat")
        return self._services.chat.reply(message, stopper, place)

    async def begin_click(self, asked: Asked, click: Click, stopper: Stopper) -> Cards:
        """Return the cards that answer a click."""
        place = await self._services.place_of(click.scope, click.author)
        click = replace(click, author=await self._admit(click.scope, click.author, place))
        note_step(click.id, "accepted")
        asked.command, cards = await self._clicks.answer(click, stopper, may_store=not place.is_opted_out)
        return cards

    async def begin_form(self, asked: Asked, submitted: FormSubmitted) -> Cards:
        """Return the cards that answer a submitted form."""
        place = await self._services.place_of(submitted.scope, submitted.author)
        submitted = replace(submitted, author=await self._admit(submitted.scope, submitted.author, place))
        note_step(submitted.id, "accepted")
        asked.command, cards = await self._clicks.submit(submitted)
        return cards

    async def _admit(self, scope: Scope, author: Author, place: Place, *, is_counted: bool = True) -> Author:
        """Return `author` with their rights. Raises RequestError for a bot, and above the rate limit."""
        if author.is_bot:
            raise RequestError("This bot does not answer other bots.")
        author = await self._services.with_rights(scope, author, place)
        if is_counted:
            self._quotas.count(scope, author, num_per_minute=int(place.values["quota_per_minute"]))
        return author

    def _is_command(self, text: str) -> bool:
        return is_command_line(text, self._services.command_prefix)

    def _command_word(self, message: Message) -> str:
        return message.text[len(self._services.command_prefix) :].split(maxsplit=1)[0].lower()

    async def _run(self, request: Request) -> Cards:
        """Store the command's message and return its answer, or a card with an Open button for it."""
        if request.may_store:
            await self._services.store.add_message(request.message, kind="command")
        if not _needs_opening(request):
            return request.command.answer(request)
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

    async def _open_completion(self, message: Message) -> OpenCard | None:
        """Return the author's latest open card if it is a completion."""
        card = await self._services.store.latest_open_card(message.scope, message.author.id)
        return card if card is not None and card.kind == COMPLETION_CARD else None

    async def _act(self, message: Message, card: OpenCard, stopper: Stopper) -> Cards:
        """Answer a plain message that acts on the author's open completion `card`."""
        services = self._services
        tree = CompletionTree.from_dict(card.state)
        source = TextSource(tree.message_id, is_command_line=tree.is_command_line)
        asked = await load_asked(services.store, message.scope, source, services.command_prefix, COMMANDS)
        if asked is None:
            raise RequestError(completing.TEXT_GONE)
        await services.store.add_message(message, kind="command")
        request = Request(services, COMMANDS, stopper, message, COMMANDS["complete"], {}, {}, *asked)
        return completing.answer_action(request, card, tree, message.text)


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
