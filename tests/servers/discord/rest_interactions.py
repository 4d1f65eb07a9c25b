"""Routes that answer interactions: the first response, and the requests that the token allows for 15 minutes."""

import time
from typing import TYPE_CHECKING, Any

from tests.servers.discord import payloads, writing
from tests.servers.discord.errors import ApiError
from tests.servers.discord.interactions import (
    ALLOWED,
    ANSWER_WITHIN_S,
    AUTOCOMPLETE,
    COMMAND,
    DEFERS,
    DEFERS_UPDATE,
    KINDS,
    OPENS_MODAL,
    SAYS,
    SUGGESTS,
    UPDATES,
    InteractionResult,
    Modal,
)
from tests.servers.discord.permissions import Permission
from tests.servers.discord.rest_channels import note_edit
from tests.servers.discord.world import EPHEMERAL, LOADING, Message

if TYPE_CHECKING:
    from tests.servers.discord.rest import Call

WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"
ORIGINAL = WEBHOOK + "/messages/@original"
FOLLOWUP = WEBHOOK + "/messages/{message_id}"
MOST_USER_INSTALL_FOLLOWUPS = 5


def _violated(call: "Call", what: str) -> None:
    call.discord.violations.append(f"{call.method} {call.template}: {what}")


def answer(call: "Call") -> Any:
    """Take the first answer to an interaction."""
    result = call.discord.interactions.by_id.get(call.id("interaction_id"))
    if result is None or result.token != call.params["interaction_token"]:
        raise ApiError(404, 10062, "Unknown interaction")
    after_s = time.monotonic() - result.sent_at
    if result.kind is not None:
        if not result.was_answer_lost and not call.is_answer_lost:
            _violated(call, f"a second answer to {result}")
        raise ApiError(400, 40060, "Interaction has already been acknowledged.")
    if after_s > ANSWER_WITHIN_S:
        _violated(call, f"{result} was answered after {after_s:.1f} s, {ANSWER_WITHIN_S:g} s are allowed")
        raise ApiError(404, 10062, "Unknown interaction")
    kind, data = call.body["type"], call.body.get("data") or {}
    if kind not in ALLOWED[result.type] or (_is_update(kind) and result.source is None):
        _violated(call, f"{result} may not be answered with type {kind}")
        result.refusal = f"the bot answered with type {kind}, which is not allowed"
        raise ApiError(400, 50035, "Invalid Form Body", f"type {kind} is not allowed here")
    _take(call, result, kind, data)
    result.kind, result.acknowledged_after_s = KINDS[kind], after_s
    result.was_answer_lost = call.is_answer_lost
    call.discord.world.touch()
    return _answered(call, result, kind) if call.query.get("with_response") in ("1", "true") else None


def _is_update(kind: int) -> bool:
    return kind in (UPDATES, DEFERS_UPDATE)


def _take(call: "Call", result: InteractionResult, kind: int, data: dict[str, Any]) -> None:
    if kind == SUGGESTS:
        result.choices = data["choices"]
    elif kind == OPENS_MODAL:
        result.modal = Modal(data, result)
        call.discord.interactions.modals.append(result.modal)
    elif kind == SAYS:
        result.message = _post(call, result, data, flags=0)
    elif kind == DEFERS:
        flags = (data.get("flags") or 0) & EPHEMERAL
        message = _new(call, result, flags | LOADING)
        result.message = call.discord.world.post(message)
    elif kind == UPDATES and result.source:
        writing.change(result.source, call, data)
        call.discord.world.edited(result.source)
    if _is_update(kind):
        result.message = result.source
    result.is_ephemeral = bool(result.message and result.message.ephemeral_for)


def _new(call: "Call", result: InteractionResult, flags: int) -> Message:
    """Return an empty message of the bot's that answers `result`."""
    world = call.discord.world
    if result.is_user_install and result.channel.guild and not _may_show(call, result):
        flags |= EPHEMERAL
    message = Message(world.next_id(), result.channel, world.bot, flags=flags, is_from_interaction=True)
    message.ephemeral_for = result.user if flags & EPHEMERAL else None
    message.type = 20 if result.type == COMMAND else 0
    message.interaction_metadata = {
        "id": str(result.id),
        "type": result.type,
        "user": payloads.user_payload(result.user),
        "authorizing_integration_owners": {},
    }
    return message


