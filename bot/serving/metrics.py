"""What is counted for Prometheus: requests, tokens, times and the engine's state; never a text or a key."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bot.core.results import EngineStats

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """The figures of one server, in a registry of its own. `stats` gives those of the engine when they are read."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_EngineFigures(stats))
        self._requests = Counter(
            "fewshot_requests", "Requests by route and outcome.", ("route", "outcome"), registry=self._registry
        )
        self._open = Gauge("fewshot_open_requests", "Requests that are being answered.", registry=self._registry)
        self._durations = Histogram(
            "fewshot_request_seconds",
            "Time from a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_tokens = Histogram(
            "fewshot_first_token_seconds",
            "Time from a request to the first token of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens_in = Counter("fewshot_prompt_tokens", "Tokens of prompts that were read.", registry=self._registry)
        self._tokens_out = Counter("fewshot_completion_tokens", "Tokens that were written.", registry=self._registry)

    def begin(self) -> None:
        """Count a request that has come."""
        self._open.inc()

    def end(self, route: str, outcome: str, duration_s: float) -> None:
        """Count the end of a request."""
        self._open.dec()
        self._requests.labels(route, outcome).inc()
        self._durations.labels(route).observe(duration_s)

    def count_first_token(self, route: str, waited_s: float) -> None:
        """Count the time that a request waited for its first token."""
        self._first_tokens.labels(route).observe(waited_s)

    def count_tokens(self, *, num_in: int, num_out: int) -> None:
        """Count the tokens that an answer read and wrote."""
        self._tokens_in.inc(num_in)
        self._tokens_out.inc(num_out)

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineFigures(Collector):
    """The engine's own figures at the moment when they are read."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._stats = stats

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: the engine is asked only when figures are read."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the engine's figures."""
        stats = self._stats()
        yield GaugeMetricFamily("fewshot_engine_waiting", "Requests in the engine's queue.", stats.num_waiting)
        yield GaugeMetricFamily("fewshot_engine_running", "Requests that the engine runs.", stats.num_running)
        yield CounterMetricFamily(
            "fewshot_engine_restarts", "How often the model was started again.", stats.num_restarts
        )
        yield GaugeMetricFamily(
            "fewshot_engine_tokens_per_second", "Speed of writing in the latest answers.", stats.tokens_per_s or 0.0
        )
