"""Methods that write: messages, changes, ephemeral ones, and answers by response_url."""

from tests.servers.slack import checking
from tests.servers.slack.errors import ApiError
from tests.servers.slack.objects import Channel, Message, User
from tests.servers.slack.payloads import Json, message_payload
from tests.servers.slack.webapi import Call, Method, TooFast, invalid

NO_PINGS = "may ping"


def checked_blocks(call: Call) -> list[Json]:
    """Return the blocks of a message with ids filled in. Raises ApiError if Slack would refuse them."""
    blocks = call.arguments.get("blocks")
    if blocks is None or blocks == "":
        return []
    if not isinstance(blocks, list):
        raise ApiError("invalid_blocks_format")
    found = checking.message_findings(blocks, call.slack.has_image)
    if found:
        for finding in found:
            call.broke(str(finding))
        raise invalid((str(finding) for finding in found), "invalid_blocks")
    return with_ids(call, blocks)


def with_ids(call: Call, blocks: list[Json]) -> list[Json]:
    """Return blocks with a block_id and action_ids everywhere, as Slack fills them in."""
    filled = []
    for block in blocks:
        one = dict(block)
        one.setdefault("block_id", call.slack.world.next_id("b"))
        for key in ("accessory", "element"):
            if isinstance(one.get(key), dict) and one[key].get("type") != "image":
                one[key] = {"action_id": call.slack.world.next_id("a")} | one[key]
        if one["type"] == "actions":
            one["elements"] = [{"action_id": call.slack.world.next_id("a")} | element for element in one["elements"]]
        filled.append(one)
    return filled


def check_message(call: Call, *, is_update: bool = False) -> None:
    """Record and refuse what Slack refuses in a message; record what the project forbids itself."""
    for name in call.arguments:
        if name not in checking.MESSAGE_FIELDS:
            call.broke(f"unknown argument {name}")
    error = checking.message_error(call.arguments, is_update=is_update)
    if error:
        call.broke(error)
        raise ApiError(error)
    wrong = checking.metadata_error(call.arguments.get("metadata"))
    if wrong:
        call.broke(wrong)
        raise ApiError(wrong)
    check_pings(call)


def check_pings(call: Call) -> None:
    for ping in checking.pings(call.arguments, call.bot.id):
        call.broke(f"{NO_PINGS}: {ping}")


def pace(call: Call, channel: Channel) -> None:
    """Count a message in a channel. Raises TooFast where it comes too early."""
    wait_s = call.slack.pacing.post_wait_s(channel.id)
    if wait_s:
        call.broke(f"more than about one message a second in {channel.name or channel.id}")
        raise TooFast(wait_s)


def target(call: Call) -> Channel:
    """Return the channel to write to; a user's id is their direct conversation with the bot."""
    name = call.need("channel")
    world = call.slack.world
    if name.startswith("U"):
        return world.direct_channel([call.bot, call.user("channel")])
    return call.joined_channel()


def thread(call: Call, channel: Channel) -> str | None:
    """Return the ts of the thread to write in. Raises ApiError if there is none."""
    ts = call.text("thread_ts")
    if ts is None:
        return None
    message = channel.message(ts)
    if message is None:
        raise ApiError("thread_not_found")
    if message.is_reply:
        call.broke("thread_ts is that of a reply, not of its parent")
        return message.thread_ts
    return ts


def _post(call: Call) -> Json:
    channel = target(call)
    check_message(call)
    for name in checking.previews(call.arguments):
        call.broke(f"{name} is not false: Slack fetches what the message links to")
    blocks = checked_blocks(call)
    thread_ts = thread(call, channel)
    pace(call, channel)
    message = write(call, channel, blocks, thread_ts)
    if thread_ts and call.flag("reply_broadcast"):
        message.subtype = "thread_broadcast"
    call.slack.world.post(message)
    return {"channel": channel.id, "ts": message.ts, "message": message_payload(message)}


