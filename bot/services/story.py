"""Who writes in which story: one after another in each conversation, and nobody for a text that has gone on."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final
from weakref import WeakValueDictionary

from bot.core.cards import Card
from bot.core.engine import Generation
from bot.core.messages import Scope
from bot.services.queueing import Line, waiting_card

# The id of a card that shows a story is this and the story's own id.
STORY_CARD: Final = "story-"


class StoryTurns:
    """The turns of all stories. What the model writes for a story that has gone on meanwhile is cancelled."""

    def __init__(self) -> None:
        self._lines: WeakValueDictionary[Scope, Line] = WeakValueDictionary()
        self._running: dict[Scope, Generation] = {}
        self._num_busy: dict[Scope, int] = {}

    def is_busy(self, scope: Scope) -> bool:
        """Say whether somebody's step of the story in `scope` is being carried out."""
        return scope in self._num_busy

    @contextmanager
    def busy(self, scope: Scope) -> Iterator[None]:
        """Say in `is_busy` that somebody's step is being carried out."""
        self._num_busy[scope] = self._num_busy.get(scope, 0) + 1
        try:
            yield
        finally:
            self._num_busy[scope] -= 1
            if not self._num_busy[scope]:
                del self._num_busy[scope]

    async def in_turn(self, scope: Scope, write: Callable[[], AsyncGenerator[Card]]) -> AsyncGenerator[Card]:
        """Write after everybody who came before; until then yield how many those are."""
        line = self._lines.setdefault(scope, Line())
        ticket = line.join()
        try:
            with self.busy(scope):
                async with aclosing(line.wait(ticket)) as waits:
                    async for num_ahead in waits:
                        yield waiting_card(num_ahead)
                async with aclosing(write()) as cards:
                    async for card in cards:
                        yield card
        finally:
            line.leave(ticket)

    def begin(self, scope: Scope, generation: Generation) -> None:
        """Note what the model writes now for the story in `scope`."""
        self._running[scope] = generation

    def end(self, scope: Scope, generation: Generation) -> None:
        """Note that the model has written it."""
        if self._running.get(scope) is generation:
            del self._running[scope]

    def gone_on(self, scope: Scope) -> None:
        """Cancel what the model writes for the story in `scope`: it would continue an older text."""
        if (generation := self._running.get(scope)) is not None:
            generation.cancel()
