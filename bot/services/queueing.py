"""Waiting that can be seen: how many requests come first, said while nothing has been written yet."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

from bot.core.cards import Card, Text
from bot.core.results import Delta
from bot.engine.stream import Generation

_NEWS_S: Final = 1.0


def waiting_card(num_ahead: int) -> Card:
    """Return the snapshot that says how many come first."""
    return Card(blocks=(Text(f"{num_ahead} ahead of you …", is_quiet=True),), is_final=False)


async def deltas_or_waiting(generation: Generation) -> AsyncGenerator[Delta | int]:
    """Yield what the entered `generation` writes; before its first delta, how many requests come before it.

    The number is told when it has waited for a second, and again when it has changed.
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
    """People in line, served one after the other."""

    def __init__(self) -> None:
        self._tickets: deque[asyncio.Event] = deque()

    def join(self) -> asyncio.Event:
        """Return a ticket at the end of the line; whoever has it leaves with it, served or not."""
        ticket = asyncio.Event()
        self._tickets.append(ticket)
        return ticket

    def leave(self, ticket: asyncio.Event) -> None:
        """Make room for the next one."""
        self._tickets.remove(ticket)
        if self._tickets:
            self._tickets[0].set()

    async def wait(self, ticket: asyncio.Event) -> AsyncGenerator[int]:
        """Wait until it is the turn of `ticket`; yield how many come first, after a second and when it has changed."""
        told = 0
        while (num_ahead := self._tickets.index(ticket)) > 0:
            try:
                await asyncio.wait_for(ticket.wait(), _NEWS_S)
            except TimeoutError:
                if told != (num_ahead := self._tickets.index(ticket)) and num_ahead:
                    told = num_ahead
                    yield num_ahead
