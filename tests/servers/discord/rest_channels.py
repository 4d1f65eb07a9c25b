"""Routes of channels, messages, reactions, threads and direct channels."""

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from tests.servers.discord import payloads, places, writing
from tests.servers.discord.errors import ApiError
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import Channel, Event, Message

if TYPE_CHECKING:
    from tests.servers.discord.rest import Call

NONCE_KEPT_S = 300.0
MOST_EDITS, EDIT_WINDOW_S = 5, 5.0
BULK_DELETE_S = 14 * 86400
MESSAGES = "/channels/{channel_id}/messages"
MESSAGE = MESSAGES + "/{message_id}"
REACTION = MESSAGE + "/reactions/{emoji_name}"


def _channel(call: "Call", needed: int = 0) -> Channel:
    """Return the channel of the path; the bot must see it and have the `needed` permissions."""
    discord = call.discord
    channel = discord.world.channels.get(call.id("channel_id"))
    if channel is None:
        raise ApiError(404, 10003, "Unknown Channel")
    bits = discord.world.permissions(discord.world.bot, channel)
    if not bits & Permission.VIEW_CHANNEL:
        raise ApiError(403, 50001, "Missing Access")
    if needed & ~bits:
        raise ApiError(403, 50013, "Missing Permissions")
    return channel


def _sending(channel_id: int, call: "Call") -> int:
    channel = call.discord.world.channels.get(channel_id)
    return Permission.SEND_MESSAGES_IN_THREADS if channel and channel.is_thread else Permission.SEND_MESSAGES


def _message(call: "Call", needed: int = 0) -> Message:
    channel = _channel(call, needed)
    message = call.discord.world.messages.get(call.id("message_id"))
    if message is None or message.channel is not channel or message.is_deleted or message.ephemeral_for:
        raise ApiError(404, 10008, "Unknown Message")
    return message


def _shown(call: "Call", message: Message) -> dict[str, Any]:
    is_hidden = not payloads.is_text_readable(message, call.discord.world)
    return payloads.message_payload(message, call.discord.world, is_text_hidden=is_hidden)


def get_channel(call: "Call") -> Any:
    return payloads.channel_payload(_channel(call), call.discord.world)


def create_message(call: "Call") -> Any:
    needed = _sending(call.id("channel_id"), call) | (Permission.ATTACH_FILES if call.files else 0)
    channel = _channel(call, needed)
    discord, body = call.discord, call.body
    nonce, now = body.get("nonce"), time.monotonic()
    if nonce and body.get("enforce_nonce"):
        known = discord.nonces.get((channel.id, str(nonce)))
        if known and now - known[0] < NONCE_KEPT_S:
            discord.num_deduplicated += 1
            return _shown(call, known[1])
    if any(user.has_closed_dms for user in channel.recipients):
        raise ApiError(403, 50007, "Cannot send messages to this user")
    places.check_may_write(discord.world, channel)
    message = Message(discord.world.next_id(), channel, discord.world.bot)
    _refer(call, message, body.get("message_reference"))
    writing.fill_new(message, call, body)
    discord.world.post(message)
    if nonce:
        discord.nonces[channel.id, str(nonce)] = (now, message)
    return _shown(call, message)


def _refer(call: "Call", message: Message, reference: dict[str, Any] | None) -> None:
    """Make a message a reply."""
    if not reference:
        return
    original = call.discord.world.messages.get(int(reference["message_id"]))
    is_there = original is not None and not original.is_deleted and original.channel is message.channel
    if original and original.ephemeral_for:
        is_there = False
    if not is_there and reference.get("fail_if_not_exists", True):
        raise ApiError(400, 50035, "Invalid Form Body", "message_reference: Unknown message")
    if not is_there:
        return
    if not call.discord.world.permissions(call.discord.world.bot, message.channel) & Permission.READ_MESSAGE_HISTORY:
        raise ApiError(403, 160002, "Cannot reply without permission to read message history")
    message.type = 19
    message.replies_to = original
    message.replies_to_id = int(reference["message_id"])


def edit_message(call: "Call") -> Any:
    message = _message(call)
    if message.author is not call.discord.world.bot:
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    places.check_is_open(message.channel)
    note_edit(call, f"channel {message.channel.id}")
    writing.change(message, call, call.body)
    call.discord.world.edited(message)
    return _shown(call, message)


def note_edit(call: "Call", where: str) -> None:
    """Count an edit in a channel or of an interaction's messages, and record when there are too many."""
    times = call.discord.edit_times.setdefault(where, deque())
    now = time.monotonic()
    times.append(now)
    while times[0] < now - EDIT_WINDOW_S:
        times.popleft()
    if len(times) > MOST_EDITS:
        call.discord.violations.append(f"{call.method} {call.template}: {len(times)} edits in {EDIT_WINDOW_S:g} s")


def delete_message(call: "Call") -> None:
    message = _message(call)
    if message.author is not call.discord.world.bot:
        _channel(call, Permission.MANAGE_MESSAGES)
    call.discord.world.delete(message)


