"""The fair queue of waiting requests: chat before scoring, conversations take turns, a limit for each person."""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, Protocol, TypeVar, cast

from bot.core.engine import Asker, Priority

PRIORITIES: Final[tuple[Priority, ...]] = ("chat", "scoring")


class Waiting(Protocol):
    """A request that can wait in the queue; one that `is_alone` starts when nothing else runs."""

    priority: Priority
    asker: Asker
    is_alone: bool


WorkT = TypeVar("WorkT", bound=Waiting)


class FairQueue(Generic[WorkT]):
    """Waiting requests, first come, first served within a conversation; conversations take turns.

    A request without a conversation counts as a conversation of its own.
    """

    def __init__(self) -> None:
        # The order of the dict is the order of turns: a served conversation moves to the end.
        self._turns: dict[Priority, dict[Hashable, deque[WorkT]]] = {priority: {} for priority in PRIORITIES}

    def __len__(self) -> int:
        return sum(len(waiting) for turns in self._turns.values() for waiting in turns.values())

    def __iter__(self) -> Iterator[WorkT]:
        for turns in self._turns.values():
            for waiting in turns.values():
                yield from waiting

    def put(self, work: WorkT) -> None:
        """Add a request behind those of its conversation."""
        self._turns[work.priority].setdefault(_conversation_of(work), deque()).append(work)

    def put_back(self, work: WorkT) -> None:
        """Return a popped request that could not start to the front of the queue."""
        turns = self._turns[work.priority]
        key = _conversation_of(work)
        waiting = turns.pop(key, deque())
        waiting.appendleft(work)
        self._turns[work.priority] = {key: waiting, **turns}

    def remove(self, work: WorkT) -> bool:
        """Remove a request; return whether it was waiting."""
        turns = self._turns[work.priority]
        key = _conversation_of(work)
        waiting = turns.get(key, deque())
        if work not in waiting:
            return False
        waiting.remove(work)
        if not waiting:
            del turns[key]
        return True

    def pop(
        self, priority: Priority, may_start: Callable[[Asker], bool], *, is_anything_running: bool = False
    ) -> WorkT | None:
        """Remove and return the next request of `priority` whose asker may start one; None if there is none.

        While something is running, requests that run alone are passed over.
        """
        turns = self._turns[priority]
        for key, waiting in turns.items():
            for work in waiting:
                if may_start(work.asker) and not (work.is_alone and is_anything_running):
                    waiting.remove(work)
                    del turns[key]
                    if waiting:
                        turns[key] = waiting
                    return work
        return None

    def num_ahead(self, work: WorkT) -> int | None:
        """Return how many requests would start before `work`, one at a time; None if it is not waiting."""
        turns = self._turns[work.priority]
        key = _conversation_of(work)
        if work not in turns.get(key, ()):
            return None
        at = turns[key].index(work)
        num = at
        is_before = True
        for other, waiting in turns.items():
            if other == key:
                is_before = False
            else:
                num += min(len(waiting), at + is_before)
        if work.priority == "scoring":
            num += sum(len(waiting) for waiting in self._turns["chat"].values())
        return num

    def clear(self) -> list[WorkT]:
        """Remove and return all requests."""
        left = list(self)
        for turns in self._turns.values():
            turns.clear()
        return left


def _conversation_of(work: Waiting) -> Hashable:
    return cast(Hashable, work) if work.asker.conversation is None else work.asker.conversation
