"""Files: the three steps of an upload, and downloads with the bot's token."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.servers.slack.errors import ApiError
from tests.servers.slack.methods_chat import check_pings, checked_blocks, pace, thread
from tests.servers.slack.objects import File
from tests.servers.slack.payloads import Json, file_payload
from tests.servers.slack.webapi import Call, Method, invalid, with_faults

if TYPE_CHECKING:
    from tests.servers.slack.server import Slack

MOST_BYTES = 1024 * 1024 * 1024


def _get_url(call: Call) -> Json:
    length = call.number("length", 0)
    if not 0 < length <= MOST_BYTES:
        raise invalid(["length must be a positive number"])
    alt_text = call.text("alt_txt")
    if alt_text is not None and len(alt_text) > 1000:
        call.broke("alt_txt must be less than 1001 characters")
        raise invalid(["alt_txt must be less than 1001 characters"])
    file = call.slack.world.expect_file(call.bot, call.need("filename"), length, alt_text=alt_text)
    return {"upload_url": f"{call.slack.world.base_url}/upload/v1/{file.id}", "file_id": file.id}


def _complete(call: Call) -> Json:
    world = call.slack.world
    listed = call.arguments.get("files")
    if not isinstance(listed, list) or not listed:
        raise invalid(["missing required field: files"])
    files = []
    for one in listed:
        file = world.files.get(one.get("id", ""))
        if file is None or file.user is not call.bot:
            raise ApiError("file_not_found")
        if not file.is_uploaded:
            call.broke("an upload was completed before its bytes came")
            raise ApiError("file_not_found")
        file.title = one.get("title") or file.name
        files.append(file)
    channel_id = call.text("channel_id") or call.text("channels")
    if channel_id:
        # Sharing is a message like any other.
        channel = Call(call.slack, call.method, {"channel": channel_id}, call.app, call.installation).joined_channel()
        thread_ts = thread(call, channel)
        blocks = checked_blocks(call)
        check_pings(call)
        pace(call, channel)
        message = world.share(files, channel, call.bot, call.text("initial_comment") or "", thread_ts)
        message.blocks = blocks
    for file in files:
        file.is_complete = True
    return {"files": [file_payload(file) for file in files]}


def _stored(call: Call) -> File:
    file = call.slack.world.files.get(call.need("file"))
    if file is None or not file.is_complete or file.is_deleted:
        raise ApiError("file_not_found")
    team = call.installation.team
    if file.team is not team and not any(one in team.channels for one in file.channel_ids):
        raise ApiError("file_not_found")
    return file


def _info(call: Call) -> Json:
    return {"file": file_payload(_stored(call)), "comments": []}


def _delete(call: Call) -> Json:
    file = _stored(call)
    if file.user is not call.bot:
        raise ApiError("cant_delete_file")
    del call.slack.world.files[file.id]
    return {}


def upload_handler(slack: "Slack") -> Callable[[web.Request], Any]:
    """Return what takes the bytes of a file."""

    async def handle(request: web.Request) -> web.StreamResponse:
        content = await _content(request)

        def answer() -> web.Response:
            file = slack.world.files.get(request.match_info["file_id"])
            if file is None:
                return web.Response(status=404, text="not found")
            if len(content) != file.length:
                slack.broken.append(f"upload: {len(content)} bytes where {file.length} were announced")
                return web.Response(status=400, text="length mismatch")
            file.content, file.is_uploaded = content, True
            return web.Response(text=f"OK - {len(content)}")

        return await with_faults(slack, request, "upload", {"bytes": len(content)}, answer)

    return handle


async def _content(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        return await request.read()
    fields = await request.post()
    for value in fields.values():
        if isinstance(value, web.FileField):
            return value.file.read()
    return b""


def download_handler(slack: "Slack") -> Callable[[web.Request], Any]:
    """Return what serves url_private: without a good token Slack answers 200 with its page for signing in."""

    async def handle(request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")

        def answer() -> web.Response:
            file = slack.world.files.get(request.match_info["file"].partition("-")[2])
            if file is None or not file.is_complete:
                return web.Response(status=404)
            installation = slack.world.installations.get(token)
            is_allowed = (
                installation is not None
                and installation.state == "active"
                and "files:read" in installation.scopes
                and (
                    installation.team is file.team or any(one in installation.team.channels for one in file.channel_ids)
                )
            )
            if not is_allowed:
                return web.Response(text="<!DOCTYPE html><title>Sign in | Slack</title>", content_type="text/html")
            return web.Response(body=file.content, content_type=file.mimetype)

        return await with_faults(slack, request, "download", {"path": request.path}, answer)

    return handle


METHODS = {
    "files.info": Method(_info, ("files:read",)),
    "files.delete": Method(_delete, ("files:write",)),
    "files.getUploadURLExternal": Method(_get_url, ("files:write",)),
    "files.completeUploadExternal": Method(_complete, ("files:write",)),
}
