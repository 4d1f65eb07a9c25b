"""The bot as a platform sees it: messages, clicks and forms in, cards out; edits and deletions of messages."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Literal

from bot.commands.context import Services
from bot.commands.framework.command import Cards
from bot.commands.framework.parsing import parse_command_line
from bot.commands.framework.request import MAX_TEXT_BYTES, check_message
from bot.commands.framework.spelling import Spelling
from bot.commands.router import COMMAND_WORDS, COMMANDS, Asked, Router
from bot.commands.suggestions import suggest_values
from bot.core.cards import BROKEN, error_card
from bot.core.messages import Author, Click, FormSubmitted, Message, Reach, Scope
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_model_text, replace_lone_surrogates
from bot.core.sampling_params import SamplingParams
from bot.core.stopping import Stopper
from bot.errors import FewshotError, OptedOut, RequestError
from bot.services.places import Place
from bot.services.replies import READ_AGAIN
from bot.store.messages import MessageKind
from bot.store.store import Store

__all__ = ["COMMANDS", "MAX_TEXT_BYTES", "Bot"]

logger = logging.getLogger(__name__)


class Bot:
    """Answers messages, clicks and forms of any platform."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._router = Router(services)

    @property
    def store(self) -> Store:
        """Return the store behind the bot."""
        return self._services.store

    @property
    def command_prefix(self) -> str:
        """Return the prefix of typed commands."""
        return self._services.command_prefix

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
        """Return one line about the model, for people."""
        info = self._services.engine.info
        return f"{info.name} · {info.num_parameters / 1e6:.0f}M parameters · {info.device} · {info.precision}"

    @property
    def command_names(self) -> tuple[str, ...]:
        """Return the first words of all commands."""
        return COMMAND_WORDS

    def answer(self, message: Message, stopper: Stopper, *, place: Place | None = None) -> Cards:
        """Yield snapshots of the reply, the last one final. Errors are cards too; only cancellation is raised.

        Where the platform has no buttons, a plain number or word acts on the author's open card. `place` is what
        `place_where_wanted` returned for this message; without it, it is read again.
        """
        asked = Asked("chat")
        begin = self._router.begin_message
        return _as_answer(asked, partial(begin, asked, message, stopper, place), self._spelling(message.reach))

    def click(self, click: Click, stopper: Stopper) -> Cards:
        """Yield snapshots of the answer to a click, the last one final.

        A public card replaces the clicked one; only the person who clicked sees a private one; a form is opened.
        """
        asked = Asked("click")
        return _as_answer(asked, partial(self._router.begin_click, asked, click, stopper), self._spelling(click.reach))

    def submit(self, submitted: FormSubmitted) -> Cards:
        """Yield snapshots of the answer to a submitted form, the last one final."""
        asked = Asked("form")
        # Only a slash command or a click opens a form.
        return _as_answer(asked, partial(self._router.begin_form, asked, submitted), self._spelling("form"))

    def _spelling(self, reach: Reach) -> Spelling:
        """Return the form in which the reader of the answer to a request with `reach` calls commands."""
        return Spelling.for_reader(COMMANDS, self._services.traits, self.command_prefix, reach)

    async def place_where_wanted(self, message: Message) -> Place | None:
        """Return the place of `message` if it is to be answered (pass it to `answer`), None if not.

        Messages of bots are not answered; others are if they address the bot, or if it answers every message there.
        """
        return await self._router.place_where_wanted(message)

    def is_meant(self, message: Message) -> bool:
        """Say, without reading anything, whether `message` addresses the bot or is a command for it."""
        return self._router.is_meant(message)

    async def is_wanted(self, message: Message) -> bool:
        """Say whether `message` is to be answered."""
        return await self.place_where_wanted(message) is not None

    async def suggest_values(self, scope: Scope, command_name: str, option_name: str, typed: str) -> tuple[str, ...]:
        """Return values for an option that is being typed, the best first; never asks the model."""
        return await suggest_values(self._services, COMMANDS, scope, command_name, option_name, typed)

    def answers_of(self, line: str) -> Literal["public", "private", "form"]:
        """Return how the command `line` is answered; the error of an invalid line is private."""
        try:
            found = parse_command_line(line[len(self.command_prefix) :], COMMANDS)
        except RequestError:
            return "private"
        return found.command.answers

    async def with_rights(self, scope: Scope, author: Author) -> Author:
        """Return `author` with `is_moderator` as it holds in `scope`."""
        return await self._services.with_rights(scope, author)

    async def keep(self, message: Message, *, kind: MessageKind = "chat") -> bool:
        """Store a message that someone replies to, so that it can be read; return False if it may not be stored.

        One of kind "command" is only asked about; it is not part of the conversation.
        """
        try:
            message = check_message(message)
        except RequestError:
            return False
        return not message.author.is_me and await self._services.store.add_message(message, kind=kind)

    async def edited(self, message: Message) -> None:
        """Store the new text of a stored message."""
        text = replace_lone_surrogates(message.text)
        if len(text.encode()) <= MAX_TEXT_BYTES:
            await self._services.store.edit_message(message.scope.platform, message.id, text)

    async def deleted(self, platform: str, message_ids: Sequence[str]) -> None:
        """Erase deleted messages, of members and of the bot."""
        for message_id in message_ids:
            await self._services.store.withdraw_request(platform, message_id)
        await self._services.store.erase_sent(platform, message_ids)

    async def channel_gone(self, scope: Scope) -> None:
        """Erase everything said in a deleted channel or thread."""
        await self._services.store.forget_channel(scope)

    async def left(self, platform: str, server: str) -> None:
        """Erase everything of a server that the bot has left."""
        await self._services.store.forget_server(platform, server)

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


async def _as_answer(asked: Asked, begin: Callable[[], Awaitable[Cards]], spelling: Spelling) -> Cards:
    """Yield the cards that `begin` leads to, in the reader's spelling; an error becomes a card of one sentence."""
    try:
        async with aclosing(await begin()) as cards:
            async for card in cards:
                yield spelling.card(replace(card, data={"command": asked.command, **card.data}))
    except OptedOut:
        yield spelling.card(error_card(READ_AGAIN, command=asked.command))
    except FewshotError as e:
        yield spelling.card(error_card(str(e), command=asked.command))
    except Exception:
        logger.exception("answering failed")
        yield error_card(BROKEN, command=asked.command)
