"""Messages on their way into the store, and the edits of them that arrive meanwhile."""

import asyncio
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager

from bot.core.messages import Message


class Arrivals:
    """The messages whose words were read from the platform and are not stored yet.

    An edit of one that is handled before it is stored would find no row, and the old words would stay; one that is
    handled just after would find the old words answered already.
    """

    def __init__(self) -> None:
        self._stored: dict[Hashable, list[asyncio.Event]] = {}
        self._edited: dict[Hashable, Message] = {}

    @contextmanager
    def storing(self, message_ids: Iterable[Hashable]) -> Iterator[None]:
        """Let edits of these messages wait until the block ends."""
        ids = tuple(message_ids)
        stored = asyncio.Event()
        for message_id in ids:
            self._stored.setdefault(message_id, []).append(stored)
        try:
            yield
        finally:
            stored.set()
            for message_id in ids:
                waiting = self._stored[message_id]
                waiting.remove(stored)
                if not waiting:
                    del self._stored[message_id]
                    self._edited.pop(message_id, None)

    def latest(self, message_id: Hashable) -> Message | None:
        """Return the message as it was edited since its words were read, None if it was not."""
        return self._edited.get(message_id)

    async def edited(self, message_id: Hashable, message: Message) -> None:
        """Note an edit, and wait until the message is stored, or it is clear that it will not be."""
        if message_id in self._stored:
            self._edited[message_id] = message
        for stored in tuple(self._stored.get(message_id, ())):
            await stored.wait()
