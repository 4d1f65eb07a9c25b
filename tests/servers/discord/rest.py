"""The steps of every REST request: its body, planned faults, authorisation, limits, the response, the record."""

import asyncio
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from tests.servers.discord import rest_applications, rest_channels, rest_interactions
from tests.servers.discord.checking import check_body
from tests.servers.discord.errors import ApiError
from tests.servers.discord.faults import Fault
from tests.servers.discord.rate_limits import Verdict

if TYPE_CHECKING:
    from tests.servers.discord.server import Discord

PREFIX = "/api/v10"
MOST_FILE_BYTES = 10 * 1024 * 1024
VIA = {"Via": "1.1 google"}
# These carry the interaction's token in their path instead of the bot's in a header.
TOKEN_IN_PATH = ("/webhooks/", "/interactions/")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a route gets it: path parameters, query, JSON body, files as (name, bytes) by their number."""

    discord: "Discord"
    method: str
    template: str
    params: dict[str, str]
    query: dict[str, str]
    body: Any
    files: dict[int, tuple[str, bytes]]
    is_answer_lost: bool = False
    verdict: Verdict | None = None

    def id(self, name: str) -> int:
        """Return a snowflake of the path. Raises ApiError if it is not one."""
        if not self.params[name].isdigit():
            raise ApiError(400, 50035, "Invalid Form Body")
        return int(self.params[name])


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in; `status` is 0 where the connection was cut instead of an answer."""

    method: str
    path: str
    template: str
    body: Any
    files: tuple[str, ...]
    status: int
    at: float
    fault: str | None = None


Route = Callable[[Call], Any]


def add_routes(app: web.Application, discord: "Discord") -> None:
    """Serve every route of the API, and the attachments."""
    for module in (rest_channels, rest_interactions, rest_applications):
        for (method, template), route in module.ROUTES.items():
            app.router.add_route(method, PREFIX + template, _handler(discord, template, route))
    app.router.add_get("/attachments/{channel_id}/{attachment_id}/{name}", _attachment(discord))
    app.router.add_route("*", "/{rest:.*}", _handler(discord, "", _unknown_route))


def _unknown_route(call: Call) -> None:
    call.discord.violations.append(f"{call.method} {call.params['rest']}: the stand-in has no such route")
    raise ApiError(404, 0, "404: Not Found")


def _handler(discord: "Discord", template: str, route: Route) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        at = time.monotonic()
        verdict = discord.limits.enter(request.method, template, request.match_info)
        body, files = await _read_body(request)
        fault = None if verdict.scope else discord.faults.fault_of(request.method, template)
        call = Call(
            discord,
            request.method,
            template,
            dict(request.match_info),
            dict(request.query),
            body,
            files,
            is_answer_lost=fault is not None and fault.kind.startswith("accepted_then"),
            verdict=verdict,
        )
        early = _refused(verdict) if verdict.scope else await _before(fault)
        if request.transport is None:
            # The client has given up meanwhile, so it will not know what became of the request.
            call = replace(call, is_answer_lost=True)
        accepted = _accept(call, request.headers.get("Authorization"), route) if early is None else early
        response = await _after(fault, accepted)
        names = tuple(name for name, _ in files.values())
        status = response.status if response is not None else 0
        record = Request(request.method, request.path, template, body, names, status, at, fault.kind if fault else None)
        discord.recorded(record)
        if response is None:
            return _cut(request)
        return response

    return handle


async def _read_body(request: web.Request) -> tuple[Any, dict[int, tuple[str, bytes]]]:
    if not request.content_type.startswith("multipart/"):
        data = await request.read()
        return (json.loads(data) if data and request.content_type == "application/json" else None), {}
    body: Any = None
    files: dict[int, tuple[str, bytes]] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise web.HTTPBadRequest
        content = bytes(await part.read())
        if part.name == "payload_json":
            body = json.loads(content)
        else:
            number = int((part.name or "").removeprefix("files[").removesuffix("]"))
            files[number] = (part.filename or "", content)
    return body, files


