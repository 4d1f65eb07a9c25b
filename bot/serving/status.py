"""GET /health for load balancers, and GET /metrics for Prometheus."""

from typing import Final

from aiohttp import web

from bot.monitoring.health import CHECK_S, find_model_problem
from bot.serving.context import serving_of
from bot.serving.metrics import CONTENT_TYPE

ROUTES: Final = web.RouteTableDef()


@ROUTES.get("/health")
async def health(request: web.Request) -> web.Response:
    """Say whether the model answers: 200, or 503 with the reason."""
    problem = await find_model_problem(serving_of(request).engine, CHECK_S)
    if problem:
        return web.json_response({"status": "unavailable", "reason": problem}, status=503)
    return web.json_response({"status": "ok"})


@ROUTES.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Return the figures for Prometheus."""
    return web.Response(body=serving_of(request).metrics.render(), headers={"Content-Type": CONTENT_TYPE})
