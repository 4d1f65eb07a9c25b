"""Reading the JSON object that a client sends."""

import asyncio
import json
from typing import Any, Final

from aiohttp import web

from bot.serving.errors import ApiError, refuse

_READ_S: Final = 30.0  # a client that sends more slowly is cut off
_MAX_VALUES: Final = 1_100_000  # the token ids of as many prompts as a request takes
_MAX_LISTS: Final = 100_000
_MAX_FIELDS: Final = 1000


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
    # The parser holds up everybody else, so what would take it long is refused first.
    if data.count(b",") > _MAX_VALUES or data.count(b"{") + data.count(b"[") > _MAX_LISTS:
        raise ApiError(413, "The request has too many values. Send fewer or shorter texts.")
    try:
        body = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as e:
        raise refuse("The body is not valid JSON.") from e
    if not isinstance(body, dict):
        raise refuse("The body must be a JSON object.")
    if len(body) > _MAX_FIELDS:
        raise refuse(f"The body has {len(body):,} fields, of which most are unknown.")
    return body


def _refuse_constant(name: str) -> float:
    """Refuse NaN and the infinities, which are no JSON."""
    raise ValueError(name)