def write(call: Call, channel: Channel, blocks: list[Json], thread_ts: str | None = None) -> Message:
    """Return the message that the arguments describe."""
    text = call.text("text") or call.text("markdown_text") or ""
    return Message(
        call.slack.world.clock.next_ts(),
        channel,
        call.bot,
        text,
        blocks=blocks,
        attachments=call.arguments.get("attachments") or [],
        thread_ts=thread_ts,
        app_id=call.app.id,
        metadata=call.arguments.get("metadata"),
        markdown=call.text("markdown_text") or "",
        arguments=dict(call.arguments),
    )


def own_message(call: Call, refusal: str) -> Message:
    """Return the bot's message that `ts` names. Raises ApiError."""
    channel = call.channel()
    message = channel.message(call.need("ts"))
    if message is None or message.is_tombstone:
        raise ApiError("message_not_found")
    if message.user is not call.bot:
        raise ApiError(refusal)
    return message


def _update(call: Call) -> Json:
    message = own_message(call, "cant_update_message")
    if message.is_streaming:
        call.slack.expire_stream(message)
    if message.is_streaming:
        raise ApiError("streaming_state_conflict")
    check_message(call, is_update=True)
    blocks = checked_blocks(call)
    _apply(call, message, blocks)
    return {"channel": message.channel.id, "ts": message.ts, "text": message.text, "message": message_payload(message)}


def _apply(call: Call, message: Message, blocks: list[Json]) -> None:
    """Change a message as the arguments say."""
    before = message_payload(message)
    message.text = call.text("text") or call.text("markdown_text") or ""
    message.markdown = call.text("markdown_text") or ""
    # Blocks that are not named stay, and hide a new text (slackapi/python-slack-sdk#523).
    if "blocks" in call.arguments or message.markdown:
        message.blocks = blocks
    if "attachments" in call.arguments:
        message.attachments = call.arguments["attachments"]
    if call.arguments.get("metadata") is not None:
        message.metadata = call.arguments["metadata"]
    message.arguments = dict(call.arguments)
    call.slack.world.changed(message, before)


def _delete(call: Call) -> Json:
    message = own_message(call, "cant_delete_message")
    call.slack.world.delete(message)
    return {"channel": message.channel.id, "ts": message.ts}


def _post_ephemeral(call: Call) -> Json:
    channel = call.joined_channel()
    user = call.user()
    if user.id not in channel.member_ids:
        raise ApiError("user_not_in_channel")
    check_message(call)
    blocks = checked_blocks(call)
    message = write(call, channel, blocks, thread(call, channel))
    if message.is_reply and all(one.is_deleted for one in channel.replies.get(str(message.thread_ts), ())):
        call.broke("an ephemeral message in a thread without replies is shown to nobody")
    message.ephemeral_for = user
    call.slack.world.post(message)
    return {"message_ts": message.ts}


def respond(call: Call, channel: Channel, user: User, original: Message | None) -> Message | None:
    """Do what a post to a response_url says, and return a new message, if it made one. Raises ApiError."""
    arguments = call.arguments
    world = call.slack.world
    if arguments.get("delete_original") in (True, "true"):
        if original is not None:
            world.delete(original)
        return None
    check_response(call)
    blocks = checked_blocks(call)
    if arguments.get("replace_original") in (True, "true") and original is not None:
        if original.is_deleted:
            raise ApiError("message_not_found")
        _apply(call, original, blocks)
        return None
    is_public = arguments.get("response_type", "ephemeral") == "in_channel"
    message = write(call, channel, blocks, call.text("thread_ts") if is_public else None)
    message.ephemeral_for = None if is_public else user
    return world.post(message)


def check_response(call: Call) -> None:
    """Check the text of an answer to an interaction. Raises ApiError."""
    error = checking.message_error(call.arguments, is_update=False)
    if error:
        call.broke(error)
        raise ApiError(error)
    check_pings(call)


METHODS = {
    "chat.postMessage": Method(_post, ("chat:write",)),
    "chat.update": Method(_update, ("chat:write",)),
    "chat.delete": Method(_delete, ("chat:write",)),
    "chat.postEphemeral": Method(_post_ephemeral, ("chat:write",)),
}