def _may_show(call: "Call", result: InteractionResult) -> bool:
    """Return whether others may see the messages of an app that only the user has installed."""
    return bool(call.discord.world.permissions(result.user, result.channel) & Permission.USE_EXTERNAL_APPS)


def _post(call: "Call", result: InteractionResult, body: dict[str, Any], flags: int) -> Message:
    message = _new(call, result, flags | ((body.get("flags") or 0) & EPHEMERAL))
    writing.fill_new(message, call, body)
    return call.discord.world.post(message)


def _answered(call: "Call", result: InteractionResult, kind: int) -> dict[str, Any]:
    interaction: dict[str, Any] = {"id": str(result.id), "type": result.type}
    answered: dict[str, Any] = {"interaction": interaction}
    if kind in (SAYS, DEFERS, UPDATES, DEFERS_UPDATE) and result.message:
        interaction |= {
            "response_message_id": str(result.message.id),
            "response_message_loading": kind == DEFERS,
            "response_message_ephemeral": result.is_ephemeral,
        }
    if kind in (SAYS, UPDATES) and result.message:
        payload = payloads.message_payload(result.message, call.discord.world)
        answered["resource"] = {"type": kind, "message": payload}
    else:
        answered["resource"] = {"type": kind}
    return answered


def _result(call: "Call") -> InteractionResult:
    """Return the interaction of a token. Raises ApiError if the token is unknown or expired."""
    result = call.discord.interactions.by_token.get(call.params["webhook_token"])
    if result is None or call.id("webhook_id") != call.discord.world.bot.id:
        raise ApiError(401, 50027, "Invalid Webhook Token")
    if result.is_expired():
        _violated(call, "the token of an interaction was used after 15 minutes")
        raise ApiError(401, 50027, "Invalid Webhook Token")
    if result.kind is None or result.type == AUTOCOMPLETE:
        raise ApiError(404, 10015, "Unknown Webhook")
    return result


def _original(call: "Call") -> Message:
    message = _result(call).message
    if message is None or message.is_deleted:
        raise ApiError(404, 10008, "Unknown Message")
    return message


def _followup(call: "Call") -> Message:
    result = _result(call)
    for message in [*result.followups, *([result.message] if result.message else [])]:
        if message.id == call.id("message_id") and not message.is_deleted:
            return message
    raise ApiError(404, 10008, "Unknown Message")


def send_followup(call: "Call") -> Any:
    """Send another message; the first one after a deferral becomes the deferred answer."""
    result = _result(call)
    world = call.discord.world
    promised = result.message
    if promised and promised.flags & LOADING and not promised.is_deleted:
        promised.flags &= ~LOADING
        writing.fill_new(promised, call, call.body | {"flags": (call.body.get("flags") or 0) & ~EPHEMERAL})
        world.edited(promised)
        return payloads.message_payload(promised, world)
    if result.is_user_install and len(result.followups) >= MOST_USER_INSTALL_FOLLOWUPS:
        _violated(call, "more than 5 follow-ups where only a user has installed the app")
        raise ApiError(400, 40094, "This interaction has reached the maximum number of follow up messages")
    message = _post(call, result, call.body, flags=0)
    result.followups.append(message)
    world.touch()
    return payloads.message_payload(message, world)


def _edit(call: "Call", message: Message) -> Any:
    note_edit(call, call.params["webhook_token"])
    writing.change(message, call, call.body)
    message.flags &= ~LOADING
    call.discord.world.edited(message)
    return payloads.message_payload(message, call.discord.world)


def edit_original(call: "Call") -> Any:
    return _edit(call, _original(call))


def edit_followup(call: "Call") -> Any:
    return _edit(call, _followup(call))


def get_original(call: "Call") -> Any:
    return payloads.message_payload(_original(call), call.discord.world)


def get_followup(call: "Call") -> Any:
    return payloads.message_payload(_followup(call), call.discord.world)


def delete_original(call: "Call") -> None:
    call.discord.world.delete(_original(call))


def delete_followup(call: "Call") -> None:
    call.discord.world.delete(_followup(call))


ROUTES = {
    ("POST", "/interactions/{interaction_id}/{interaction_token}/callback"): answer,
    ("POST", WEBHOOK): send_followup,
    ("GET", ORIGINAL): get_original,
    ("PATCH", ORIGINAL): edit_original,
    ("DELETE", ORIGINAL): delete_original,
    ("GET", FOLLOWUP): get_followup,
    ("PATCH", FOLLOWUP): edit_followup,
    ("DELETE", FOLLOWUP): delete_followup,
}
