"""Methods that stream an answer: start, append, stop. A stream dies about five minutes after its start."""

from tests.servers.slack.checking import message_findings, metadata_error
from tests.servers.slack.checking_blocks import MOST_MARKDOWN
from tests.servers.slack.errors import ApiError
from tests.servers.slack.methods_chat import check_pings, checked_blocks, own_message, pace, thread, with_ids, write
from tests.servers.slack.objects import Message
from tests.servers.slack.payloads import Json, message_payload
from tests.servers.slack.webapi import Call, Method, invalid

STREAM_LIFE_S = 300.0
CHUNKS = ("markdown_text", "task_update", "plan_update", "blocks")


def _start(call: Call) -> Json:
    channel = call.joined_channel()
    if call.text("thread_ts") is None:
        call.broke("a stream must be a reply in a thread")
        raise ApiError("missing_thread_ts")
    if channel.kind != "im":
        for name in ("recipient_team_id", "recipient_user_id"):
            if call.text(name) is None:
                call.broke(f"a stream in a channel needs {name}")
                raise ApiError(f"missing_{name}")
        if call.user("recipient_user_id").team.id != call.text("recipient_team_id"):
            call.broke("recipient_team_id is not the workspace of the recipient")
            raise ApiError("user_not_found")
    markdown, blocks = _content(call)
    thread_ts = thread(call, channel)
    pace(call, channel)
    message = write(call, channel, blocks, thread_ts)
    message.text = message.markdown = markdown
    message.is_streaming, message.stream_started_at = True, call.slack.clock.now()
    call.slack.world.post(message)
    return {"channel": channel.id, "ts": message.ts}


def _append(call: Call) -> Json:
    message = _streaming(call)
    markdown, blocks = _content(call)
    if not markdown and not blocks and not call.arguments.get("chunks"):
        raise ApiError("no_text")
    _grow(call, message, markdown, blocks)
    return {"channel": message.channel.id, "ts": message.ts}


def _stop(call: Call) -> Json:
    message = _streaming(call)
    wrong = metadata_error(call.arguments.get("metadata"))
    if wrong:
        call.broke(wrong)
        raise ApiError(wrong)
    final = checked_blocks(call)
    markdown, blocks = _content(call)
    before = message_payload(message)
    message.text += markdown
    message.markdown += markdown
    message.blocks = [*message.blocks, *blocks, *final]
    if call.arguments.get("metadata") is not None:
        message.metadata = call.arguments["metadata"]
    message.is_streaming = False
    call.slack.world.changed(message, before, is_edit=False)
    return {"channel": message.channel.id, "ts": message.ts, "message": message_payload(message)}


def _streaming(call: Call) -> Message:
    message = own_message(call, "message_not_owned_by_app")
    call.slack.expire_stream(message)
    if not message.is_streaming:
        raise ApiError("message_not_in_streaming_state")
    return message


def _grow(call: Call, message: Message, markdown: str, blocks: list[Json]) -> None:
    before = message_payload(message)
    message.text += markdown
    message.markdown += markdown
    message.blocks = [*message.blocks, *blocks]
    call.slack.world.changed(message, before, is_edit=False)


def _content(call: Call) -> tuple[str, list[Json]]:
    """Return the Markdown and the blocks that a call adds. Raises ApiError."""
    check_pings(call)
    parts = [call.text("markdown_text") or ""]
    blocks: list[Json] = []
    chunks = call.arguments.get("chunks") or []
    if not isinstance(chunks, list) or any(
        not isinstance(one, dict) or one.get("type") not in CHUNKS for one in chunks
    ):
        call.broke("chunks have an unknown form")
        raise ApiError("invalid_chunks")
    for chunk in chunks:
        if chunk["type"] == "markdown_text":
            parts.append(str(chunk.get("text") or ""))
        elif chunk["type"] == "blocks":
            found = message_findings(chunk.get("blocks"), call.slack.has_image)
            for finding in found:
                call.broke(str(finding))
            if found:
                raise invalid((str(finding) for finding in found), "invalid_blocks")
            blocks += with_ids(call, chunk["blocks"])
    markdown = "".join(parts)
    if len(markdown) > MOST_MARKDOWN:
        call.broke(f"a call may add {MOST_MARKDOWN:,} characters of Markdown")
        raise ApiError("msg_too_long")
    return markdown, blocks


METHODS = {
    "chat.startStream": Method(_start, ("chat:write",)),
    "chat.appendStream": Method(_append, ("chat:write",)),
    "chat.stopStream": Method(_stop, ("chat:write",)),
}
