"""GET /v1/models: the one model that this server has."""

from typing import Any, Final

from aiohttp import web

from bot.serving.context import Serving, serving_of
from bot.serving.errors import ApiError

ROUTES: Final = web.RouteTableDef()


@ROUTES.get("/v1/models")
async def list_models(request: web.Request) -> web.Response:
    """List the model."""
    return web.json_response({"object": "list", "data": [_describe(serving_of(request))]})


@ROUTES.get("/v1/models/{id:.+}")
async def show_model(request: web.Request) -> web.Response:
    """Describe the model."""
    serving = serving_of(request)
    check_model(serving, request.match_info["id"])
    return web.json_response(_describe(serving))


def check_model(serving: Serving, name: str) -> None:
    """Raise ApiError (404) for another model than the one that this server has."""
    if name != serving.engine.info.name:
        message = f"This server has the model {serving.engine.info.name}, not {name[:100]}."
        raise ApiError(404, message, "model", "model_not_found")


def _describe(serving: Serving) -> dict[str, Any]:
    info = serving.engine.info
    return {
        "id": info.name,
        "object": "model",
        "created": serving.started_at,
        "owned_by": "fewshot",
        "max_model_len": info.context_length,
    }
