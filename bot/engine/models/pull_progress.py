"""Progress of a pull: the events that the pull process writes, and the bar that the waiting process draws from them."""

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from tqdm import tqdm

from bot.telling import operator_logger, say

_EVENT_EVERY_S: Final = 0.1
_LOOK_EVERY_S: Final = 0.3
_PLAIN_LINE_EVERY_S: Final = 10.0


class ProgressWriter:
    """Writes events, one JSON object a line, for the waiting process; each event shows that the pull is alive.

    `phase` starts a piece of work, `advance` says how much of it is done. A call without news writes nothing, so a
    stalled download sends no events.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._done = -1
        self._total = 0
        self._written_at = 0.0

    def phase(self, text: str, *, total: int = 0, unit: str = "B") -> None:
        """Start the work that `text` names, of `total` units (0: unknown)."""
        self._done, self._total = -1, total
        self._write({"phase": text, "total": total, "unit": unit})

    def advance(self, done: int) -> None:
        """Report that `done` units are done since the start of the phase."""
        is_last = done >= self._total > 0
        if done != self._done and (is_last or time.monotonic() - self._written_at >= _EVENT_EVERY_S):
            self._done = done
            self._write({"done": done})

    def alive(self) -> None:
        """Report that the wait is normal: another process is working."""
        self._write({})

    def finish(self, **result: Any) -> None:
        """Write the last event."""
        self._write(result)

    @contextmanager
    def watch_growth(self, folder: Path) -> Iterator[None]:
        """Advance by the number of bytes under `folder` while the block runs, then to the total of the phase."""
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(_LOOK_EVERY_S):
                self.advance(count_bytes(folder))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
        self.advance(self._total)

    def _write(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._written_at = time.monotonic()
            self._file.write(json.dumps(event).encode() + b"\n")
            self._file.flush()


def count_bytes(folder: Path) -> int:
    """Return the bytes of all files under `folder`; skip files that disappear meanwhile."""
    num = 0
    for path in folder.rglob("*"):
        try:
            num += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return num


class ProgressDisplay:
    """Draws phases on `file`: a bar on a terminal, else a line from time to time.

    Without a `file` that is standard error, or the log where the operator is told things there.
    """

    def __init__(self, file: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = sys.stderr if file is None else file  # None if the process has no standard error
        self._is_logged = file is None and bool(operator_logger.handlers)
        self._clock = clock
        self._bar: Any = None
        self._text = ""
        self._total = 0
        self._told_at = 0.0

    def phase(self, text: str, total: int, unit: str) -> None:
        """Start a new line for the work that `text` names."""
        self.close()
        self._text, self._total = text, total
        if self._file is None:
            return
        if total > 0 and self._file.isatty() and not self._is_logged:
            # If a terminal does not report its size, tqdm's own measurement draws nothing.
            columns, lines = shutil.get_terminal_size()
            is_bytes = unit == "B"
            self._bar = tqdm(
                total=total, desc=text, unit=unit, unit_scale=is_bytes, file=self._file, ncols=columns, nrows=lines
            )
        else:
            self.tell(f"{text} …")

    def advance(self, done: int) -> None:
        """Show that `done` units of the phase's total are done."""
        if self._bar is not None:
            self._bar.update(min(done, self._total) - self._bar.n)
        elif self._total > 0 and self._clock() - self._told_at >= _PLAIN_LINE_EVERY_S:
            self.tell(f"{self._text}: {min(100, 100 * done // self._total)} %")

    def tell(self, line: str) -> None:
        """Write `line` on a line of its own."""
        self._told_at = self._clock()
        if self._is_logged:
            say(line)
        elif self._file is not None:
            try:
                self._file.write(line + "\n")
                self._file.flush()
            except OSError:  # a log file on a full disk: the work goes on
                self._file = None

    def close(self) -> None:
        """End the bar's line, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
