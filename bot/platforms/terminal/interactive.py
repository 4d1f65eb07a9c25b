"""The terminal for people: line editing, history, answers shown while they are written, Ctrl-C to stop one."""

import asyncio
import math
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.application import get_app_session
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from bot.core.cards import Card, Text, error_card
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.platforms.terminal.conversation import Conversation, new_id
from bot.platforms.terminal.editor import fill_in, keep_text
from bot.platforms.terminal.rendering import QUIET_STYLE, plain_text, render_card
from bot.platforms.terminal.suggestions import Suggestions
from bot.trace import note_step

_STYLE: Final = Style.from_dict({"bottom-toolbar": "noreverse"})


def _history(path: Path) -> History:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


class AnswerView:
    """Shows the snapshots of one answer: model text grows in place, any other card is redrawn."""

    def __init__(self) -> None:
        self._shown = ""
        self._num_rows = 0

    def wait(self) -> None:
        """Show that an answer is being written."""
        self._draw([(QUIET_STYLE, "…\n")])

    def show(self, card: Card) -> None:
        """Show what is new in this snapshot."""
        fragments = render_card(card, is_colored=True)
        text = plain_text(fragments)
        is_growing = bool(card.blocks) and isinstance(card.blocks[0], Text) and card.blocks[0].is_model_text
        if is_growing and text.startswith(self._shown):
            # While the text grows, it has no final line break.
            fragments = fragments if card.is_final else _clip(fragments, len(text) - 1)
            self._erase()
            _print(_skip(fragments, len(self._shown)))
            self._shown = plain_text(fragments)
        elif self._shown:
            # The final text differs from what is on the screen, so the whole answer follows below it.
            _print([("", "\n"), *fragments])
            self._shown = text
        elif card.is_final or _count_rows(text) < shutil.get_terminal_size().lines - 1:
            self._draw(fragments)

    def _draw(self, fragments: StyleAndTextTuples) -> None:
        self._erase()
        _print(fragments)
        self._num_rows = _count_rows(plain_text(fragments))

    def _erase(self) -> None:
        if self._num_rows:
            output = get_app_session().output
            output.cursor_up(self._num_rows)
            output.erase_down()
            output.flush()
        self._num_rows = 0


def _count_rows(text: str) -> int:
    """Return how many rows of the terminal a text takes; the text ends in a line break."""
    columns = shutil.get_terminal_size().columns
    return sum(max(1, math.ceil(get_cwidth(line) / columns)) for line in text.splitlines())


def _clip(fragments: StyleAndTextTuples, num_characters: int) -> StyleAndTextTuples:
    """Return the first `num_characters` of styled text."""
    kept: StyleAndTextTuples = []
    for fragment in fragments:
        text = fragment[1][:num_characters]
        num_characters -= len(text)
        if text:
            kept.append((fragment[0], text))
    return kept


def _skip(fragments: StyleAndTextTuples, num_characters: int) -> StyleAndTextTuples:
    """Return styled text without its first `num_characters`."""
    kept: StyleAndTextTuples = []
    for fragment in fragments:
        text = fragment[1][num_characters:]
        num_characters = max(0, num_characters - len(fragment[1]))
        if text:
            kept.append((fragment[0], text))
    return kept


def _print(fragments: StyleAndTextTuples) -> None:
    print_formatted_text(FormattedText(fragments), end="", flush=True)


async def _answer(conversation: Conversation, text: str, editor: str) -> None:
    """Show the answer to one line; Ctrl-C stops the answer, not the program."""
    stopper = Stopper()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stopper.stop)
    try:
        message_id = new_id()
        card = await _show(conversation.say(text, stopper, message_id=message_id))
        note_step(message_id, "finished")
        if card is None or card.form is None:
            return
        if not editor:
            AnswerView().show(conversation.no_editor(card))
            return
        try:
            values = await fill_in(card.form, editor)
        except RequestError as e:
            AnswerView().show(error_card(str(e)))
            return
        submission_id = new_id()
        done = await _show(conversation.submit(card.form, values, submission_id=submission_id))
        note_step(submission_id, "finished")
        if done is None or done.error is not None:
            # If the store failed, this is the only copy.
            path = keep_text("\n".join(values.values()))
            _print([("", f"Your text is saved in {path}\n")])
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _show(cards: AsyncIterator[Card]) -> Card | None:
    """Show an answer while it is written; return its last snapshot."""
    view, last = AnswerView(), None
    view.wait()
    async for card in cards:
        last = card
        view.show(card)
    return last


async def run_interactive(conversation: Conversation, history_file: Path, *, editor: str = "") -> int:
    """Answer typed lines until the end of input (Ctrl-D or the line `exit`); return the exit status.

    `editor` is the command line of the editor that opens forms.
    """
    bot = conversation.bot
    suggestions = Suggestions(bot)
    session: PromptSession[str] = PromptSession(
        history=_history(history_file),
        key_bindings=suggestions.key_bindings(),
        bottom_toolbar=suggestions.toolbar,
        style=_STYLE,
    )

    def watch(buffer: Buffer) -> None:
        suggestions.text_changed(buffer)

    session.default_buffer.on_text_changed += watch
    prefix = bot.command_prefix
    help_line = f"Type a message. {prefix}help lists the commands, TAB continues your text, Ctrl-D quits."
    _print([(QUIET_STYLE, f"{bot.model_line}\n{help_line}\n")])
    while True:
        try:
            text = await session.prompt_async(f"{conversation.author.name}> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        finally:
            suggestions.clear()
        if text.strip() == "exit":
            return 0
        if text.strip():
            await _answer(conversation, text, editor)