def _accept(call: Call, authorization: str | None, route: Route) -> web.Response:
    """Answer a request without a fault."""
    discord = call.discord
    try:
        if not call.template.startswith(TOKEN_IN_PATH) and authorization != f"Bot {discord.token}":
            raise ApiError(401, 0, "401: Unauthorized")
        _check(call)
        return _answer(call, 200, route(call))
    except ApiError as error:
        details = {"errors": {"_errors": [{"code": "INVALID", "message": error.details}]}} if error.details else {}
        return _answer(call, error.status, {"message": error.message, "code": error.code} | details | error.more)
    except Exception as error:
        # discord.py only retries, so the error must be visible among the violations.
        discord.violations.append(f"{call.method} {call.template}: the stand-in failed with {error!r}")
        raise


def _check(call: Call) -> None:
    """Check the body against Discord's limits and its OpenAPI document. Raises ApiError if a limit is broken."""
    where = f"{call.method} {call.template}"
    names = [name for _, (name, _) in sorted(call.files.items())]
    found = check_body(call.method, call.template, call.body, files=names) if call.template else []
    call.discord.violations += [f"{where}: {sentence}" for sentence in found]
    if call.discord.validate and call.template:
        call.discord.schema_errors += [
            f"{where}: {sentence}" for sentence in call.discord.validate(call.method, call.template, call.body)
        ]
    if any(len(content) > MOST_FILE_BYTES for _, content in call.files.values()):
        call.discord.violations.append(f"{where}: a file is larger than 10 MiB")
        raise ApiError(413, 40005, "Request entity too large")
    # The rule about pings is the project's: Discord accepts such a body.
    broken = [sentence for sentence in found if not sentence.startswith("allowed_mentions")]
    if broken:
        raise ApiError(400, 50035, "Invalid Form Body", " ".join(broken))


def _answer(call: Call, status: int, payload: Any) -> web.Response:
    headers = VIA | (call.verdict.headers if call.verdict else {})
    if payload is None:
        return web.Response(status=204, headers=headers)
    # discord.py wants the content type to be exactly this, without a charset.
    headers["Content-Type"] = "application/json"
    return web.Response(status=status, body=json.dumps(payload).encode(), headers=headers)


def _refused(verdict: Verdict) -> web.Response:
    """Answer a request that came too early with 429."""
    is_global = verdict.scope == "global"
    wait_s = round(verdict.reset_after_s + 0.01, 3)
    body = {"message": "You are being rate limited.", "retry_after": wait_s, "global": is_global}
    headers = VIA | ({"X-RateLimit-Global": "true"} if is_global else verdict.headers)
    headers |= {"Content-Type": "application/json", "Retry-After": str(math.ceil(wait_s))}
    return web.Response(
        status=429, body=json.dumps(body).encode(), headers=headers | {"X-RateLimit-Scope": verdict.scope}
    )


def _rate_limited(fault: Fault) -> web.Response:
    body = {"message": "You are being rate limited.", "retry_after": fault.retry_after_s, "global": False}
    headers = {"Content-Type": "application/json", "Retry-After": "1"} | VIA
    if fault.kind == "banned":
        del headers["Via"]
    return web.Response(status=429, body=json.dumps(body).encode(), headers=headers)


def _failed(fault: Fault) -> web.Response:
    return web.Response(status=fault.status, text="upstream connect error", headers=VIA)


async def _before(fault: Fault | None) -> web.Response | None:
    if fault is None:
        return None
    if fault.kind == "slow":
        await asyncio.sleep(fault.delay_s)
    if fault.kind in ("rate_limited", "banned"):
        return _rate_limited(fault)
    if fault.kind in ("error", "reset"):
        return _failed(fault)
    return None


async def _after(fault: Fault | None, response: web.Response) -> web.Response | None:
    if fault is None:
        return response
    if fault.kind in ("reset", "accepted_then_reset"):
        return None
    return _failed(fault) if fault.kind == "accepted_then_error" else response


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    # The client is gone.
    return web.Response(status=500)


def _attachment(discord: "Discord") -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        template = "/attachments/{channel_id}/{attachment_id}/{name}"
        fault = discord.faults.fault_of("GET", template)
        response = await _before(fault)
        content = discord.world.files.get(request.path)
        if response is None and content is None:
            response = web.Response(status=404)
        elif response is None:
            response = web.Response(body=content, content_type="application/octet-stream")
        final = await _after(fault, response)
        status = final.status if final is not None else 0
        kind = fault.kind if fault else None
        discord.recorded(Request("GET", request.path, template, None, (), status, time.monotonic(), kind))
        return _cut(request) if final is None else final

    return handle
