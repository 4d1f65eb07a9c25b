"""Who may open the page: the browsers of this machine that have its token, and no other site through them."""

import hashlib
import hmac
import secrets
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.services.ledger import Delivery

_NOTE: Final = "web_token"
_LONGEST_S: Final = 365 * 24 * 3600
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def recall_token(delivery: Delivery) -> str:
    """Return the token of the page: the same after each start, so that open windows stay logged in."""
    token = await delivery.recall(_NOTE)
    if token is None:
        token = secrets.token_urlsafe(24)
        await delivery.remember(_NOTE, token)
    return token


class Guard:
    """Checks host, origin and login of every request to the page on `port`."""

    def __init__(self, token: str, port: int) -> None:
        self._token = token
        self._cookie = hmac.new(token.encode(), b"cookie", hashlib.sha256).hexdigest()
        # Cookies are the same for all ports of a host.
        self._cookie_name = f"fewshot-{port}"
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))

    @property
    def query(self) -> str:
        """Return what the address needs to log a browser in."""
        return f"token={self._token}"

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request that does not come from this page, and add the headers that keep it alone."""
        # A name that another site made point here (DNS rebinding) is not one of these.
        if request.host not in self._hosts:
            raise web.HTTPForbidden(
                text="This page is only for this machine. Open the address that the program printed."
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") != request.host:
            raise web.HTTPForbidden(text="Another site may not use this page.")
        try:
            response = await handler(request)
        except web.HTTPException as e:
            self._seal(e, request)
            raise
        if not response.prepared:
            self._seal(response, request)
        return response

    def is_logged_in(self, request: web.Request) -> bool:
        """Say whether the browser has the cookie."""
        return hmac.compare_digest(request.cookies.get(self._cookie_name, "").encode(), self._cookie.encode())

    def may_connect(self, request: web.Request) -> bool:
        """Say whether a socket may be opened: only scripts of this page, which send their origin."""
        return request.headers.get("Origin") == f"http://{request.host}" and self.is_logged_in(request)

    def log_in(self, request: web.Request) -> web.Response | None:
        """Return a redirect with the cookie for an address with the token; None without one.

        Raises HTTPForbidden for a wrong token.
        """
        given = request.query.get("token")
        if given is None:
            return None
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise web.HTTPForbidden(text="That address is not the one that the program printed last. Open that one.")
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._cookie_name, self._cookie, max_age=_LONGEST_S, httponly=True, samesite="Strict", path="/"
        )
        return response

    def _seal(self, response: web.StreamResponse, request: web.Request) -> None:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = (
            f"default-src 'self'; connect-src 'self' ws://{request.host}; img-src 'self' blob: data:;"
            " object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
