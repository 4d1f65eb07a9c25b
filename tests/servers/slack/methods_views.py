"""Methods about modals, the Home tab, and the status and prompts of an assistant's conversation."""

from tests.servers.slack import checking
from tests.servers.slack.errors import ApiError
from tests.servers.slack.methods_chat import with_ids
from tests.servers.slack.objects import View
from tests.servers.slack.payloads import Json, view_payload
from tests.servers.slack.webapi import Call, Method, invalid

MOST_VIEWS = 3
SESSION_STATUSES = ("active", "processing", "suspended", "closed")


def checked_view(call: Call, payload: object, *, is_home: bool = False) -> Json:
    """Return a view's payload with ids filled in. Raises ApiError if Slack would refuse it."""
    if not isinstance(payload, dict):
        raise invalid(["missing required field: view"])
    found = checking.view_findings(payload, call.slack.has_image, is_home=is_home)
    if found:
        for finding in found:
            call.broke(str(finding))
        raise invalid(str(finding) for finding in found)
    for ping in checking.pings(payload, call.bot.id):
        call.broke(f"may ping: {ping}")
    return payload | {"blocks": with_ids(call, payload["blocks"])}


def _open(call: Call) -> Json:
    trigger = call.slack.triggers.take(call)
    payload = checked_view(call, call.arguments.get("view"))
    for view in call.slack.open_views(trigger.user):
        view.is_open = False
    opened = add_view(call, trigger.user.id, payload)
    trigger.interaction.opened.append(opened)
    return {"view": view_payload(opened)}


def _push(call: Call) -> Json:
    trigger = call.slack.triggers.take(call)
    stack = call.slack.open_views(trigger.user)
    if not stack:
        raise ApiError("view_not_found")
    if len(stack) >= MOST_VIEWS:
        raise ApiError("push_limit_reached")
    payload = checked_view(call, call.arguments.get("view"))
    pushed = add_view(call, trigger.user.id, payload, below=stack[-1])
    trigger.interaction.opened.append(pushed)
    return {"view": view_payload(pushed)}


def add_view(call: Call, user_id: str, payload: Json, below: View | None = None) -> View:
    """Open a modal for a user, on top of another if there is one."""
    world = call.slack.world
    external_id = payload.get("external_id") or ""
    if external_id and any(view.external_id == external_id for view in world.views.values()):
        raise ApiError("duplicate_external_id")
    view_id = world.next_id("V")
    view = View(view_id, call.installation, world.users[user_id], payload, world.next_id("h"), external_id=external_id)
    view.root_id = below.root_id if below else view.id
    view.previous_id = below.id if below else None
    world.views[view.id] = view
    world.touch()
    return view


def _update(call: Call) -> Json:
    world = call.slack.world
    external_id, view_id = call.text("external_id"), call.text("view_id")
    found = [
        view
        for view in world.views.values()
        if view.installation.app is call.app
        and (view.id == view_id or (external_id and view.external_id == external_id))
    ]
    if not found or not found[0].is_open:
        raise ApiError("not_found")
    _check_hash(call, found[0])
    put(call, found[0], checked_view(call, call.arguments.get("view")))
    return {"view": view_payload(found[0])}


def put(call: Call, view: View, payload: Json) -> None:
    """Show another payload in an open view; what was typed in inputs that stay is kept."""
    kept = {block["block_id"] for block in payload["blocks"]}
    view.payload, view.hash = payload, call.slack.world.next_id("h")
    view.values = {block_id: values for block_id, values in view.values.items() if block_id in kept}
    view.errors = {}
    call.slack.world.touch()


def _check_hash(call: Call, view: View) -> None:
    expected = call.text("hash")
    if expected is not None and expected != view.hash:
        raise ApiError("hash_conflict")


def _publish(call: Call) -> Json:
    user = call.user("user_id")
    if not call.app.has_home_tab:
        raise ApiError("not_enabled")
    payload = checked_view(call, call.arguments.get("view"), is_home=True)
    world = call.slack.world
    key = (call.app.id, user.id)
    if key in world.homes:
        _check_hash(call, world.homes[key])
        put(call, world.homes[key], payload)
    else:
        view = View(world.next_id("V"), call.installation, user, payload, world.next_id("h"))
        view.root_id = view.id
        world.homes[key] = world.views[view.id] = view
        world.touch()
    return {"view": view_payload(world.homes[key])}


def _set_status(call: Call) -> Json:
    channel = call.joined_channel("channel_id")
    thread_ts = call.need("thread_ts")
    status = call.arguments.get("status")
    if not isinstance(status, str):
        raise invalid(["missing required field: status"])
    messages = call.arguments.get("loading_messages") or []
    if len(messages) > 10:
        call.broke("loading_messages may be 10")
        raise invalid(["no more than 10 items allowed [json-pointer:/loading_messages]"])
    if status:
        call.slack.world.statuses[channel.id, thread_ts] = {"status": status, "loading_messages": messages}
    else:
        call.slack.world.statuses.pop((channel.id, thread_ts), None)
    call.slack.world.touch()
    return {}


def _set_prompts(call: Call) -> Json:
    channel = call.joined_channel("channel_id")
    prompts = call.arguments.get("prompts")
    if not isinstance(prompts, list) or not 1 <= len(prompts) <= 4:
        call.broke("there may be 1 to 4 suggested prompts")
        raise invalid(["prompts must be an array of 1 to 4 items"])
    for number, prompt in enumerate(prompts):
        for name in ("title", "message"):
            if not isinstance(prompt.get(name), str) or not prompt[name]:
                raise invalid([f"missing required field [json-pointer:/prompts/{number}/{name}]"])
    call.slack.world.suggested_prompts[channel.id] = {"title": call.text("title"), "prompts": prompts}
    call.slack.world.touch()
    return {}


def _set_session_status(call: Call) -> Json:
    channel = call.joined_channel("channel_id")
    status = call.need("status")
    if status not in SESSION_STATUSES:
        raise invalid([f"must be a valid enum value, not {status!r} [json-pointer:/status]"])
    call.slack.world.sessions[channel.id, call.text("thread_ts") or ""] = status
    call.slack.world.touch()
    if call.app.events is not None and "agent_session_stopped" not in call.app.events:
        return {"warning": "missing_agent_session_stopped_event_subscription"}
    return {}


METHODS = {
    "agents.sessions.setStatus": Method(_set_session_status, ("assistant:write", "chat:write")),
    "views.open": Method(_open),
    "views.push": Method(_push),
    "views.update": Method(_update),
    "views.publish": Method(_publish),
    "assistant.threads.setStatus": Method(_set_status, ("assistant:write", "chat:write")),
    "assistant.threads.setSuggestedPrompts": Method(_set_prompts, ("assistant:write",)),
}
