"""One message in, cards out: finds the command, the open card or the conversation that a message is for."""

import logging
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from bot.commands import channel, completing, explaining, inspecting, prompting
from bot.commands.asked import load_asked
from bot.commands.command_line import parse_command_line
from bot.commands.declaring import Cards, Command, Request, TextSource
from bot.commands.services import Services
from bot.core.cards import error_card
from bot.core.messages import Message
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_history_text, clean_model_text, replace_lone_surrogates
from bot.core.sampling import SamplingParams
from bot.core.stopping import Stopper
from bot.errors import FewshotError, RequestError
from bot.open_cards import COMPLETION_CARD, CompletionTree

logger = logging.getLogger(__name__)

MAX_TEXT_BYTES: Final = 256 * 1024

COMMANDS: Final[Mapping[str, Command]] = {
    command.name: command
    for command in (
        *completing.COMMANDS,
        *inspecting.COMMANDS,
        *prompting.COMMANDS,
        *channel.COMMANDS,
        *explaining.COMMANDS,
    )
}


class Bot:
    """Answers messages of any platform."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def command_prefix(self) -> str:
        """Return the signs that start a command."""
        return self._services.command_prefix

    @property
    def model_line(self) -> str:
        """Return one line about the model, for people."""
        info = self._services.engine.info
        return f"{info.name} · {info.num_parameters / 1e6:.0f}M parameters · {info.device} · {info.precision}"

    @property
    def command_names(self) -> tuple[str, ...]:
        """Return the first words of all commands."""
        return tuple(sorted({name.split()[0] for name in COMMANDS}))

    async def answer(self, message: Message, stopper: Stopper) -> Cards:
        """Yield snapshots of the reply, the last one final. Errors are cards too; only cancellation is raised."""
        command_name = "chat"
        try:
            message = _checked(message)
            if self._is_command(message.text):
                command_name = message.text[len(self.command_prefix) :].split(maxsplit=1)[0][:32].lower()
                request = await self._parse(message, stopper)
                command_name = request.command.name
                await self._services.store.add_message(message, kind="command")
                cards = request.command.answer(request)
            elif acts := await self._act(message, stopper):
                command_name = "complete"
                cards = acts
            else:
                await self._close_card(message)
                await self._services.store.add_message(message, kind="chat")
                cards = self._services.chat.reply(message, stopper)
            async with aclosing(cards):
                async for card in cards:
                    yield replace(card, data={"command": command_name, **card.data})
        except FewshotError as e:
            yield error_card(str(e), command=command_name)
        except Exception:
            logger.exception("answering failed")
            yield error_card("Something broke inside the bot; its log says what.", command=command_name)

    def _is_command(self, text: str) -> bool:
        after = text[len(self.command_prefix) :]
        return text.startswith(self.command_prefix) and after[:1].isalpha()

    async def _parse(self, message: Message, stopper: Stopper) -> Request:
        line = parse_command_line(message.text[len(self.command_prefix) :], COMMANDS)
        if line.command.who == "moderators" and not message.author.is_moderator:
            raise RequestError(f"{line.command.name} is for moderators.")
        text, source = line.text, TextSource(message.id)
        if line.command.text == "required" and not text.strip():
            text, source = await self._replied_text(message) or (text, source)
        if line.command.text == "required" and not text.strip():
            raise RequestError(f"{line.command.text_name} is missing: {self.command_prefix}{line.command.usage}")
        return Request(self._services, stopper, message, line.command, line.arguments, line.options, text, source)

    async def _replied_text(self, message: Message) -> tuple[str, TextSource] | None:
        """Return the words of the message that a command without a text replies to."""
        if message.reply_to is None:
            return None
        source = TextSource(message.reply_to, is_command_line=False)
        return await load_asked(self._services.store, message.scope, source, self.command_prefix, COMMANDS)

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
            raise RequestError("The text that this card continued is gone; start again with complete.")
        await store.add_message(message, kind="command")
        request = Request(self._services, stopper, message, COMMANDS["complete"], {}, {}, *asked)
        return completing.answer_action(request, card, tree)

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


def _checked(message: Message) -> Message:
    text = replace_lone_surrogates(message.text)
    num_bytes = len(text.encode())
    if num_bytes > MAX_TEXT_BYTES:
        raise RequestError(f"That text has {num_bytes:,} bytes; at most {MAX_TEXT_BYTES:,} are read. Shorten it.")
    # Invisible characters alone say nothing either: the model would answer what was said before.
    if not clean_history_text(text).strip():
        raise RequestError("That message is empty; say something, or ask for help.")
    return replace(message, text=text)
