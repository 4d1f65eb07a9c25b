"""Methods about conversations and what was said in them."""

from tests.servers.slack.errors import ApiError
from tests.servers.slack.objects import Channel, Message
from tests.servers.slack.payloads import Json, channel_payload, message_payload
from tests.servers.slack.webapi import Call, Method, invalid, page

FAMILY = {"public": "channels", "private": "groups", "im": "im", "mpim": "mpim"}
TYPES = {"public_channel": "public", "private_channel": "private", "im": "im", "mpim": "mpim"}


def _seen(call: Call, right: str) -> Channel:
    """Return the channel asked for, if the token's scopes allow that for its kind."""
    channel = call.channel()
    call.need_scope(f"{FAMILY[channel.kind]}:{right}")
    return channel


def _info(call: Call) -> Json:
    channel = _seen(call, "read")
    payload = channel_payload(channel, call.installation)
    if not call.flag("include_num_members"):
        payload.pop("num_members", None)
    return {"channel": payload}


def _list(call: Call, *, is_mine_only: bool = False) -> Json:
    kinds = []
    for name in (call.text("types") or "public_channel").split(","):
        if name.strip() not in TYPES:
            raise ApiError("invalid_types")
        kinds.append(TYPES[name.strip()])
        call.need_scope(f"{FAMILY[kinds[-1]]}:read")
    found = [
        channel
        for channel in call.installation.team.channels.values()
        if channel.kind in kinds
        and ((channel.kind == "public" and not is_mine_only) or call.bot.id in channel.member_ids)
        and not (channel.is_archived and call.flag("exclude_archived"))
    ]
    channels, following = page(call, found, 100, 1000)
    return {"channels": [channel_payload(one, call.installation) for one in channels]} | following


def _members(call: Call) -> Json:
    channel = _seen(call, "read")
    members, following = page(call, sorted(channel.member_ids), 100, 1000)
    return {"members": members} | following


def _open(call: Call) -> Json:
    existing = call.text("channel")
    if existing:
        return {"channel": channel_payload(call.channel(), call.installation)}
    names = [name for name in call.need("users").split(",") if name]
    if len(names) > 8:
        raise ApiError("too_many_users")
    call.need_scope("im:write" if len(names) == 1 else "mpim:write")
    world = call.slack.world
    users = [world.users[name] for name in names if name in world.users]
    if len(users) < len(names):
        raise ApiError("user_not_found")
    if any(user.is_bot for user in users):
        raise ApiError("cannot_dm_bot")
    channel = world.direct_channel([call.bot, *users])
    payload = channel_payload(channel, call.installation)
    return {"channel": payload if call.flag("return_im") else {"id": channel.id}}


def _join(call: Call) -> Json:
    channel = call.channel()
    if channel.kind != "public":
        raise ApiError("method_not_supported_for_channel_type")
    if channel.is_archived:
        raise ApiError("is_archived")
    if call.bot.id not in channel.member_ids:
        call.slack.world.join(channel, call.bot)
    return {"channel": channel_payload(channel, call.installation)}


def _leave(call: Call) -> Json:
    channel = call.joined_channel()
    call.need_scope("channels:manage", "channels:join", "groups:write")
    call.slack.world.leave(channel, call.bot)
    return {}


def _history(call: Call) -> Json:
    channel = _readable(call)
    shown = [message for message in _between(call, channel.messages) if message.is_in_channel]
    messages, following = page(call, shown[::-1], 100, 999)
    return _messages(call, messages, following)


def _replies(call: Call) -> Json:
    channel = _readable(call)
    ts = call.need("ts")
    start = channel.message(ts)
    if start is None:
        raise ApiError("thread_not_found")
    root_ts = start.thread_ts or start.ts
    # The parent comes first even where it is older than `oldest`.
    root = channel.message(root_ts)
    parent = [root] if root else []
    replies = _between(call, channel.replies.get(root_ts, []))
    messages, following = page(call, parent + replies, 1000, 1000)
    return _messages(call, messages, following)


def _readable(call: Call) -> Channel:
    channel = _seen(call, "history")
    if call.bot.id not in channel.member_ids:
        raise ApiError("not_in_channel")
    return channel


def _between(call: Call, messages: list[Message]) -> list[Message]:
    """Return the messages between `oldest` and `latest`, oldest first."""
    bounds = []
    for name, usual in (("oldest", "0"), ("latest", "99999999999")):
        try:
            bounds.append(float(call.text(name) or usual))
        except ValueError:
            raise ApiError(f"invalid_ts_{name}") from None
    oldest, latest = bounds
    is_inclusive = call.flag("inclusive")
    return [
        one
        for one in messages
        if oldest < float(one.ts) < latest or (is_inclusive and float(one.ts) in (oldest, latest))
    ]


def _messages(call: Call, messages: list[Message], following: Json) -> Json:
    with_metadata = call.flag("include_all_metadata")
    return {
        "messages": [message_payload(one, with_metadata=with_metadata) for one in messages],
        "has_more": bool(following["response_metadata"]["next_cursor"]),
    } | following


def _permalink(call: Call) -> Json:
    channel = call.channel()
    message = channel.message(call.need("message_ts"))
    if message is None:
        raise ApiError("message_not_found")
    link = f"https://{channel.team.domain}.slack.com/archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.is_reply:
        link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
    return {"channel": channel.id, "permalink": link}


def _reaction(call: Call, *, is_added: bool) -> Json:
    channel = call.joined_channel()
    message = channel.message(call.need("timestamp"))
    name = call.need("name")
    if not name.replace("_", "").replace("-", "").replace("+", "").isalnum():
        raise invalid(["invalid_name"], "invalid_name")
    if message is None:
        raise ApiError("message_not_found")
    is_there = call.bot.id in message.reactions.get(name, ())
    if is_there == is_added:
        raise ApiError("already_reacted" if is_added else "no_reaction")
    call.slack.world.react(message, call.bot, name, is_added=is_added)
    return {}


METHODS = {
    "conversations.info": Method(_info),
    "conversations.list": Method(_list),
    "conversations.members": Method(_members),
    "users.conversations": Method(lambda call: _list(call, is_mine_only=True)),
    "conversations.open": Method(_open),
    "conversations.join": Method(_join, ("channels:join",)),
    "conversations.leave": Method(_leave),
    "conversations.history": Method(_history),
    "conversations.replies": Method(_replies),
    "chat.getPermalink": Method(_permalink),
    "reactions.add": Method(lambda call: _reaction(call, is_added=True), ("reactions:write",)),
    "reactions.remove": Method(lambda call: _reaction(call, is_added=False), ("reactions:write",)),
}
