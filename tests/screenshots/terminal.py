"""`python -m bot terminal` in a pseudo-terminal: lines are typed, and the screen is read."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Final

import pyte

ROWS: Final = 100
_PROMPT: Final = "Ada> "
_QUIET_S: Final = 1.0
_ANSWER_S: Final = 120.0


def read_terminal(
    typed: Sequence[str], environment: Mapping[str, str], *, columns: int
) -> list[dict[int, pyte.screens.Char]]:
    """Type each line when the prompt is there again; return the lines of the screen from the first prompt on."""
    keyboard, device = pty.openpty()
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    screen = pyte.Screen(columns, ROWS)
    # Asked where its cursor is, a terminal answers as if that had been typed.
    screen.write_process_input = lambda text: os.write(keyboard, text.encode())
    stream = pyte.ByteStream(screen)
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "terminal", "--as", "Ada"],
        stdin=device,
        stdout=device,
        stderr=device,
        env={**os.environ, **environment, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(device)
    try:
        _wait_for_prompt(keyboard, stream, screen, num=1)
        for number, line in enumerate(typed, 2):
            os.write(keyboard, f"{line}\r".encode())
            _wait_for_prompt(keyboard, stream, screen, num=number)
        shown = [dict(screen.buffer[row]) for row in range(ROWS)]
        first = next(row for row, text in enumerate(screen.display) if text.startswith(_PROMPT))
        last = max(row for row, text in enumerate(screen.display) if text.startswith(_PROMPT))
        blank = screen.default_char
        return [{column: row.get(column, blank) for column in range(columns)} for row in shown[first:last]]
    finally:
        process.terminate()
        process.wait()
        os.close(keyboard)


def _wait_for_prompt(keyboard: int, stream: pyte.ByteStream, screen: pyte.Screen, *, num: int) -> None:
    """Feed the screen until `num` prompts stand on it, the last one empty, and nothing has moved for a moment."""
    end = time.monotonic() + _ANSWER_S
    while time.monotonic() < end:
        if select.select([keyboard], [], [], _QUIET_S)[0]:
            stream.feed(os.read(keyboard, 65536))
            continue
        prompts = [line for line in screen.display if line.startswith(_PROMPT)]
        if len(prompts) == num and prompts[-1].strip() == _PROMPT.strip():
            return
    raise TimeoutError("\n".join(screen.display).rstrip())
