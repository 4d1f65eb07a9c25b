"""What a shard may have missed: from a lost connection until all that was said meanwhile has been taken."""

from bot.services.ledger import SeenUntil


class Gaps:
    """Lets the watermark of a shard stand still while anything below may be missing.

    A session that goes on is sent what it missed; one that begins anew owes a reading over REST, whatever happens to
    the connection until that is done.
    """

    def __init__(self, seen: SeenUntil) -> None:
        self.seen = seen
        self._is_connected = False
        self._num_sessions = 0
        self._num_read = 0

    @property
    def session(self) -> int:
        """Return the number of the present session, for `was_read`."""
        return self._num_sessions

    def begins_anew(self) -> None:
        """Note that a session begins, before any of its events comes."""
        self._num_sessions += 1
        self.seen.freeze()

    def is_lost(self) -> None:
        """Note that the connection broke."""
        self._is_connected = False
        self.seen.freeze()

    def is_connected(self) -> None:
        """Note that the session began, or goes on and was sent what it missed."""
        self._is_connected = True
        self._go_on()

    def was_read(self, session: int) -> None:
        """Note that all that was said before `session` began has been taken."""
        self._num_read = max(self._num_read, session)
        self._go_on()

    def _go_on(self) -> None:
        if self._is_connected and self._num_read == self._num_sessions:
            self.seen.thaw(self.seen.gap)
