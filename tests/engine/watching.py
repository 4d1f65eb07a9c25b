"""Networks around a real one that take note of what is asked of it, and ways to run requests that arrive by steps."""

from collections.abc import Callable, Generator, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from bot.core.engine import Priority
from bot.engine.loaded_model import Lane, LoadedModel
from bot.engine.networks.network import BLOCK_TOKENS, Network, Segment
from bot.engine.paged_cache import PagedCache
from bot.engine.requests.work import Job
from bot.engine.step_loop import StepLoop
from tests.engine.running import Ends, PlainWork


@dataclass(frozen=True)
class Pass:
    """What one forward pass read."""

    num_rows: int
    num_tokens: int
    num_logits: int


class WatchedNetwork:
    """A real network with, if wished, fewer blocks, that counts what it reads and checks what it is asked."""

    def __init__(self, network: Network, *, num_blocks: int | None = None) -> None:
        self.network = network
        self.precision = network.precision
        self.device = network.device
        self.vocab_size = network.vocab_size
        self.context_length = network.context_length
        self.num_blocks = min(num_blocks or network.num_blocks, network.num_blocks)
        self.passes: list[Pass] = []
        self.num_copies = 0
        self.num_guesses = 0
        self.num_right_guesses = 0
        self._guessing: dict[int, tuple[Sequence[int], int, int]] = {}  # a row's blocks, where it was, guesses

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Let the real network read the segments. Raises ValueError for what the protocol forbids."""
        self._note(segments)
        return self.network.forward(segments)

    def forward_by_layers(self, segments: Sequence[Segment]) -> Generator[None, None, torch.Tensor]:
        """Let the real network read the segments in parts."""
        self._note(segments)
        return (yield from self.network.forward_by_layers(segments))

    def make_twin(self) -> "WatchedNetwork":
        """Return the real network's twin, watched together with it."""
        twin = copy(self)
        twin.network = self.network.make_twin()
        return twin

    def _note(self, segments: Sequence[Segment]) -> None:
        self._check(segments)
        for segment in segments:
            self._count_guesses(segment)
        self.passes.append(
            Pass(len(segments), sum(s.num_tokens for s in segments), sum(s.num_logits for s in segments))
        )

    def copy_block(self, source: int, target: int) -> None:
        """Let the real network copy a block."""
        self.num_copies += 1
        self.network.copy_block(source, target)

    def close(self) -> None:
        """Close the real network."""
        self.network.close()

    def _check(self, segments: Sequence[Segment]) -> None:
        written: set[int] = set()
        read: set[int] = set()
        for segment in segments:
            ids = segment.ids[segment.start : segment.stop]
            if not 0 <= segment.start < segment.stop <= min(self.context_length, len(segment.ids)):
                raise ValueError(f"A segment reads from {segment.start} to {segment.stop}.")
            if min(ids) < 0 or max(ids) >= self.vocab_size:
                raise ValueError("A token is out of range.")
            if not 0 <= segment.num_logits <= segment.num_tokens:
                raise ValueError("Logits are wanted of tokens that are not read.")
            first = segment.start // BLOCK_TOKENS
            blocks = segment.blocks[: -(-segment.stop // BLOCK_TOKENS)]
            if len(blocks) * BLOCK_TOKENS < segment.stop or not all(0 <= block < self.num_blocks for block in blocks):
                raise ValueError("A segment has too few blocks, or a wrong one.")
            own = set(blocks[first:])
            if len(own) < len(blocks) - first or own & (written | read) or written & set(blocks):
                raise ValueError("A block is written by one row and used by another.")
            written |= own
            read |= set(blocks[:first])

    def _count_guesses(self, segment: Segment) -> None:
        known = self._guessing.pop(id(segment.blocks), None)
        if known is not None and known[0] is segment.blocks and segment.start > known[1]:
            self.num_guesses += known[2]
            self.num_right_guesses += segment.start - known[1] - 1
        if 1 < segment.num_logits == segment.num_tokens and segment.start > 0:
            self._guessing[id(segment.blocks)] = (segment.blocks, segment.start, segment.num_logits - 1)


def watch(model: LoadedModel, *, num_blocks: int | None = None) -> tuple[LoadedModel, WatchedNetwork]:
    """Return `model` with an empty cache of its own on a watched network; for writing and scoring (float32)."""
    network = WatchedNetwork(model.writing.network, num_blocks=num_blocks)
    return on_network(model, network), network


def on_network(model: LoadedModel, network: Network) -> LoadedModel:
    """Return `model` with `network`, and an empty cache, for writing and scoring."""
    cache = PagedCache(network)
    return replace(model, writing=Lane(network, cache), scoring=Lane(network.make_twin(), cache))


@dataclass
class Arrival:
    """A request that comes before step number `step`, and is cancelled before step number `cancelled_at`."""

    plan: Callable[[], Job[Any]]
    step: int = 0
    cancelled_at: int | None = None
    priority: Priority = "chat"
    work: PlainWork = field(init=False)

    def __post_init__(self) -> None:
        self.work = PlainWork(self.priority)


def drive(arrivals: Iterable[Arrival], *, max_rows: int = 16, max_steps: int = 20_000) -> Ends:
    """Run requests in one step loop, each from its step on; return how they ended. Raises TimeoutError."""
    ends = Ends()
    loop = StepLoop(ends, max_rows=max_rows)
    coming = sorted(arrivals, key=lambda arrival: arrival.step)
    waiting: dict[str, list[tuple[Arrival, Job[Any]]]] = {"chat": [], "scoring": []}
    present: list[Arrival] = []
    with torch.inference_mode():
        for step in range(max_steps):
            while coming and coming[0].step <= step:
                present.append(coming[0])
                waiting[coming[0].priority].append((coming[0], coming.pop(0).plan()))
            for queue in waiting.values():
                while queue and loop.start(queue[0][0].work, queue[0][1]):
                    queue.pop(0)
            for arrival in present:
                if arrival.cancelled_at is not None and arrival.cancelled_at <= step:
                    arrival.work.is_cancelled = True
            if not coming and not loop.num_running and not any(waiting.values()):
                return ends
            loop.step()
    raise TimeoutError(f"{loop.num_running} requests have not ended after {max_steps} steps.")


def check_nothing_is_left(cache: PagedCache) -> None:
    """Raise AssertionError where a row, a block or a promise was left behind."""
    assert cache.num_used_blocks == 0
    assert cache.num_reserved_blocks == 0
    assert cache.num_idle_blocks <= cache.num_blocks
    cache.forget()
    assert cache.num_idle_blocks == 0
    with cache.rows() as rows:  # every block can be had again
        row = rows.open([0] * (cache.num_blocks * BLOCK_TOKENS), is_remembered=False)
        cache.prepare(row, len(row.ids))
        assert sorted(row.blocks) == list(range(cache.num_blocks))
