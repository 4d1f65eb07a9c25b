"""What was deleted, left or forgotten lately: words that were on their way then may not be written any more."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from bot.core.messages import Message, Scope, now_utc

ValueT = TypeVar("ValueT")

# Of a busy server, the deletions of hours; a message is on its way for seconds.
_MAX_IDS: Final = 20_000
# An answer that is being written when its place goes ends within this time.
ANSWERING: Final = timedelta(seconds=60)


class GoneIds:
    """The messages deleted last, and the places and people forgotten last, in memory.

    Each can happen while a message waits for an attached file or for the writer, so there is no row to erase yet. Each
    transaction that inserts words looks here. After a restart nothing is on its way.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[Hashable, None] = OrderedDict()
        self._gone_at: OrderedDict[Hashable, datetime] = OrderedDict()

    def note(self, platform: str, message_ids: Iterable[str]) -> None:
        """Remember deleted messages."""
        for message_id in message_ids:
            _keep(self._ids, (platform, message_id), None)

    def note_place(self, platform: str, server: str, channel: str = "", thread: str = "") -> None:
        """Remember that a server, channel or thread is gone now."""
        _keep(self._gone_at, (platform, server, channel, thread), now_utc())

    def note_person(self, platform: str, author_id: str) -> None:
        """Remember that a person's words were forgotten now."""
        _keep(self._gone_at, (platform, author_id), now_utc())

    def has(self, platform: str, message_id: str) -> bool:
        """Say whether a message was deleted lately."""
        return (platform, message_id) in self._ids

    def refuses(self, message: Message) -> bool:
        """Say whether a message was deleted, or its place or author forgotten, after it had arrived."""
        scope, author = message.scope, message.author
        # The bot's own answer arrives when it is written; what it answers arrived before.
        arrived_at = message.arrived_at_utc - (ANSWERING if author.is_me else timedelta())
        marks: list[Hashable] = [*_places_of(scope), (scope.platform, author.id)]
        return self.has(scope.platform, message.id) or any(
            mark in self._gone_at and self._gone_at[mark] >= arrived_at for mark in marks
        )


def _places_of(scope: Scope) -> Iterable[Hashable]:
    yield scope.platform, scope.server, "", ""
    yield scope.platform, scope.server, scope.channel, ""
    yield scope.platform, scope.server, scope.channel, scope.thread


def _keep(kept: OrderedDict[Hashable, ValueT], key: Hashable, value: ValueT) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _MAX_IDS:
        kept.popitem(last=False)
