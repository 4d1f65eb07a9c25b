"""Gaps in what a shard has received: from a lost connection until everything sent meanwhile has been read."""

from bot.services.ledger import SeenUntil


class Gaps:
    """Freezes the watermark of a shard while messages before it may be missing.

    Discord sends a resumed session the events that it missed. A new session has to read them over REST, whatever
    happens to the connection until then.
    """

    def __init__(self, seen: SeenUntil) -> None:
        self.seen = seen
        self._is_connected = False
        self._num_sessions = 0
        self._num_read = 0

    @property
    def session(self) -> int:
        """Return the number of the current session, for `was_read`."""
        return self._num_sessions

    def begin_again(self) -> None:
        """Note that a new session starts; call it before its first event."""
        self._num_sessions += 1
        self.seen.freeze()

    def is_lost(self) -> None:
        """Note that the connection broke."""
        self._is_connected = False
        self.seen.freeze()

    def is_connected(self) -> None:
        """Note that the session has started, or was resumed and has received what it missed."""
        self._is_connected = True
        self._thaw_if_complete()

    def was_read(self, session: int) -> None:
        """Note that everything sent before the start of `session` has been read."""
        self._num_read = max(self._num_read, session)
        self._thaw_if_complete()

    def _thaw_if_complete(self) -> None:
        if self._is_connected and self._num_read == self._num_sessions:
            self.seen.thaw(self.seen.gap)