def bulk_delete(call: "Call") -> None:
    channel = _channel(call, Permission.MANAGE_MESSAGES)
    ids = [int(message_id) for message_id in call.body["messages"]]
    if not 2 <= len(ids) <= 100:
        call.discord.violations.append(f"{call.method} {call.template}: {len(ids)} messages, 2 to 100 are allowed")
        raise ApiError(400, 50016, "You can only bulk delete messages 2 to 100 at a time")
    found = [message for message in channel.messages if message.id in ids]
    if any(time.time() - message.created_at > BULK_DELETE_S for message in found):
        raise ApiError(400, 50034, "You can only bulk delete messages that are under 14 days old.")
    if found:
        call.discord.world.delete(*found)


def get_message(call: "Call") -> Any:
    return _shown(call, _message(call, Permission.READ_MESSAGE_HISTORY))


def list_messages(call: "Call") -> Any:
    """Return messages, the newest first; `after` gives the oldest after it."""
    channel = _channel(call)
    limit = int(call.query.get("limit", 50))
    if not 1 <= limit <= 100:
        call.discord.violations.append(f"{call.method} {call.template}: limit {limit}, 1 to 100 are allowed")
        raise ApiError(400, 50035, "Invalid Form Body")
    if not call.discord.world.permissions(call.discord.world.bot, channel) & Permission.READ_MESSAGE_HISTORY:
        return []
    messages = channel.messages
    if "after" in call.query:
        chosen = [message for message in messages if message.id > int(call.query["after"])][:limit]
    elif "before" in call.query:
        chosen = [message for message in messages if message.id < int(call.query["before"])][-limit:]
    elif "around" in call.query:
        middle = int(call.query["around"])
        half = max(limit // 2, 1)
        chosen = [message for message in messages if message.id <= middle][-half:]
        chosen += [message for message in messages if message.id > middle][: limit - len(chosen)]
    else:
        chosen = messages[-limit:]
    return [_shown(call, message) for message in reversed(chosen)]


def _reacted(call: "Call", message: Message, name: str) -> None:
    bot = call.discord.world.bot
    data: dict[str, Any] = {
        "user_id": str(bot.id),
        "channel_id": str(message.channel.id),
        "message_id": str(message.id),
        "emoji": {"id": None, "name": call.params["emoji_name"]},
        "burst": False,
        "type": 0,
    }
    if message.channel.guild:
        data["guild_id"] = str(message.channel.guild.id)
    call.discord.world.tell(Event(name, data, message.channel, message.channel.guild))
    call.discord.world.touch()


def add_reaction(call: "Call") -> None:
    message = _message(call, Permission.READ_MESSAGE_HISTORY)
    places.check_is_open(message.channel)
    emoji = call.params["emoji_name"]
    if emoji not in message.reactions:
        _channel(call, Permission.ADD_REACTIONS)
    users = message.reactions.setdefault(emoji, [])
    if call.discord.world.bot.id not in users:
        users.append(call.discord.world.bot.id)
        _reacted(call, message, "MESSAGE_REACTION_ADD")


def remove_reaction(call: "Call") -> None:
    message = _message(call)
    users = message.reactions.get(call.params["emoji_name"], [])
    if call.discord.world.bot.id not in users:
        raise ApiError(404, 10014, "Unknown Emoji")
    users.remove(call.discord.world.bot.id)
    if not users:
        del message.reactions[call.params["emoji_name"]]
    _reacted(call, message, "MESSAGE_REACTION_REMOVE")


def type_in(call: "Call") -> None:
    channel = _channel(call, _sending(call.id("channel_id"), call))
    call.discord.world.typings.append((channel, time.monotonic()))
    call.discord.world.touch()


def open_dm(call: "Call") -> Any:
    user = call.discord.world.users.get(int(call.body["recipient_id"]))
    if user is None or user.is_bot:
        raise ApiError(400, 50033, "Invalid Recipient(s)")
    return payloads.channel_payload(call.discord.world.dm_channel(user), call.discord.world)


def open_thread(call: "Call") -> Any:
    message = _message(call) if "message_id" in call.params else None
    parent = _channel(call, Permission.CREATE_PUBLIC_THREADS)
    thread = call.discord.world.add_thread(parent, call.body["name"], call.discord.world.bot, message)
    return payloads.channel_payload(thread, call.discord.world)


def join_thread(call: "Call") -> None:
    """Let the bot join a thread that it may see."""
    thread = _channel(call)
    places.check_is_open(thread)
    places.add_member(call.discord.world, thread, call.discord.world.bot)


ROUTES = {
    ("PUT", "/channels/{channel_id}/thread-members/@me"): join_thread,
    ("GET", "/channels/{channel_id}"): get_channel,
    ("POST", MESSAGES): create_message,
    ("GET", MESSAGES): list_messages,
    ("POST", MESSAGES + "/bulk-delete"): bulk_delete,
    ("GET", MESSAGE): get_message,
    ("PATCH", MESSAGE): edit_message,
    ("DELETE", MESSAGE): delete_message,
    ("PUT", REACTION + "/@me"): add_reaction,
    ("DELETE", REACTION + "/@me"): remove_reaction,
    ("POST", "/channels/{channel_id}/typing"): type_in,
    ("POST", "/users/@me/channels"): open_dm,
    ("POST", "/channels/{channel_id}/threads"): open_thread,
    ("POST", MESSAGE + "/threads"): open_thread,
}
