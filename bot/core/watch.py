"""What the parts of a program report of their work to whoever watches it: requests, answers, connections."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from bot.core.results import Timings

RequestOutcome = Literal["answered", "refused", "unavailable", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request of a person that has ended: `command` is a declared name, never what was typed."""

    platform: str
    command: str
    outcome: RequestOutcome
    duration_s: float


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """What the steps of a model on this machine do: rows of the latest step, and tokens that the cache had already."""

    num_rows: int = 0
    num_cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """A platform's connection: how many sockets work, and why none does.

    `find_problem` asks the platform, for a few seconds at most, and returns one sentence, or "".
    """

    count: Callable[[], int]
    find_problem: Callable[[], Awaitable[str]]


def _ignore(_: object) -> None:
    """Do nothing: nobody watches."""


class Watch:
    """Where the parts report; whoever watches replaces `on_request` and `on_answer`, and reads the others.

    `batches` reads the figures of the open models of this machine, by their names; `connections` are those of the
    platforms, by their keys.
    """

    def __init__(self) -> None:
        self.on_request: Callable[[EndedRequest], None] = _ignore
        self.on_answer: Callable[[Timings], None] = _ignore
        self.batches: dict[str, Callable[[], BatchFigures]] = {}
        self.connections: dict[str, Connection] = {}

    def count_answer(self, timings: Timings) -> None:
        """Report a generation that has ended."""
        self.on_answer(timings)
