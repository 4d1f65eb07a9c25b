"""Up to when everything said in a workspace has been handled, also while sockets are silent."""

from collections.abc import Callable
from time import time
from typing import Final

from bot.services.ledger import Watermark

# What a socket may have lost before its silence was noticed is read again; the ledger refuses what was answered.
OVERLAP_S: Final = 120.0
# What was said before that is too old to be answered, and reading weeks of many channels would take hours.
_MAX_AWAY_S: Final = 24 * 3600.0


class Marks:
    """The watermark of a workspace: the times of Slack's messages order them in the whole workspace."""

    def __init__(
        self, watermark: Watermark, *, overlap_s: float = OVERLAP_S, clock: Callable[[], float] = time
    ) -> None:
        self._watermark = watermark
        self._overlap_s = overlap_s
        self._clock = clock
        self._since: float | None = None

    async def begin(self) -> None:
        """Begin at the present where nothing was ever handled: no earlier message is for the bot."""
        if self._watermark.seen.value is None:
            self._watermark.seen.done(timestamp(self._clock()))
            await self._watermark.save()

    @property
    def start_of_gap(self) -> str:
        """Return the time after which messages are to be read back."""
        starts = [float(self._watermark.seen.value or "0"), *([] if self._since is None else [self._since])]
        return timestamp(max(0.0, min(starts) - self._overlap_s))

    def saw(self, ts: str) -> None:
        """Record a message to handle."""
        self._watermark.seen.saw(ts)

    def done(self, ts: str) -> None:
        """Record that a message is accepted or needs no answer."""
        self._watermark.seen.done(ts)

    def lost(self, since: float | None = None) -> None:
        """Keep the watermark where it is: messages may be missing from now on, or since a time before."""
        if since is not None:
            self._since = since if self._since is None else min(since, self._since)
        self._watermark.seen.freeze()

    @property
    def gap(self) -> int:
        """Return the number of the last gap, for `was_read`."""
        return self._watermark.seen.gap

    def was_read(self, gap: int) -> None:
        """Let the watermark go on if no later gap has started."""
        if self._watermark.seen.thaw(gap):
            self._since = None


def timestamp(seconds: float) -> str:
    """Return a time as Slack writes it."""
    return f"{seconds:.6f}"


def not_too_old(after: str, *, clock: Callable[[], float] = time) -> str:
    """Return the time `after`, or a day ago if that is later."""
    return max(after, timestamp(clock() - _MAX_AWAY_S))
