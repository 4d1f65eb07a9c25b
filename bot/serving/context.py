"""What every route of the server needs, and the key under which the application has it."""

import time
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from bot.core.engine import Engine
from bot.serving.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Serving:
    """The engine and what counts its use. A request waits in the queue and runs for `timeout_s` at most.

    `started_at` is the Unix time in seconds.
    """

    engine: Engine
    metrics: Metrics
    timeout_s: float
    started_at: int = field(default_factory=lambda: int(time.time()))


SERVING: Final = web.AppKey("serving", Serving)


def serving_of(request: web.Request) -> Serving:
    """Return what the route of `request` needs."""
    return request.app[SERVING]
