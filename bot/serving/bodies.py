"""Reading the JSON object that a client sends."""

import asyncio
import json
from typing import Any, Final

from aiohttp import web

from bot.serving.errors import ApiError, refuse

_READ_S: Final = 30.0  # a client that sends more slowly is cut off


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in the body. Raises ApiError, and aiohttp's error for a body that is too large."""
    # A page of another site can't send this type without asking first, and nothing here allows it to.
    if request.content_type != "application/json":
        raise ApiError(415, "Send the body as JSON, with the header Content-Type: application/json.")
    try:
        async with asyncio.timeout(_READ_S):
            data = await request.read()
    except TimeoutError as e:
        raise ApiError(408, f"The body has not arrived within {_READ_S:g} s.") from e
    except web.RequestPayloadError:  # its text is what was sent
        raise refuse("The body can't be read.") from None
    try:
        body = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as e:
        raise refuse("The body is not valid JSON.") from e
    if not isinstance(body, dict):
        raise refuse("The body must be a JSON object.")
    return body


def _refuse_constant(name: str) -> float:
    """Refuse NaN and the infinities, which are no JSON."""
    raise ValueError(name)
