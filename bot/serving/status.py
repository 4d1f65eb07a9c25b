"""GET /health for load balancers, and GET /metrics for Prometheus."""

import asyncio
from typing import Final

from aiohttp import web

from bot.core.engine import Engine
from bot.core.prompt_parts import Prompt
from bot.errors import Unavailable
from bot.serving.context import serving_of
from bot.serving.metrics import CONTENT_TYPE

ROUTES: Final = web.RouteTableDef()
HEALTH_S: Final = 5.0  # a model that answers nothing for so long is not well


@ROUTES.get("/health")
async def health(request: web.Request) -> web.Response:
    """Say whether the model answers: 200, or 503 with the reason."""
    problem = await find_problem(serving_of(request).engine, HEALTH_S)
    if problem:
        return web.json_response({"status": "unavailable", "reason": problem}, status=503)
    return web.json_response({"status": "ok"})


@ROUTES.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Return the figures for Prometheus."""
    return web.Response(body=serving_of(request).metrics.render(), headers={"Content-Type": CONTENT_TYPE})


async def find_problem(engine: Engine, timeout_s: float) -> str:
    """Return why the model doesn't answer within `timeout_s`, or "": its own thread is asked."""
    try:
        async with asyncio.timeout(timeout_s):
            await engine.count_tokens([Prompt.plain("a")])
    except Unavailable as e:
        return str(e)
    except TimeoutError:
        return f"The model has not answered for {timeout_s:g} s: it is being restarted, or it hangs."
    return ""
