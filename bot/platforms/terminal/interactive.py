"""The terminal for people: line editing and history, answers that appear as they are written, Ctrl-C to stop one."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.styles import Style

from bot.core.cards import Card, Text
from bot.core.stopping import Stopper
from bot.platforms.terminal.conversation import Conversation
from bot.platforms.terminal.rendering import MODEL_STYLE, plain_text, render_card
from bot.platforms.terminal.suggestions import Suggestions

_STYLE: Final = Style.from_dict({"bottom-toolbar": "noreverse"})


def _history(path: Path) -> History:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


class AnswerView:
    """Shows the snapshots of one answer: model text grows in place, cards appear when they are final."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, card: Card) -> None:
        """Show what is new in this snapshot."""
        if card.is_final:
            self._finish(card)
        elif len(card.blocks) == 1 and isinstance(card.blocks[0], Text) and card.blocks[0].is_model_text:
            self._grow(card.blocks[0].text)
        elif not self._shown:
            self._progress(card)

    def _grow(self, text: str) -> None:
        if text.startswith(self._shown):
            _print([(MODEL_STYLE, text[len(self._shown) :])], end="")
            self._shown = text

    def _progress(self, card: Card) -> None:
        # A card that is not one growing text (several continuations) shows its last line until it is complete.
        lines = plain_text(render_card(card, is_colored=False)).splitlines()
        if lines and sys.stdout.isatty():
            sys.stdout.write("\r\x1b[K" + lines[-1][-70:])
            sys.stdout.flush()

    def _finish(self, card: Card) -> None:
        sys.stdout.write("" if self._shown else "\r\x1b[K")
        fragments = render_card(card, is_colored=True)
        text = plain_text(fragments)
        if self._shown and text.startswith(self._shown):
            _print(_skip(fragments, len(self._shown)), end="")
        elif self._shown:
            _print([("", "\n"), *fragments], end="")
        else:
            _print(fragments, end="")


def _skip(fragments: StyleAndTextTuples, num_characters: int) -> StyleAndTextTuples:
    kept: StyleAndTextTuples = []
    for fragment in fragments:
        style, text = fragment[0], fragment[1]
        skipped = min(num_characters, len(text))
        num_characters -= skipped
        if text[skipped:]:
            kept.append((style, text[skipped:]))
    return kept


def _print(fragments: StyleAndTextTuples, *, end: str = "\n") -> None:
    print_formatted_text(FormattedText(fragments), end=end, flush=True)


async def _answer(conversation: Conversation, text: str) -> None:
    """Show the answer to one line; Ctrl-C stops the answer, not the program."""
    stopper = Stopper()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stopper.stop)
    try:
        view = AnswerView()
        async for card in conversation.say(text, stopper):
            view.show(card)
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def run_interactive(conversation: Conversation, history_file: Path) -> int:
    """Talk until the end of input (Ctrl-D, or a line that is `exit`); return the exit status."""
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
    help_line = f"Say something. {bot.command_prefix}help lists the commands, TAB continues your text, Ctrl-D leaves."
    _print([("fg:#888888", f"{bot.model_line}\n{help_line}")])
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
            await _answer(conversation, text)
