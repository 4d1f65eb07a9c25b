"""The steps of every Web API call: arguments, planned faults, token, scopes, limits, the answer, the record."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.servers.slack.errors import ApiError
from tests.servers.slack.faults import Fault
from tests.servers.slack.objects import App, Channel, Installation, User

if TYPE_CHECKING:
    from tests.servers.slack.server import Slack

PREFIX = "/api/"
JSON_ARGUMENTS = ("attachments", "blocks", "chunks", "files", "loading_messages", "metadata", "prompts", "view")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a method gets it. An app-level token has no `installation`."""

    slack: "Slack"
    method: str
    arguments: Json
    app: App
    installation_or_none: Installation | None

    @property
    def installation(self) -> Installation:
        if self.installation_or_none is None:
            raise ApiError("not_allowed_token_type")
        return self.installation_or_none

    @property
    def bot(self) -> User:
        return self.installation.bot

    def text(self, name: str) -> str | None:
        """Return an argument as text, or None."""
        value = self.arguments.get(name)
        return None if value is None or value == "" else str(value)

    def need(self, name: str) -> str:
        """Return an argument as text. Raises ApiError if it is missing."""
        value = self.text(name)
        if value is None:
            raise invalid([f"missing required field: {name}"])
        return value

    def flag(self, name: str) -> bool:
        return self.arguments.get(name) in (True, 1, "1", "true", "True")

    def number(self, name: str, usual: int) -> int:
        value = self.text(name)
        if value is None:
            return usual
        if not value.isdigit():
            raise invalid([f"{name} must be a number"])
        return int(value)

    def broke(self, rule: str) -> None:
        """Record a broken rule."""
        self.slack.broken.append(f"{self.method}: {rule}")

    def need_scope(self, *scopes: str) -> None:
        """Raise ApiError unless the token has one of these scopes."""
        provided = self.installation_or_none.scopes if self.installation_or_none else self.app.app_token_scopes
        if scopes and not provided & set(scopes):
            raise ApiError("missing_scope", needed=scopes[0], provided=",".join(sorted(provided)))

    def channel(self, name: str = "channel") -> Channel:
        """Return the conversation named by an argument, as far as the bot may see it. Raises ApiError."""
        channel = self.slack.world.channels.get(self.need(name))
        team = self.installation.team
        if channel is None or team not in channel.teams:
            raise ApiError("channel_not_found")
        if channel.kind != "public" and self.bot.id not in channel.member_ids:
            raise ApiError("channel_not_found")
        return channel

    def joined_channel(self, name: str = "channel") -> Channel:
        """Return a conversation that the bot is in. Raises ApiError."""
        channel = self.channel(name)
        if self.bot.id not in channel.member_ids:
            raise ApiError("not_in_channel")
        if channel.is_archived:
            raise ApiError("is_archived")
        return channel

    def user(self, name: str = "user") -> User:
        """Return a user whom the workspace can see. Raises ApiError."""
        user = self.slack.world.users.get(self.need(name))
        team = self.installation.team
        if user is None or (user.team is not team and not self._is_met(user)):
            raise ApiError("user_not_found")
        return user

    def _is_met(self, user: User) -> bool:
        channels = self.installation.team.channels.values()
        return any(channel.is_shared and user.id in channel.member_ids for channel in channels)


