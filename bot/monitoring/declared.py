"""All figures for Prometheus, each declared once: its name, its kind, its help and its labels."""

from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

# The bot with METRICS_PORT, or `python -m bot serve`.
Where = Literal["bot", "serve", "both"]

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True)
class Declared:
    """One figure; the values of its labels are few and chosen by this program."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    where: Where = "bot"
    labels: tuple[str, ...] = ()


_ALL: Final = (
    Declared(
        "fewshot_asked_total",
        "counter",
        "Requests of people by platform, command and outcome (answered, refused, unavailable, failed, cancelled).",
        labels=("platform", "command", "outcome"),
    ),
    Declared(
        "fewshot_asked_seconds",
        "histogram",
        "Time from a person's request to the end of its answer, by platform.",
        labels=("platform",),
    ),
    Declared("fewshot_answer_queue_seconds", "histogram", "Time that a generation waited for its turn."),
    Declared("fewshot_answer_first_token_seconds", "histogram", "Time from a generation's request to its first token."),
    Declared("fewshot_prompt_tokens_total", "counter", "Tokens of prompts that were read.", "both"),
    Declared("fewshot_completion_tokens_total", "counter", "Tokens that were written.", "both"),
    Declared("fewshot_engine_waiting", "gauge", "Requests in the engine's queue.", "both"),
    Declared("fewshot_engine_running", "gauge", "Requests that the engine runs.", "both"),
    Declared("fewshot_engine_restarts_total", "counter", "How often the model was started again.", "both"),
    Declared("fewshot_engine_tokens_per_second", "gauge", "Speed of writing in the latest answers.", "both"),
    Declared("fewshot_batch_rows", "gauge", "Sequences in the latest step of the models of this machine."),
    Declared("fewshot_cached_tokens_total", "counter", "Tokens of prompts that the KV cache had already."),
    Declared("fewshot_loop_lag_seconds", "gauge", "Longest time in the last minute that the event loop stood."),
    Declared(
        "fewshot_connections",
        "gauge",
        "Working connections by platform: shards on Discord, sockets on Slack.",
        labels=("platform",),
    ),
    Declared("fewshot_database_bytes", "gauge", "Size of the database file and its log, unless it is on a server."),
    Declared("fewshot_longest_write_seconds", "gauge", "Longest write to the database since the start."),
    Declared("fewshot_backup_age_seconds", "gauge", "Age of the newest backup; missing while there is none."),
    Declared("fewshot_backup_failing", "gauge", "1 while backups fail, else 0."),
    Declared(
        "fewshot_requests_total", "counter", "Requests by route and outcome.", "serve", labels=("route", "outcome")
    ),
    Declared("fewshot_open_requests", "gauge", "Requests that are being answered.", "serve"),
    Declared(
        "fewshot_request_seconds",
        "histogram",
        "Time from a request to the end of its answer.",
        "serve",
        labels=("route",),
    ),
    Declared(
        "fewshot_first_token_seconds",
        "histogram",
        "Time from a request to the first token of its answer.",
        "serve",
        labels=("route",),
    ),
)
METRICS: Final = {one.name: one for one in _ALL}


def counter(name: str, registry: CollectorRegistry) -> Counter:
    """Return a declared counter in `registry`."""
    one = METRICS[name]
    return Counter(one.name, one.help, one.labels, registry=registry)


def gauge(name: str, registry: CollectorRegistry) -> Gauge:
    """Return a declared gauge in `registry`."""
    one = METRICS[name]
    return Gauge(one.name, one.help, one.labels, registry=registry)


def histogram(name: str, registry: CollectorRegistry) -> Histogram:
    """Return a declared histogram of seconds in `registry`."""
    one = METRICS[name]
    return Histogram(one.name, one.help, one.labels, buckets=_SECONDS, registry=registry)


def read_now(name: str, value: float) -> GaugeMetricFamily | CounterMetricFamily:
    """Return a declared figure without labels, with its value at this moment."""
    one = METRICS[name]
    return (CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily)(one.name, one.help, value)


def read_each(name: str, values: dict[str, float]) -> GaugeMetricFamily:
    """Return a declared gauge with one label, with its values at this moment."""
    one = METRICS[name]
    family = GaugeMetricFamily(one.name, one.help, labels=one.labels)
    for label, value in values.items():
        family.add_metric([label], value)
    return family
