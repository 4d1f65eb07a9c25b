"""What the answers of /v1/completions and /v1/chat/completions have in common."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from bot.core.engine import Asker
from bot.serving.context import serving_of
from bot.serving.errors import route_of
from bot.serving.generating import Answer, Answering
from bot.serving.models import check_model
from bot.serving.requests import Wanted


def start_answering(request: web.Request, wanted: Wanted, kind: str, *, with_end: bool) -> Answering:
    """Return the work on a request, with an id that starts with `kind`. Raises ApiError for another model."""
    serving = serving_of(request)
    check_model(serving, wanted.model)
    # Users take turns; where a client doesn't name them, clients do.
    asker = Asker(("user", wanted.user) if wanted.user else ("client", request.remote), None, new_id(kind))
    return Answering(serving, wanted, asker, route_of(request), time.perf_counter(), with_end)


def new_id(kind: str) -> str:
    """Return an id for an answer."""
    return f"{kind}-{secrets.token_hex(12)}"


def head_of(answering: Answering, object_name: str) -> dict[str, Any]:
    """Return the fields with which an answer, or each event of one, starts."""
    info = answering.serving.engine.info
    return {
        "id": answering.asker.request_id,
        "object": object_name,
        "created": int(time.time()),
        "model": info.name,
        # With the same one, the same seed gives the same answer.
        "system_fingerprint": f"{info.name}-{info.device}-{info.precision}",
    }


def usage_of(answers: Sequence[Answer]) -> dict[str, int]:
    """Return how many tokens were read and written."""
    num_in = sum(answer.num_prompt_tokens for answer in answers)
    num_out = sum(answer.num_new_tokens for answer in answers)
    return {"prompt_tokens": num_in, "completion_tokens": num_out, "total_tokens": num_in + num_out}
