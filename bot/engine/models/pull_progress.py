"""How far a pull is: the events that the pulling process writes, and the bar that the waiting one draws of them."""

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

# Events closer together than this would only cost time.
_EVENT_EVERY_S: Final = 0.1
_LOOK_EVERY_S: Final = 0.3
_PLAIN_LINE_EVERY_S: Final = 10.0


class ProgressWriter:
    """Writes events, one JSON object a line, for the process that waits; an event is a sign of life.

    `phase` begins a piece of work, `advance` says how much of it is done; a call that says nothing new writes nothing,
    so that a stalled download falls silent.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._done = -1
        self._total = 0
        self._written_at = 0.0

    def phase(self, text: str, *, total: int = 0, unit: str = "B") -> None:
        """Begin the work that `text` names, of `total` units (0: nobody knows)."""
        self._done, self._total = -1, total
        self._write({"phase": text, "total": total, "unit": unit})

    def advance(self, done: int) -> None:
        """Say that `done` units are done since the phase began."""
        is_last = done >= self._total > 0
        if done != self._done and (is_last or time.monotonic() - self._written_at >= _EVENT_EVERY_S):
            self._done = done
            self._write({"done": done})

    def alive(self) -> None:
        """Say that waiting is right: another process is at work."""
        self._write({})

    def finish(self, **result: Any) -> None:
        """Write the last event."""
        self._write(result)

    @contextmanager
    def watch_growth(self, folder: Path) -> Iterator[None]:
        """Advance by the bytes that lie under `folder`, looked up now and then while the block runs, to its total."""
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
    """Return the bytes of all files under `folder`; files that vanish meanwhile count nothing."""
    num = 0
    for path in folder.rglob("*"):
        try:
            num += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return num


class ProgressDisplay:
    """Draws phases on `file` (standard error by default): a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, file: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = sys.stderr if file is None else file  # None where the process has no standard error
        self._clock = clock
        self._bar: Any = None
        self._text = ""
        self._total = 0
        self._told_at = 0.0

    def phase(self, text: str, total: int, unit: str) -> None:
        """Begin a new line for the work that `text` names."""
        self.close()
        self._text, self._total = text, total
        if self._file is None:
            return
        if total > 0 and self._file.isatty():
            # Not tqdm's own measuring: where a terminal does not say its size, that draws nothing at all.
            columns, lines = shutil.get_terminal_size()
            is_bytes = unit == "B"
            self._bar = tqdm(
                total=total, desc=text, unit=unit, unit_scale=is_bytes, file=self._file, ncols=columns, nrows=lines
            )
        else:
            self.tell(f"{text} …")

    def advance(self, done: int) -> None:
        """Show that `done` of the phase's total are done."""
        if self._bar is not None:
            self._bar.update(min(done, self._total) - self._bar.n)
        elif self._total > 0 and self._clock() - self._told_at >= _PLAIN_LINE_EVERY_S:
            self.tell(f"{self._text}: {min(100, 100 * done // self._total)} %")

    def tell(self, line: str) -> None:
        """Write `line` by itself."""
        self._told_at = self._clock()
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    def close(self) -> None:
        """End the bar's line, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
