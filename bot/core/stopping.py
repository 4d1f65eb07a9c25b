"""Stopping a running answer from any part of the program."""

from collections.abc import Callable


class Stopper:
    """A request to stop (a button, Ctrl-C), passed on to the work that is running."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._on_stop: Callable[[], None] | None = None

    def stop(self) -> None:
        """End the current work and all that follows; a second call does nothing."""
        if not self.is_stopped:
            self.is_stopped = True
            if self._on_stop:
                self._on_stop()

    def on_stop(self, end: Callable[[], None]) -> None:
        """Set how to end the current work; `end` is called right away if `stop` was called before."""
        self._on_stop = end
        if self.is_stopped:
            end()
