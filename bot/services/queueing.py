"""Visible waiting: how many requests are ahead, and people in line."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeVar

from bot.core.cards import Card, Text
from bot.core.engine import Generation
from bot.core.results import Delta
from bot.errors import ModelChanged, Unavailable

ResultT = TypeVar("ResultT")

# A full queue does not make a whole measurement fail.
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
_NEWS_S: Final = 1.0


def waiting_card(num_ahead: int) -> Card:
    """Return the snapshot that says how many requests are ahead."""
    return Card(blocks=(Text(f"{num_ahead} ahead of you …", is_quiet=True),), is_final=False)


async def deltas_or_waiting(generation: Generation) -> AsyncGenerator[Delta | int]:
    """Yield the deltas of the entered `generation`; before the first one, how many requests are ahead.

    The number comes after a second of waiting, and again when it changes.
    """

    async def take() -> Delta | None:
        return await anext(deltas, None)

    deltas = aiter(generation)
    first = asyncio.ensure_future(take())
    told = 0
    try:
        while not first.done():
            await asyncio.wait((first,), timeout=_NEWS_S)
            if not first.done() and (num_ahead := generation.num_ahead) not in (0, told):
                told = num_ahead
                yield num_ahead
        delta = first.result()
    finally:
        first.cancel()
    while delta is not None:
        yield delta
        delta = await anext(deltas, None)


class Line:
    """A line of people, served one at a time."""

    def __init__(self) -> None:
        self._tickets: deque[asyncio.Event] = deque()

    def join(self) -> asyncio.Event:
        """Return a ticket at the end of the line; its holder calls `leave` with it, served or not."""
        ticket = asyncio.Event()
        self._tickets.append(ticket)
        return ticket

    def leave(self, ticket: asyncio.Event) -> None:
        """Leave the line with `ticket`."""
        self._tickets.remove(ticket)
        if self._tickets:
            self._tickets[0].set()

    async def wait(self, ticket: asyncio.Event) -> AsyncGenerator[int]:
        """Wait for the turn of `ticket`; yield how many are ahead, after a second and when that changes."""
        told = 0
        while (num_ahead := self._tickets.index(ticket)) > 0:
            try:
                await asyncio.wait_for(ticket.wait(), _NEWS_S)
            except TimeoutError:
                if told != (num_ahead := self._tickets.index(ticket)) and num_ahead:
                    told = num_ahead
                    yield num_ahead


async def ask_patiently(ask: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Ask the model, with retries while the queue is full. Raises Unavailable after the last one."""
    for pause_s in _PAUSES_S:
        try:
            return await ask()
        except ModelChanged:
            raise  # the same would be refused again
        except Unavailable:
            await asyncio.sleep(pause_s)
    return await ask()
