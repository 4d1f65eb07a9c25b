"""The figures of a running bot, in a registry of their own; never a text, a name or an id."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from bot.core.results import EngineStats, Timings
from bot.core.watch import EndedRequest, RequestOutcome, Watch
from bot.monitoring.declared import counter, histogram, read_each, read_now
from bot.services.backups import Backups
from bot.stalls import MINUTE_S, LoopStalls
from bot.store.store import Store

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Watched:
    """The parts of a running bot that are watched. `stats` gives those of its default model."""

    stats: Callable[[], EngineStats]
    store: Store
    stalls: LoopStalls
    backups: Backups
    watch: Watch


class BotFigures:
    """The figures of one bot. It counts what `watched` reports from now on."""

    def __init__(self, watched: Watched) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EngineFigures(watched.stats))
        self._registry.register(_Present(watched))
        self._asked = counter("fewshot_asked_total", self._registry)
        self._durations = histogram("fewshot_asked_seconds", self._registry)
        self._queue = histogram("fewshot_answer_queue_seconds", self._registry)
        self._first_tokens = histogram("fewshot_answer_first_token_seconds", self._registry)
        self._tokens_in = counter("fewshot_prompt_tokens_total", self._registry)
        self._tokens_out = counter("fewshot_completion_tokens_total", self._registry)
        watched.watch.on_request = self._count_request
        watched.watch.on_answer = self._count_answer

    def expect(self, platform: str, commands: Iterable[str]) -> None:
        """Begin the counts of requests at 0: Prometheus does not see the first of a count that begins at 1."""
        self._durations.labels(platform)
        for command in commands:
            for outcome in get_args(RequestOutcome):
                self._asked.labels(platform, command, outcome)

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def _count_request(self, ended: EndedRequest) -> None:
        self._asked.labels(ended.platform, ended.command, ended.outcome).inc()
        self._durations.labels(ended.platform).observe(ended.duration_s)

    def _count_answer(self, timings: Timings) -> None:
        self._queue.observe(timings.queue_ms / 1000)
        self._first_tokens.observe((timings.queue_ms + timings.prefill_ms) / 1000)
        self._tokens_in.inc(timings.num_prompt_tokens)
        self._tokens_out.inc(timings.num_new_tokens)


class _ReadLate(Collector):
    """Figures that are asked for only when they are read."""

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand."""
        return iter(())


class EngineFigures(_ReadLate):
    """The engine's own figures at the moment when they are read."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Yield the engine's figures."""
        stats = self._stats()
        yield read_now("fewshot_engine_waiting", stats.num_waiting)
        yield read_now("fewshot_engine_running", stats.num_running)
        yield read_now("fewshot_engine_restarts_total", stats.num_restarts)
        yield read_now("fewshot_engine_tokens_per_second", stats.tokens_per_s or 0.0)


class _Total:
    """The sum of counts that each begin at 0 again. It never falls, else Prometheus would count the rest twice."""

    def __init__(self) -> None:
        self._total = 0
        self._latest: dict[str, int] = {}

    def add(self, counts: dict[str, int]) -> int:
        """Add what the counts, by their names, have grown by since they were last read; return the total."""
        for name, count in counts.items():
            before = self._latest.get(name, 0)
            self._total += count - before if count >= before else count
        self._latest = counts
        return self._total


class _Present(_ReadLate):
    """The state of all other parts. Read it on the event loop."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._cached = _Total()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of this moment."""
        watched, watch = self._watched, self._watched.watch
        batches = {name: read() for name, read in watch.batches.items()}
        yield read_now("fewshot_batch_rows", sum(one.num_rows for one in batches.values()))
        num_cached = self._cached.add({name: one.num_cached_tokens for name, one in batches.items()})
        yield read_now("fewshot_cached_tokens_total", num_cached)
        now = asyncio.get_running_loop().time()
        yield read_now("fewshot_loop_lag_seconds", watched.stalls.longest_s(MINUTE_S, now))
        yield read_each("fewshot_connections", {name: one.count() for name, one in watch.connections.items()})
        if watched.store.path is not None:
            yield read_now("fewshot_database_bytes", _size_of(watched.store.path))
        yield read_now("fewshot_longest_write_seconds", watched.store.longest_turn_s)
        yield read_now("fewshot_backup_failing", float(bool(watched.backups.problem)))
        if (made_at := watched.backups.newest_at) is not None:
            yield read_now("fewshot_backup_age_seconds", max(0.0, (datetime.now(UTC) - made_at).total_seconds()))


def _size_of(path: Path) -> int:
    """Return the bytes of a database and its log."""
    num_bytes = 0
    for one in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            num_bytes += one.stat().st_size
    return num_bytes
