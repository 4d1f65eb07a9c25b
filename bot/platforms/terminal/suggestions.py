"""Continuations of the line being typed: TAB shows some, TAB again more and longer ones, a number inserts one."""

import asyncio
import logging
from typing import Final

from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from bot.commands.bot import Bot
from bot.core.mentions import type_mentions
from bot.errors import FewshotError
from bot.platforms.terminal.rendering import QUIET_STYLE
from bot.services.background import run_in_background

logger = logging.getLogger(__name__)

# Each TAB in turn asks for so many continuations of at most so many tokens; the last entry is repeated.
_ROUNDS: Final = ((3, 6), (5, 16), (5, 40))


class Suggestions:
    """The continuations shown below the line, and the keys that request and insert them."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._task: asyncio.Task[None] | None = None
        self._text = ""
        self._round = 0
        self._notice = ""
        self.options: tuple[str, ...] = ()

    def clear(self) -> None:
        """Remove all continuations and cancel the running request."""
        if self._task:
            self._task.cancel()
        self._task = None
        self._round = 0
        self._notice = ""
        self.options = ()

    def text_changed(self, buffer: Buffer) -> None:
        """Remove the continuations if they belong to another text."""
        if buffer.text != self._text:
            self.clear()

    def toolbar(self) -> StyleAndTextTuples:
        """Return the text below the line."""
        lines: StyleAndTextTuples = []
        for i, option in enumerate(self.options):
            lines += [("", f"{i + 1} "), (QUIET_STYLE, "…"), ("bold", option), ("", "\n")]
        hint = "a number inserts one · TAB shows more and longer ones · ESC closes" if self.options else ""
        lines.append((QUIET_STYLE, self._notice or hint))
        return lines

    def _parts(self, text: str) -> tuple[str, str]:
        """Return the line's command, if any, and the text to continue."""
        if text.startswith(self._bot.command_prefix) and " " in text:
            command, _, rest = text.partition(" ")
            return command, rest
        return "", text

    def ask(self, buffer: Buffer) -> None:
        """Request the next round of continuations for the current line."""
        text = buffer.text
        prefix = self._bot.command_prefix
        if text.startswith(prefix) and " " not in text:
            self._complete_command(buffer)
            return
        if not self._parts(text)[1].strip():
            self._notice = "Type the beginning of a text, then press TAB."
            return
        if self._task and not self._task.done():
            return
        if text != self._text:
            self.clear()
        self._text = text
        self._notice = "writing …"
        self._task = run_in_background(self._fetch(text), "continuing a typed line")

    def _complete_command(self, buffer: Buffer) -> None:
        prefix = self._bot.command_prefix
        typed = buffer.text[len(prefix) :].lower()
        names = [name for name in self._bot.command_names if name.startswith(typed)]
        if len(names) == 1:
            buffer.document = type(buffer.document)(f"{prefix}{names[0]} ")
        else:
            self._text = buffer.text
            self._notice = " ".join(names) or "no such command"

    async def _fetch(self, text: str) -> None:
        num, max_new_tokens = _ROUNDS[min(self._round, len(_ROUNDS) - 1)]
        try:
            found = await self._bot.suggest(
                self._parts(text)[1], num=num, max_new_tokens=max_new_tokens, seed=self._round
            )
            # From the third TAB on the earlier ones stay, up to nine in all: one for each digit key.
            kept = self.options if self._round >= len(_ROUNDS) - 1 else ()
            self.options = tuple(dict.fromkeys((*found, *kept)))[:9]
            self._notice = "" if self.options else "The model adds nothing here."
            self._round += 1
        except FewshotError as e:
            self._notice = type_mentions(str(e), self._bot.command_prefix)
        except Exception:
            logger.exception("continuing a typed line failed")
            self._notice = "That failed. The log says why."
        get_app().invalidate()

    def take(self, buffer: Buffer, number: int) -> None:
        """Append continuation `number` (from 1) to the line."""
        if number <= len(self.options):
            option = self.options[number - 1]
            self.clear()
            buffer.cursor_position = len(buffer.text)
            buffer.insert_text(option)

    def key_bindings(self) -> KeyBindings:
        """Return the bindings of TAB, the digits and ESC."""
        bindings = KeyBindings()
        is_offering = Condition(lambda: bool(self.options))

        @bindings.add("tab")
        def _(event: KeyPressEvent) -> None:
            self.ask(event.current_buffer)

        @bindings.add("escape", eager=True, filter=is_offering)
        def _(event: KeyPressEvent) -> None:
            self.clear()

        for digit in "123456789":

            @bindings.add(digit, filter=is_offering)
            def _(event: KeyPressEvent) -> None:
                self.take(event.current_buffer, int(event.data))

        return bindings
