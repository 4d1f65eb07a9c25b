"""The log on standard error: lines for people, or one JSON object a line for programs that collect logs."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from bot.platforms.shared.masking import hide_requests
from bot.telling import operator_logger
from bot.trace import TraceFormatter
from bot.trace import logger as trace_logger

_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# What a record may say of a request: ids, names of commands, and numbers.
_FIELDS: Final = ("platform", "command", "outcome", "duration_ms", "request", "step", "figures")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line with a JSON object: time (UTC), level, logger, message, and a request's figures."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _FIELDS:
            if name in record.__dict__:
                said[name] = record.__dict__[name]
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def set_up_logging(level: str, log_format: str) -> None:
    """Log on standard error from `level` on, in the format text or json; what the operator is told is logged as well.

    In text, what the operator is told are lines of their own.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_LINE))
    logging.basicConfig(level=level, handlers=[handler])
    hide_requests()
    if log_format == "json":
        operator_logger.addHandler(handler)
        operator_logger.setLevel(logging.INFO)
        operator_logger.propagate = False


def show_trace(log_format: str) -> None:
    """Print the steps of every request on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TraceFormatter())
    trace_logger.addHandler(handler)
    trace_logger.propagate = False
    trace_logger.setLevel(logging.DEBUG)
