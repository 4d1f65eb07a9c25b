"""What is counted for Prometheus: requests, tokens, times and the engine's state; never a text or a key."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest

from bot.core.results import EngineStats
from bot.monitoring.declared import counter, gauge, histogram
from bot.monitoring.figures import CONTENT_TYPE, EngineFigures

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """The figures of one server, in a registry of its own. `stats` gives those of the engine when they are read."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EngineFigures(stats))
        self._requests = counter("fewshot_requests_total", self._registry)
        self._open = gauge("fewshot_open_requests", self._registry)
        self._durations = histogram("fewshot_request_seconds", self._registry)
        self._first_tokens = histogram("fewshot_first_token_seconds", self._registry)
        self._tokens_in = counter("fewshot_prompt_tokens_total", self._registry)
        self._tokens_out = counter("fewshot_completion_tokens_total", self._registry)

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
