"""The application: all routes, behind the checks that each request passes."""

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.serving import chat_completions, completions, engine_calls, models, status
from bot.serving.access import Access
from bot.serving.context import SERVING, Serving, serving_of
from bot.serving.errors import answer_errors, route_of

MAX_BODY: Final = 4 * 1024 * 1024
ROUTE_TABLES: Final = (models.ROUTES, completions.ROUTES, chat_completions.ROUTES, engine_calls.ROUTES, status.ROUTES)


def make_app(serving: Serving, key: str, route_tables: Iterable[web.RouteTableDef] = ROUTE_TABLES) -> web.Application:
    """Return the application that serves the engine to those who have `key` ("": to this machine)."""
    app = web.Application(
        middlewares=[_count, answer_errors, Access(key).check],
        client_max_size=MAX_BODY,
    )
    app[SERVING] = serving
    app[engine_calls.OPEN_CALLS] = engine_calls.OpenCalls()
    for table in route_tables:
        app.add_routes(table)
    return app


@web.middleware
async def _count(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request with its outcome and duration."""
    metrics, started_at = serving_of(request).metrics, time.perf_counter()
    metrics.begin()
    outcome = "failed"
    try:
        response = await handler(request)
        outcome = _outcome_of(response.status)
        return response
    except (asyncio.CancelledError, ConnectionError):
        outcome = "gone"
        raise
    finally:
        metrics.end(route_of(request), outcome, time.perf_counter() - started_at)


def _outcome_of(status: int) -> str:
    if status < 400:
        return "ok"
    if status == 429:
        return "busy"
    return "refused" if status < 500 else "failed"
