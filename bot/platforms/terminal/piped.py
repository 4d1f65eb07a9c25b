"""The terminal for scripts: each line of standard input, or one text, is a message; answers go to standard output."""

import asyncio
import contextlib
import json
import shutil
import sys
import threading
from collections.abc import AsyncIterator
from typing import IO, Final

from bot.commands.bot import MAX_TEXT_BYTES
from bot.core.cards import Card, error_card
from bot.core.stopping import Stopper
from bot.platforms.terminal.conversation import Conversation, new_id
from bot.platforms.terminal.rendering import plain_text, render_card
from bot.trace import note_step

# The rest of a longer line is skipped without being held. The limit is above MAX_TEXT_BYTES, so that the error for a
# text that is too long can state its size.
_MAX_LINE_BYTES: Final = 16 * MAX_TEXT_BYTES
_MAX_LINES_AHEAD: Final = 16


def _read_line(stream: IO[bytes]) -> bytes:
    """Return the next line, b"" at the end; of a line above _MAX_LINE_BYTES only the beginning."""
    line = stream.readline(_MAX_LINE_BYTES)
    if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
        while (rest := stream.readline(_MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
    return line


async def _read_lines(stream: IO[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a blocking stream, read in a daemon thread so that the program can end at any time."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(_MAX_LINES_AHEAD)

    def read() -> None:
        # RuntimeError: the loop is closed, so the line is not needed.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            while True:
                room.acquire()
                line = _read_line(stream)
                loop.call_soon_threadsafe(lines.put_nowait, line)
                if not line:
                    return

    threading.Thread(target=read, name="standard-input", daemon=True).start()
    while line := await lines.get():
        room.release()
        yield line


async def _answer_line(conversation: Conversation, line: bytes, stopper: Stopper, message_id: str) -> Card | None:
    """Return the final card that answers `line` as the message `message_id`; None for an empty line."""
    try:
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError as e:
        return error_card(
            f"This line is not UTF-8 text (byte {e.start + 1}), so it was skipped. Send UTF-8.", command="chat"
        )
    return await _final_card(conversation, text, stopper, message_id) if text.strip() else None


async def _final_card(conversation: Conversation, text: str, stopper: Stopper, message_id: str) -> Card | None:
    """Return the final card that answers `text` as the message `message_id`."""
    final = None
    async for card in conversation.say(text, stopper, message_id=message_id):
        final = card
    return conversation.no_editor(final) if final is not None and final.form is not None else final


def _to_json(card: Card) -> str:
    text = "" if card.error else plain_text(render_card(card, is_colored=False)).rstrip("\n")
    return json.dumps({"command": "chat", "text": text, **card.data}, ensure_ascii=False, allow_nan=False)


def _width() -> int | None:
    """Return how wide the answers may be: a pipe and a file have no width."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _write(card: Card, message_id: str, *, is_json: bool) -> None:
    text = _to_json(card) + "\n" if is_json else plain_text(render_card(card, is_colored=False, width=_width()))
    note_step(message_id, "rendered")
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
    note_step(message_id, "finished")


async def run_piped(conversation: Conversation, stopper: Stopper, *, is_json: bool) -> int:
    """Answer all lines of standard input; return the exit status.

    `stopper` ends the current answer and skips the remaining lines; the status is then 130, as after Ctrl-C.
    """
    async for line in _read_lines(sys.stdin.buffer):
        message_id = new_id()
        card = await _answer_line(conversation, line, stopper, message_id)
        if card is not None:
            _write(card, message_id, is_json=is_json)
        if stopper.is_stopped:
            return 130
    return 0


async def run_once(conversation: Conversation, text: str, stopper: Stopper, *, is_json: bool) -> int:
    """Answer `text`, which may have several lines; return the exit status: 1 if the answer is an error."""
    message_id = new_id()
    card = await _final_card(conversation, text, stopper, message_id)
    if card is None:
        return 1
    if card.error and not is_json:
        sys.stderr.write(f"{card.error}\n")
    else:
        _write(card, message_id, is_json=is_json)
    return 130 if stopper.is_stopped else 1 if card.error else 0
