"""How a running answer is told to stop, from whichever side."""

from collections.abc import Callable


class Stopper:
    """Carries one wish to stop from who asked (a button, Ctrl-C) to what runs now."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._on_stop: Callable[[], None] | None = None

    def stop(self) -> None:
        """Ask what runs now, and what would run after it, to end; a second call does nothing."""
        if not self.is_stopped:
            self.is_stopped = True
            if self._on_stop:
                self._on_stop()

    def on_stop(self, end: Callable[[], None]) -> None:
        """Say how to end what runs from now on; called at once where the wish came before."""
        self._on_stop = end
        if self.is_stopped:
            end()
