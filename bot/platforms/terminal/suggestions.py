"""Continuations of the line being typed: TAB shows some, TAB again adds longer ones, a number inserts one."""

import asyncio
import logging
from itertools import takewhile
from typing import Final

from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.formatted_text import OneStyleAndTextTuple, StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from bot.background import run_in_background
from bot.core.mentions import type_mentions
from bot.errors import FewshotError
from bot.platforms.terminal.completion import LineCompleter, as_typed
from bot.platforms.terminal.conversation import Conversation
from bot.platforms.terminal.tables import QUIET_STYLE
from bot.platforms.terminal.wrapping import wrap

logger = logging.getLogger(__name__)

# Each TAB in turn asks for so many more continuations of at most so many tokens; the last entry is repeated.
_ROUNDS: Final = ((3, 6), (3, 16), (3, 40))
# One for each digit key.
_MAX_OPTIONS: Final = 9
_HINT: Final = "a number inserts one · TAB adds longer ones · ESC closes"
_FULL: Final = "a number inserts one · ESC closes"


class Suggestions:
    """The continuations shown below the line, and the keys that request and insert them.

    In a command line TAB completes what is not free text first.
    """

    def __init__(self, conversation: Conversation, completer: LineCompleter) -> None:
        self._conversation = conversation
        self._bot = conversation.bot
        self._completer = completer
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
        """Return the text below the line, at most half of the screen."""
        size = get_app().output.get_size()
        rows: list[StyleAndTextTuples] = []
        max_rows = max(1, size.rows // 2 // max(1, len(self.options)))
        for i, option in enumerate(self.options):
            number: StyleAndTextTuples = [("", f"{i + 1} "), (QUIET_STYLE, "…")]
            shown = wrap([*number, ("bold", option)], size.columns, hang=3)
            if len(shown) > max_rows:
                shown = [*shown[: max_rows - 1], [*shown[max_rows - 1][:-1], _cut(shown[max_rows - 1][-1])]]
            rows += shown
        hint = _FULL if len(self.options) == _MAX_OPTIONS else _HINT if self.options else ""
        rows += wrap([(QUIET_STYLE, self._notice or hint)], size.columns)
        return [fragment for i, row in enumerate(rows) for fragment in [*([("", "\n")] if i else []), *row]]

    def ask(self, buffer: Buffer) -> None:
        """Complete the command line, or request the next continuations of its text."""
        if buffer.complete_state:
            buffer.complete_next()
            return
        if self._task and not self._task.done():
            return
        if buffer.text != self._text:
            self.clear()
        self._text = buffer.text
        before = buffer.document.text_before_cursor
        expected = self._completer.expected(before)
        if expected.is_text:
            self._continue_text(buffer, expected.start)
        elif expected.offers:
            num_typed = len(before) - expected.start
            columns = zip(*map(as_typed, expected.offers), strict=False)
            common = "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
            # Where nothing is typed yet, what several offers have in common is nobody's choice.
            if len(expected.offers) == 1 or (num_typed and len(common) > num_typed):
                # At once, since the next key may be there already.
                buffer.delete_before_cursor(num_typed)
                buffer.insert_text(common)
            if len(expected.offers) > 1:
                buffer.start_completion()
        else:
            self._notice = type_mentions(expected.hint, self._bot.command_prefix)

    def _continue_text(self, buffer: Buffer, start: int) -> None:
        """Request the next continuations of the line's text, which begins at `start`."""
        if not buffer.text[start:].strip():
            self._notice = "Type the beginning of a text, then press TAB."
        elif len(self.options) < _MAX_OPTIONS:
            self._notice = "writing …"
            self._task = run_in_background(self._fetch(buffer, buffer.text, start), "continuing a typed line")

    async def _fetch(self, buffer: Buffer, text: str, start: int) -> None:
        """Add the next round of continuations to those that are shown, and suggest the first."""
        num, max_new_tokens = _ROUNDS[min(self._round, len(_ROUNDS) - 1)]
        num = min(num, _MAX_OPTIONS - len(self.options))

        def tell(sentence: str) -> None:
            self._notice = sentence
            get_app().invalidate()

        try:
            found = await self._bot.suggest(
                self._conversation.message(text),
                text[start:],
                num=num,
                max_new_tokens=max_new_tokens,
                seed=self._round,
                tell=tell,
            )
            self.options = tuple(dict.fromkeys((*self.options, *found)))
            self._notice = "" if self.options else "The model adds nothing here."
            self._round += 1
            if self.options and buffer.text == text and buffer.document.is_cursor_at_the_end:
                buffer.suggestion = Suggestion(self.options[0])
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

        @bindings.add("escape", eager=True, filter=has_completions)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.cancel_completion()

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


def _cut(fragment: OneStyleAndTextTuple) -> OneStyleAndTextTuple:
    """Return the end of a row that is not shown to its end."""
    return (fragment[0], fragment[1][:-1] + "…")
