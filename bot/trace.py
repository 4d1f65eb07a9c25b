"""The steps of a request with their times, for `--trace`: only ids and numbers, never words or names."""

import logging
from typing import Final, Literal

__all__ = ["Step", "TraceFormatter", "logger", "note_step"]

# At level DEBUG it shows the steps; no LOG_LEVEL sets that level.
logger: Final = logging.getLogger(__name__)
_MAX_REQUESTS: Final = 1024

Step = Literal[
    "received",
    "accepted",
    "prompt built",
    "queued",
    "first token",
    "last token",
    "scored",
    "rendered",
    "sent",
    "finished",
]


def note_step(request_id: str, step: Step, **figures: float) -> None:
    """Log that a request has reached `step`; a request without an id, which nobody asked for, is not logged."""
    if request_id and logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s %s", request_id, step, extra={"request": request_id, "step": step, "figures": figures})


class TraceFormatter(logging.Formatter):
    """Formats a step as one line: request, milliseconds since its first and its previous step, step, figures."""

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[str, tuple[float, float]] = {}  # request -> times of its first and latest step, in ms

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record that `note_step` made."""
        request, step, figures = (getattr(record, name) for name in ("request", "step", "figures"))
        now = record.relativeCreated
        first, latest = self._times.pop(request, (now, now))
        if step != "finished":
            self._times[request] = (first, now)
        if len(self._times) > _MAX_REQUESTS:
            del self._times[next(iter(self._times))]
        counts = "".join(f"  {name}={round(value, 1)}" for name, value in figures.items())
        return f"trace {request} {now - first:8.1f} ms {now - latest:+8.1f} ms  {step}{counts}"
