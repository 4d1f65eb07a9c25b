"""One message or click in, cards out: finds the command, the card or the conversation that it is for."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from bot.commands import channel, completing, explaining, inspecting, moderating, privacy
from bot.commands.clicks import Clicks
from bot.commands.context import Services
from bot.commands.framework.asked import load_asked
from bot.commands.framework.command import Cards, Command, Request, TextSource
from bot.commands.framework.parsing import parse_command_line
from bot.commands.framework.request import MAX_TEXT_BYTES, Quotas, check_message, is_command_line, read_request
from bot.commands.suggestions import suggest_values
from bot.commands.templates import editing, history, proposals, publishing, rows, running, testing
from bot.core.cards import BROKEN, Button, Card, Text, error_card
from bot.core.messages import Author, Click, FormSubmitted, Message, Scope
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_model_text, replace_lone_surrogates
from bot.core.sampling_params import SamplingParams
from bot.core.stopping import Stopper
from bot.core.suggesting import nearest
from bot.errors import FewshotError, RequestError
from bot.services.open_cards import COMMAND_CARD, COMPLETION_CARD, FOR_GOOD, CompletionTree, open_card
from bot.store.messages import MessageKind
from bot.store.store import Store
from bot.trace import note_step

__all__ = ["COMMANDS", "MAX_TEXT_BYTES", "Bot"]

logger = logging.getLogger(__name__)

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


class Bot:
    """Answers messages and clicks of any platform."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._clicks = Clicks(services)
        self._quotas = Quotas()

    @property
    def store(self) -> Store:
        """Return the store behind the bot."""
        return self._services.store

    @property
    def command_prefix(self) -> str:
        """Return the signs that start a command."""
        return self._services.command_prefix

    @property
    def name(self) -> str:
        """Return the name by which the bot calls itself."""
        return self._services.chat.bot_name

    @property
    def retention_days(self) -> int:
        """Return for how many days messages are kept where a server did not choose."""
        return int(self._services.channel_settings["retention_days"].default)

    @property
    def model_line(self) -> str:
        """Return one line about the model, for people."""
        info = self._services.engine.info
        return f"{info.name} · {info.num_parameters / 1e6:.0f}M parameters · {info.device} · {info.precision}"

    @property
    def command_names(self) -> tuple[str, ...]:
        """Return the first words of all commands."""
        return tuple(sorted({name.split()[0] for name in COMMANDS}))

    def answer(self, message: Message, stopper: Stopper, *, types_actions: bool = False) -> Cards:
        """Yield snapshots of the reply, the last one final. Errors are cards too; only cancellation is raised.

        `types_actions` is for a terminal, which has one person and no buttons: a plain number or word acts on the
        author's open card, and no quota is counted.
        """
        asked = _Asked("chat")
        return _told(asked, partial(self._begin_answer, asked, message, stopper, types_actions=types_actions))

    def click(self, click: Click, stopper: Stopper) -> Cards:
        """Yield snapshots of what a click leads to, the last one final.

        A public card takes the place of the clicked one; a private one is for who clicked; one with a form opens it.
        """
        asked = _Asked("click")
        return _told(asked, partial(self._begin_click, asked, click, stopper))

    def submit(self, submitted: FormSubmitted, stopper: Stopper) -> Cards:
        """Yield snapshots of what a form that was filled in leads to, the last one final."""
        asked = _Asked("form")
        return _told(asked, partial(self._begin_form, asked, submitted))

    async def _begin_answer(self, asked: "_Asked", message: Message, stopper: Stopper, *, types_actions: bool) -> Cards:
        message = check_message(message)
        if self._is_command(message.text):
            asked.command = message.text[len(self.command_prefix) :].split(maxsplit=1)[0][:32].lower()
        author = await self._admit(message.scope, message.author, is_counted=not types_actions)
        message = replace(message, author=author)
        note_step(message.id, "accepted")
        is_kept = not await self._services.store.is_opted_out(message.scope.platform, message.author.id)
        if self._is_command(message.text):
            request = await read_request(
                self._services, message, stopper, has_buttons=not types_actions, is_kept=is_kept
            )
            asked.command = request.command.name
            return await self._run(request)
        if not is_kept:
            raise RequestError(f"You asked not to be read; {self.command_prefix}privacy --read on ends that.")
        if types_actions:
            if acts := await self._act(message, stopper):
                asked.command = "complete"
                return acts
            await self._close_card(message)
        await self._services.store.add_message(message, kind="chat")
        return self._services.chat.reply(message, stopper)

    async def _begin_click(self, asked: "_Asked", click: Click, stopper: Stopper) -> Cards:
        click = replace(click, author=await self._admit(click.scope, click.author))
        asked.command, cards = await self._clicks.answer(click, stopper)
        return cards

    async def _begin_form(self, asked: "_Asked", submitted: FormSubmitted) -> Cards:
        submitted = replace(submitted, author=await self._admit(submitted.scope, submitted.author))
        asked.command, cards = await self._clicks.submit(submitted)
        return cards

    async def is_wanted(self, message: Message) -> bool:
        """Say whether `message` is to be answered: no bot's, and meant for this one, or said where it answers all."""
        if message.author.is_bot or message.author.is_me:
            return False
        if self._is_command(message.text):
            word = message.text[len(self.command_prefix) :].split(maxsplit=1)[0].lower()
            # A word far from all commands is another bot's, unless this one is addressed.
            return message.is_addressed or nearest(word, self.command_names) is not None
        answer_when = (await self._services.settings_in(message.scope))["answer_when"]
        if answer_when == "never":
            return False
        if message.is_addressed:
            return True
        if answer_when != "every" or not (message.text.strip() or message.attachment):
            return False
        # Who asked not to be read and speaks to others need not be told so each time.
        return not await self.store.is_opted_out(message.scope.platform, message.author.id)

    async def suggest_values(
        self, scope: Scope, author: Author, command_name: str, option_name: str, typed: str
    ) -> tuple[str, ...]:
        """Return at most 25 values for an option that is being typed, the likeliest first; never asks the model."""
        return await suggest_values(self._services, scope, command_name, option_name, typed)

    def answers_of(self, line: str) -> Literal["public", "private", "form"]:
        """Return how the command `line` is answered; a line that is wrong, which gets a sentence, in private."""
        try:
            found = parse_command_line(line[len(self.command_prefix) :], COMMANDS)
        except RequestError:
            return "private"
        return found.command.answers

    async def with_rights(self, scope: Scope, author: Author) -> Author:
        """Return `author` as a moderator where a role or the operator says so."""
        return await self._services.with_rights(scope, author)

    async def keep(self, message: Message, *, kind: MessageKind = "chat") -> bool:
        """Keep a message that somebody replies to, so that it can be read; False where that is not to be stored.

        One of kind "command" is asked about and no part of the conversation.
        """
        try:
            message = check_message(message)
        except RequestError:
            return False
        store = self._services.store
        if message.author.is_me or await store.is_opted_out(message.scope.platform, message.author.id):
            return False
        return await store.add_message(message, kind=kind)

    async def edited(self, message: Message) -> None:
        """Take over the new words of a message; one that is not stored stays unknown."""
        text = replace_lone_surrogates(message.text)
        if len(text.encode()) <= MAX_TEXT_BYTES:
            await self._services.store.edit_message(message.scope.platform, message.id, text)

    async def deleted(self, platform: str, message_ids: Sequence[str]) -> None:
        """Forget messages that were deleted, members' and the bot's own."""
        for message_id in message_ids:
            await self._services.store.withdraw_request(platform, message_id)
        await self._services.store.erase_sent(platform, message_ids)

    async def channel_gone(self, scope: Scope) -> None:
        """Forget all that was said in a channel, or in a thread, that was deleted."""
        await self._services.store.forget_channel(scope)

    async def left(self, platform: str, server: str) -> None:
        """Forget all of a server that the bot is no longer on."""
        await self._services.store.forget_server(platform, server)

    async def _admit(self, scope: Scope, author: Author, *, is_counted: bool = True) -> Author:
        """Return `author` with all rights. Raises RequestError for a bot, and above a person's quota."""
        if author.is_bot:
            raise RequestError("Other bots are not answered.")
        author = await self._services.with_rights(scope, author)
        if is_counted:
            await self._quotas.count(self._services, scope, author)
        return author

    def _is_command(self, text: str) -> bool:
        return is_command_line(text, self.command_prefix)

    async def _run(self, request: Request) -> Cards:
        """Keep the command's message and return its answer, or the Open button that leads to it."""
        if request.is_kept:
            await self._services.store.add_message(request.message, kind="command")
        if not _needs_opening(request):
            return request.command.answer(request)
        if not request.is_kept:
            raise RequestError(
                f"You asked not to be read, so no button can wait for you here; say {request.command.name} in a direct"
                " message, or as a slash command."
            )
        return self._offer(request)

    async def _offer(self, request: Request) -> Cards:
        """Answer in public with a button that answers the asker alone."""
        message, name = request.message, request.command.name
        card = await open_card(
            self._services.store,
            message.scope,
            message.author.id,
            COMMAND_CARD,
            {"command": name},
            source_message_id=message.id,
            lives=FOR_GOOD,
        )
        yield Card(
            blocks=(Text(f"Only you will see what {name} shows."),),
            buttons=(Button("open", "Open", "primary"),),
            open_card_id=card.id,
            revision=card.revision,
        )

    async def _close_card(self, message: Message) -> None:
        """Let plain numbers and words be chat again: who goes on talking is done with the completion card."""
        card = await self._services.store.latest_open_card(message.scope, message.author.id)
        if card is not None and card.kind == COMPLETION_CARD:
            await self._services.store.close_open_card(message.scope, card.id)

    async def _act(self, message: Message, stopper: Stopper) -> Cards | None:
        """Answer a plain message that is meant for the author's open completion card; None where it is not."""
        if not completing.is_action(message.text):
            return None
        store = self._services.store
        card = await store.latest_open_card(message.scope, message.author.id)
        if card is None or card.kind != COMPLETION_CARD:
            return None
        tree = CompletionTree.from_dict(card.state)
        source = TextSource(tree.message_id, is_command_line=tree.is_command_line)
        asked = await load_asked(store, message.scope, source, self.command_prefix, COMMANDS)
        if asked is None:
            raise RequestError(completing.TEXT_GONE)
        await store.add_message(message, kind="command")
        request = Request(self._services, stopper, message, COMMANDS["complete"], {}, {}, *asked, has_buttons=False)
        return completing.answer_action(request, card, tree, message.text)

    async def suggest(self, text: str, *, num: int, max_new_tokens: int, seed: int) -> tuple[str, ...]:
        """Return different continuations of a text that is being typed, at most `num` (1-5). Raises FewshotError."""
        params = SamplingParams(n=num, max_new_tokens=max_new_tokens, seed=seed, stop=("\n",))
        generation = self._services.engine.generate(
            Prompt.plain(replace_lone_surrogates(text)),
            params,
            heal=True,
            timeout_s=self._services.request_timeout_s,
        )
        async with generation:
            async for _ in generation:
                pass
        texts = (clean_model_text(completion.text).rstrip() for completion in generation.completions)
        return tuple(dict.fromkeys(text for text in texts if text))


@dataclass(slots=True)
class _Asked:
    """What is being answered, as well as that is known by now: the command's name for the cards' data."""

    command: str


async def _told(asked: _Asked, begin: Callable[[], Awaitable[Cards]]) -> Cards:
    """Yield the cards that `begin` leads to; what goes wrong before or among them becomes a card of one sentence."""
    try:
        async with aclosing(await begin()) as cards:
            async for card in cards:
                yield replace(card, data={"command": asked.command, **card.data})
    except FewshotError as e:
        yield error_card(str(e), command=asked.command)
    except Exception:
        logger.exception("answering failed")
        yield error_card(BROKEN, command=asked.command)


def _needs_opening(request: Request) -> bool:
    """Say whether the command can't show its answer in the way it was asked."""
    command, reach = request.command, request.message.reach
    if not request.has_buttons or not command.is_secret or not set(command.public_options).isdisjoint(request.options):
        return False
    return reach == "public" if command.answers == "private" else command.answers == "form" and reach != "form"