@dataclass(frozen=True, slots=True)
class Request:
    """A call that came in; `status` is 0 where the connection was cut, `error` what the answer said."""

    method: str
    arguments: Json
    status: int
    at: float
    error: str | None = None
    fault: str | None = None
    team_id: str | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what answers it, its scopes (any of them), and whether it takes an app-level token."""

    run: Callable[[Call], Json]
    scopes: tuple[str, ...] = ()
    takes_app_token: bool = False
    is_read_by_get: bool = field(default=True)


def invalid(messages: Iterable[str], error: str = "invalid_arguments") -> ApiError:
    """Return the error of arguments that don't fit, with Slack's messages."""
    listed = list(messages)
    return ApiError(error, errors=listed, response_metadata={"messages": [f"[ERROR] {one}" for one in listed]})


def page(call: Call, items: list[Any], usual: int, most: int) -> tuple[list[Any], Json]:
    """Return the part of `items` that `cursor` and `limit` ask for, and the field with the next cursor."""
    limit = min(call.number("limit", usual) or usual, most)
    cursor = call.text("cursor")
    if cursor is not None and not cursor.startswith("from:"):
        raise ApiError("invalid_cursor")
    start = int(cursor.removeprefix("from:")) if cursor else 0
    following = f"from:{start + limit}" if start + limit < len(items) else ""
    return items[start : start + limit], {"response_metadata": {"next_cursor": following}}


def handler(slack: "Slack", methods: dict[str, Method]) -> Callable[[web.Request], Any]:
    """Return what serves /api/METHOD."""

    async def handle(request: web.Request) -> web.StreamResponse:
        name = request.match_info["method"]
        arguments = await read_arguments(request)
        token = _token(request)

        def answer() -> web.Response:
            return _accept(slack, name, methods.get(name), arguments, token, request.method)

        return await with_faults(slack, request, name, arguments, answer, _team_id(slack, token))

    return handle


async def with_faults(
    slack: "Slack",
    request: web.Request,
    place: str,
    arguments: Json,
    answer: Callable[[], web.Response],
    team_id: str | None = None,
) -> web.StreamResponse:
    """Answer a request with its planned fault, and record it."""
    fault = slack.faults.fault_of(place)
    response = await _before(fault)
    if response is None:
        response = answer()
    final = _after(fault, response)
    status = final.status if final is not None else 0
    error = _error_of(final) if final is not None else None
    kind = fault.kind if fault else None
    slack.recorded(Request(place, arguments, status, time.monotonic(), error, kind, team_id))
    if final is not None:
        return final
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def read_arguments(request: web.Request) -> Json:
    """Return the arguments of query and body; those that are JSON in a form are parsed."""
    arguments: Json = dict(request.query)
    if request.content_type == "application/json":
        arguments |= _json_body(await request.read())
    elif request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        arguments |= dict(await request.post())
    for name in JSON_ARGUMENTS:
        if isinstance(arguments.get(name), str):
            try:
                arguments[name] = json.loads(arguments[name])
            except json.JSONDecodeError:
                # The check of the argument says what is wrong with it.
                continue
    return arguments


def _json_body(body: bytes) -> Json:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        raise web.HTTPOk(text='{"ok": false, "error": "invalid_json"}', content_type="application/json") from None
    return parsed if isinstance(parsed, dict) else {}


def _token(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme == "Bearer" and token else None


def _team_id(slack: "Slack", token: str | None) -> str | None:
    installation = slack.world.installations.get(token or "")
    return installation.team.id if installation else None


def _accept(
    slack: "Slack", name: str, method: Method | None, arguments: Json, token: str | None, verb: str
) -> web.Response:
    """Answer a call without a fault."""
    try:
        call = _authorised(slack, name, method, arguments, token or arguments.get("token"), is_header=token is not None)
        if method is None:
            slack.broken.append(f"{name}: the stand-in has no such method")
            raise ApiError("unknown_method", req_method=name)
        call.need_scope(*method.scopes)
        if call.installation_or_none is not None:
            wait_s = slack.pacing.call_wait_s(name, call.installation.team.id)
            if wait_s:
                call.broke("called more often than its tier allows")
                return rate_limited(wait_s)
        if verb == "GET" and name == "apps.connections.open":
            raise ApiError("insecure_request")
        answer = answer_json({"ok": True} | method.run(call))
        installation = call.installation_or_none
        answer.headers["X-OAuth-Scopes"] = ",".join(
            sorted(installation.scopes if installation else call.app.app_token_scopes)
        )
        return answer
    except TooFast as error:
        return rate_limited(error.wait_s)
    except ApiError as error:
        return answer_json({"ok": False, "error": error.error} | error.more)
    except Exception as error:
        # A client only sees a server error, so this must be visible among the broken rules.
        slack.broken.append(f"{name}: the stand-in failed with {error!r}")
        raise


def _authorised(
    slack: "Slack", name: str, method: Method | None, arguments: Json, token: str | None, *, is_header: bool
) -> Call:
    if not token:
        raise ApiError("not_authed")
    wants_app_token = method is not None and method.takes_app_token
    app = next((one for one in slack.world.apps.values() if one.app_token == token), None)
    if app is not None:
        if not wants_app_token:
            raise ApiError("not_allowed_token_type")
        if not is_header:
            raise ApiError("invalid_auth")
        return Call(slack, name, arguments, app, None)
    installation = slack.world.installations.get(token)
    if installation is None:
        raise ApiError("invalid_auth")
    if installation.state != "active":
        raise ApiError("token_revoked" if installation.state == "revoked" else "account_inactive")
    if wants_app_token:
        raise ApiError("not_allowed_token_type")
    return Call(slack, name, arguments, installation.app, installation)


class TooFast(Exception):
    """A method was called too often: it is answered by 429."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


def answer_json(payload: Json) -> web.Response:
    return web.json_response(payload, headers={"X-Slack-Req-Id": "stand-in"})


def rate_limited(wait_s: float) -> web.Response:
    headers = {"Retry-After": str(max(1, -(-int(wait_s * 1000) // 1000)))}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)


async def _before(fault: Fault | None) -> web.Response | None:
    if fault is None:
        return None
    if fault.kind == "slow":
        await asyncio.sleep(fault.delay_s)
    elif fault.kind == "rate_limited":
        headers = {"Retry-After": str(fault.retry_after_s)}
        return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
    elif fault.kind == "refused":
        return answer_json({"ok": False, "error": fault.reason})
    elif fault.kind in ("error", "reset"):
        return _failed(fault)
    return None


def _after(fault: Fault | None, response: web.Response) -> web.Response | None:
    if fault is None:
        return response
    if fault.kind in ("reset", "accepted_then_reset"):
        return None
    return _failed(fault) if fault.kind == "accepted_then_error" else response


def _failed(fault: Fault) -> web.Response:
    return web.Response(status=fault.status, text="upstream connect error", content_type=fault.content_type)


def _error_of(response: web.Response) -> str | None:
    if response.content_type != "application/json" or not isinstance(response.body, bytes):
        return None
    try:
        error = json.loads(response.body).get("error")
    except (ValueError, AttributeError):
        return None  # somebody's file
    return str(error) if error else None
