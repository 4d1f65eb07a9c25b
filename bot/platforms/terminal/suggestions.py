"""Continuations of the line that is being typed: TAB shows some, TAB again more and longer ones, a number takes one."""

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

# What each further TAB asks for: continuations on offer, tokens each.
_ROUNDS: Final = ((3, 6), (5, 16), (5, 40))


class Suggestions:
    """The continuations on offer below the line, and the keys that ask for and take them."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._task: asyncio.Task[None] | None = None
        self._text = ""
        self._round = 0
        self._notice = ""
        self.options: tuple[str, ...] = ()

    def clear(self) -> None:
        """Take everything off offer and stop what is being written."""
        if self._task:
            self._task.cancel()
        self._task = None
        self._round = 0
        self._notice = ""
        self.options = ()

    def text_changed(self, buffer: Buffer) -> None:
        """Drop what was on offer for another text."""
        if buffer.text != self._text:
            self.clear()

    def toolbar(self) -> StyleAndTextTuples:
        """Return what stands below the line."""
        lines: StyleAndTextTuples = []
        for i, option in enumerate(self.options):
            lines += [("", f"{i + 1} "), (QUIET_STYLE, "…"), ("bold", option), ("", "\n")]
        hint = "a number takes one · TAB for more and longer · ESC for none" if self.options else ""
        lines.append((QUIET_STYLE, self._notice or hint))
        return lines

    def _parts(self, text: str) -> tuple[str, str]:
        """Return the line's command, if any, and the text that is continued."""
        if text.startswith(self._bot.command_prefix) and " " in text:
            command, _, rest = text.partition(" ")
            return command, rest
        return "", text

    def ask(self, buffer: Buffer) -> None:
        """Offer the next round for the line as it is now."""
        text = buffer.text
        prefix = self._bot.command_prefix
        if text.startswith(prefix) and " " not in text:
            self._complete_command(buffer)
            return
        if not self._parts(text)[1].strip():
            self._notice = "Type the beginning of a text, then TAB."
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
            # From the third TAB on the earlier ones stay, as far as there are digits for them.
            kept = self.options if self._round >= len(_ROUNDS) - 1 else ()
            self.options = tuple(dict.fromkeys((*found, *kept)))[:9]
            self._notice = "" if self.options else "The model has nothing to add here."
            self._round += 1
        except FewshotError as e:
            self._notice = type_mentions(str(e), self._bot.command_prefix)
        except Exception:
            logger.exception("continuing a typed line failed")
            self._notice = "That did not work; the log says why."
        get_app().invalidate()

    def take(self, buffer: Buffer, number: int) -> None:
        """Put continuation `number` (from 1) behind the line."""
        if number <= len(self.options):
            option = self.options[number - 1]
            self.clear()
            buffer.cursor_position = len(buffer.text)
            buffer.insert_text(option)

    def key_bindings(self) -> KeyBindings:
        """Return TAB, the digits and ESC."""
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
