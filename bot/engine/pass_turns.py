"""Turns of several models at the processor: one pass at a time, in the order in which their threads asked."""

import threading
from collections import deque
from typing import Final


class PassTurns:
    """A fair lock around the passes of the models of one program, which share its processor threads.

    A turn that nobody else wants costs about a microsecond, so a second model that is idle costs the first nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two fields below
        self._holder: object | None = None
        self._waiting: deque[tuple[object, threading.Event]] = deque()

    def enter(self, who: object) -> None:
        """Wait for the turn of `who`, and take it."""
        with self._lock:
            if self._holder is None:
                self._holder = who
                return
            is_free = threading.Event()
            self._waiting.append((who, is_free))
        is_free.wait()

    def leave(self, who: object) -> None:
        """End the turn of `who`, if it is theirs: one that hung was given up, and may come back late."""
        with self._lock:
            if self._holder is not who:
                return
            self._holder = None
            if self._waiting:
                self._holder, is_free = self._waiting.popleft()
                is_free.set()


OF_THIS_PROGRAM: Final = PassTurns()
