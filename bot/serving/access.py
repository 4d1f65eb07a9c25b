"""Who may use the server: addresses and the API key; and how many requests may be open at once."""

import hmac
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.errors import SetupError
from bot.monitoring.hosts import is_loopback, name_of
from bot.serving.errors import BUSY_RETRY_S, ApiError

MAX_OPEN: Final = 1024  # requests that are being answered
_OPEN_TO_ALL: Final = frozenset({"/health"})  # a load balancer has no key, and it says nothing of anybody


def check_access(host: str, key: str) -> None:
    """Raise SetupError where other machines would reach the server without a key."""
    if not key and not is_loopback(host):
        raise SetupError(
            f"SERVE_HOST={host} lets other machines in, so the server needs a key: set API_KEY or API_KEY_FILE, or set"
            " SERVE_HOST to 127.0.0.1."
        )


class Access:
    """Lets requests in: those with the right key; without a key, those to a name of this machine."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._num_open = 0

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer `request` if it may be answered. Raises ApiError (401, 403, 429)."""
        if request.path not in _OPEN_TO_ALL:
            self._check_key(request)
        if self._num_open >= MAX_OPEN:
            message = f"{MAX_OPEN:,} requests are already open; try again in a moment."
            raise ApiError(429, message, None, "rate_limit_exceeded", {"Retry-After": str(BUSY_RETRY_S)})
        self._num_open += 1
        try:
            return await handler(request)
        finally:
            self._num_open -= 1

    def _check_key(self, request: web.Request) -> None:
        if not self._key:
            # A page of another site can make its own name lead to this machine; then it asks by that name.
            if not is_loopback(name_of(request.host)):
                raise ApiError(403, "Without an API_KEY the server answers only requests to 127.0.0.1 or localhost.")
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._key)
        if scheme.lower() != "bearer" or not is_right:
            message = "The API key is missing or wrong. Send it as the header Authorization: Bearer KEY."
            raise ApiError(401, message, None, "invalid_api_key", {"WWW-Authenticate": "Bearer"})
