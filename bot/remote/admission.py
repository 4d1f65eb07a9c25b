"""Whose request goes to the server next: so many at a time, conversations in turn, chat before scoring."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

from bot.core.engine import Asker, Priority, waited_too_long
from bot.core.fair_queue import PRIORITIES, FairQueue
from bot.errors import Busy, Unavailable

_SHUTTING_DOWN: Final = "The bot is shutting down; try again when it is back."


class Ticket:
    """A request that waits for its turn or has it."""

    def __init__(self, asker: Asker, priority: Priority) -> None:
        self.asker = asker
        self.priority: Priority = priority
        self.is_alone = False
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def has_turn(self) -> bool:
        """Say whether it had its turn."""
        return self.turn.done() and not self.turn.cancelled() and self.turn.exception() is None


class Admission:
    """The queue before a server; at most `max_running` requests run, of one person `max_running_per_person`."""

    def __init__(self, *, max_waiting: int, max_running: int, max_running_per_person: int) -> None:
        self._max_waiting = max_waiting
        self._max_running = max_running
        self._max_running_per_person = max_running_per_person
        self._queue: FairQueue[Ticket] = FairQueue()
        self._running_of: Counter[Hashable] = Counter()
        self._is_closed = False
        self.num_running = 0

    @property
    def num_waiting(self) -> int:
        """Return how many requests wait."""
        return len(self._queue)

    def num_ahead(self, ticket: Ticket) -> int:
        """Return how many requests come before `ticket`, including running ones; 0 if it has its turn."""
        num_waiting = self._queue.num_ahead(ticket)
        return 0 if num_waiting is None else num_waiting + self.num_running

    def join(self, asker: Asker, priority: Priority) -> Ticket:
        """Return a ticket; its holder awaits its `turn` and calls `leave` in any case. Raises Busy if full."""
        if self._is_closed:
            raise Unavailable(_SHUTTING_DOWN)
        if len(self._queue) >= self._max_waiting:
            raise Busy(f"{len(self._queue)} requests are already waiting; try again in a minute.")
        ticket = Ticket(asker, priority)
        self._queue.put(ticket)
        self._admit()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """End a request, whether it had its turn or not."""
        if self._queue.remove(ticket):
            ticket.turn.cancel()
        elif ticket.has_turn:
            self.num_running -= 1
            self._running_of[ticket.asker.person] -= 1
            if self._running_of[ticket.asker.person] <= 0:
                del self._running_of[ticket.asker.person]
        self._admit()

    @asynccontextmanager
    async def turn(self, asker: Asker, priority: Priority, *, timeout_s: float) -> AsyncIterator[None]:
        """Wait for a turn and hold it. Raises Unavailable if the queue is full or the wait too long."""
        ticket = self.join(asker, priority)
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.shield(ticket.turn)
            except TimeoutError as e:
                raise waited_too_long(timeout_s) from e
            yield
        finally:
            self.leave(ticket)

    def close(self) -> None:
        """Refuse those who wait, and everybody from now on."""
        self._is_closed = True
        for ticket in self._queue.clear():
            ticket.turn.set_exception(Unavailable(_SHUTTING_DOWN))

    def _may_start(self, asker: Asker) -> bool:
        return asker.person is None or self._running_of[asker.person] < self._max_running_per_person

    def _admit(self) -> None:
        for priority in PRIORITIES:
            while self.num_running < self._max_running:
                ticket = self._queue.pop(priority, self._may_start)
                if ticket is None:
                    break
                self.num_running += 1
                self._running_of[ticket.asker.person] += 1
                ticket.turn.set_result(None)
