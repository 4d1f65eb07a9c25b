"""Errors in OpenAI's form, and which status each of this program's own errors has."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.errors import Busy, FewshotError, GenerationError, ModelError, PromptTooLong, RequestError, Unavailable

logger = logging.getLogger(__name__)

BUSY_RETRY_S: Final = 2
_RESTART_RETRY_S: Final = 10
_SEE_LOG: Final = "The server could not answer this; its log says why."


class ApiError(Exception):
    """A request that is answered with `status` and one sentence; `param` names the field at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """Return the error in OpenAI's form."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> web.Response:
        """Return the whole answer."""
        return web.json_response(self.body, status=self.status, headers=self.headers)


def refuse(message: str, param: str | None = None, *, code: str | None = None) -> ApiError:
    """Return the error for a request that its sender has to change (400)."""
    return ApiError(400, message, param, code)


def explain(error: FewshotError) -> ApiError:
    """Return what a client is told of one of the program's own errors."""
    message = str(error)
    if isinstance(error, PromptTooLong):
        return ApiError(400, message, "prompt", "context_length_exceeded")
    if isinstance(error, RequestError | ModelError):
        return ApiError(400, message)
    if isinstance(error, Busy):
        return ApiError(429, message, None, "rate_limit_exceeded", {"Retry-After": str(BUSY_RETRY_S)})
    if isinstance(error, Unavailable):
        return ApiError(503, message, None, "unavailable", {"Retry-After": str(_RESTART_RETRY_S)})
    if isinstance(error, GenerationError):
        return ApiError(500, message)
    return ApiError(500, _SEE_LOG)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as JSON in OpenAI's form; what nobody expected is logged without the request."""
    try:
        return await handler(request)
    except ApiError as e:
        return e.response()
    except FewshotError as e:
        return explain(e).response()
    except web.HTTPException as e:
        return ApiError(e.status, sentence_of(e, request), headers=_kept(e)).response()
    except Exception as e:
        return unexpected(request, e).response()


def unexpected(request: web.Request | None, error: Exception) -> ApiError:
    """Return what a client is told of an error that nobody expected; the log has it, without the request's body."""
    logger.error("a request to %s failed", "the server" if request is None else route_of(request), exc_info=error)
    return ApiError(500, _SEE_LOG)


def sentence_of(error: web.HTTPException, request: web.BaseRequest) -> str:
    """Return what a client is told of an error of HTTP."""
    if isinstance(error, web.HTTPNotFound):
        return f"There is nothing at {request.path[:100]}; docs/serve.md lists the addresses."
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{request.path[:100]} takes {' or '.join(sorted(error.allowed_methods))}, not {error.method}."
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return "The request is too large. Send fewer or shorter texts."
    return f"The request was refused: {error.reason}."


def _kept(error: web.HTTPException) -> dict[str, str]:
    """Return the headers of an answer that belong to its status and not to its body."""
    return {name: value for name, value in error.headers.items() if name.lower() == "allow"}


def route_of(request: web.Request) -> str:
    """Return the path of the route that answers `request`, without what a client chose in it."""
    resource = request.match_info.route.resource
    return "other" if resource is None else resource.canonical
