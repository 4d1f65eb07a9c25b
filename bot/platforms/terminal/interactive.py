"""The terminal for people: line editing, history, answers shown while they are written, Ctrl-C to stop one."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.history import History
from prompt_toolkit.styles import Style

from bot.commands.privacy import ERASED
from bot.core.cards import Card, Text, error_card
from bot.core.messages import now_utc
from bot.core.stopping import Stopper
from bot.errors import FewshotError, RequestError
from bot.platforms.terminal.answer_view import AnswerView, show_lines
from bot.platforms.terminal.completion import LineCompleter, LineSuggest
from bot.platforms.terminal.conversation import Conversation, new_id
from bot.platforms.terminal.editor import fill_in, keep_text
from bot.platforms.terminal.suggestions import Suggestions
from bot.trace import note_step

_LEAVING: Final = ("exit", "quit")
_STYLE: Final = Style.from_dict({"bottom-toolbar": "noreverse"})


class _TypedLines(History):
    """The lines that the arrow keys bring back: of this run all, of earlier ones those that the bot still stores.

    So no line outlives what the person erased, nor is one saved of somebody who asked not to be read.
    """

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._started_at_utc = now_utc()
        self._typed: list[str] = []  # newest first
        self._loaded = True

    async def refresh(self) -> None:
        """Look up the stored lines; without the database there are only those of this run."""
        stored: tuple[str, ...] = ()
        with suppress(FewshotError):
            stored = await self._conversation.typed_lines(before_utc=self._started_at_utc)
        self._loaded_strings = [*self._typed, *stored]

    def forget(self) -> None:
        """Forget the lines of this run."""
        self._typed.clear()

    def load_history_strings(self) -> list[str]:
        """Return the lines, newest first."""
        return self._loaded_strings

    def store_string(self, string: str) -> None:
        """Keep a line until the end of this run."""
        self._typed.insert(0, string)


async def _answer(conversation: Conversation, text: str, editor: str) -> Card | None:
    """Show the answer to one line and return it; Ctrl-C stops the answer, not the program."""
    stopper = Stopper()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stopper.stop)
    try:
        message_id = new_id()
        card = await _show(conversation.say(text, stopper, message_id=message_id))
        note_step(message_id, "finished")
        if card is None or card.form is None:
            return card
        if not editor:
            AnswerView().show(conversation.no_editor(card))
            return card
        try:
            values = await fill_in(card.form, editor)
        except RequestError as e:
            AnswerView().show(error_card(str(e)))
            return card
        submission_id = new_id()
        done = await _show(conversation.submit(card.form, values, submission_id=submission_id))
        note_step(submission_id, "finished")
        if done is None or done.error is not None:
            # If the store failed, this is the only copy.
            _save(values)
        return done
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _save(values: Mapping[str, str]) -> None:
    """Keep the texts of a form that could not be stored, and say where."""
    text = "\n".join(values.values())
    try:
        show_lines([("", f"Your text is saved in {keep_text(text)}\n")])  # one line, to be copied
    except OSError:
        show_lines([("", f"Your text can't be saved in a file either. Copy it from here:\n{text}\n")])


async def _show(cards: AsyncIterator[Card]) -> Card | None:
    """Show an answer while it is written; return its last snapshot."""
    view, last = AnswerView(), None
    view.wait()
    async for card in cards:
        last = card
        view.show(card)
    return last


async def run_interactive(conversation: Conversation, *, editor: str = "") -> int:
    """Answer typed lines until the end of input (Ctrl-D, or the line `exit` or `quit`); return the exit status.

    `editor` is the command line of the editor that opens forms.
    """
    bot = conversation.bot
    completer = LineCompleter(conversation)
    suggestions = Suggestions(conversation, completer)
    history = _TypedLines(conversation)
    session: PromptSession[str] = PromptSession(
        history=history,
        completer=completer,
        complete_while_typing=False,
        auto_suggest=LineSuggest(completer),
        key_bindings=suggestions.key_bindings(),
        bottom_toolbar=suggestions.toolbar,
        style=_STYLE,
    )

    def watch(buffer: Buffer) -> None:
        suggestions.text_changed(buffer)

    session.default_buffer.on_text_changed += watch
    prefix = bot.command_prefix
    help_line = f"Type a message, or {prefix}help. TAB completes commands and continues your text, Ctrl-D quits."
    AnswerView().show(Card(blocks=(Text(bot.models_line, is_quiet=True), Text(help_line, is_quiet=True))))
    while True:
        await completer.refresh()
        await history.refresh()
        try:
            text = await session.prompt_async(f"{conversation.author.name}> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        finally:
            suggestions.clear()
        if text.strip().removeprefix(bot.command_prefix).removeprefix("/") in _LEAVING:
            return 0
        if text.strip():
            card = await _answer(conversation, text, editor)
            if card is not None and ERASED in card.data:
                history.forget()
