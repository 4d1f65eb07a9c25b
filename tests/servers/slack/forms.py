"""What a person typed and chose in the inputs of a view or message, as Slack sends it in `state.values`."""

from collections.abc import Mapping
from typing import Any

from tests.servers.slack.errors import NotOffered
from tests.servers.slack.objects import Message, View
from tests.servers.slack.payloads import file_payload
from tests.servers.slack.reading import elements_of, find_option

Json = dict[str, Any]
TEXTS = ("plain_text_input", "email_text_input", "url_text_input", "number_input")
PICKED = {
    "users_select": "selected_user",
    "conversations_select": "selected_conversation",
    "channels_select": "selected_channel",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
    "datetimepicker": "selected_date_time",
    "multi_users_select": "selected_users",
    "multi_conversations_select": "selected_conversations",
    "multi_channels_select": "selected_channels",
}
SINGLE = ("static_select", "radio_buttons", "external_select", "overflow")
SEVERAL = ("multi_static_select", "checkboxes", "multi_external_select")


def state_value(element: Json, value: Any) -> Json:
    """Return the state of an element in which `value` was typed or chosen. Raises NotOffered."""
    kind = element["type"]
    state: Json = {"type": kind}
    if kind in TEXTS:
        return state | {"value": _typed(element, value)}
    if kind in PICKED:
        return state | {PICKED[kind]: value}
    if kind in SINGLE:
        return state | {"selected_option": None if value is None else _option(element, value)}
    if kind in SEVERAL:
        options = [_option(element, one) for one in value or ()]
        most = element.get("max_selected_items", len(options))
        if len(options) > most:
            raise NotOffered(f"only {most} options can be chosen")
        return state | {"selected_options": options}
    if kind == "file_input":
        files = list(value or ())
        if len(files) > element.get("max_files", 10):
            raise NotOffered(f"only {element.get('max_files', 10)} files can be chosen")
        return state | {"files": [file_payload(file) for file in files]}
    raise NotOffered(f"a {kind} can't be filled in here")


def _option(element: Json, value: Any) -> Json:
    # The options of an external select were suggested by the app, and are given whole.
    return value if isinstance(value, dict) else find_option(element, str(value))


def _typed(element: Json, value: Any) -> str | None:
    if value is None or value == "":
        return None
    text = str(value)
    least, most = element.get("min_length", 0), element.get("max_length", 3000)
    if not least <= len(text) <= most:
        raise NotOffered(f"the field takes {least} to {most} characters, not {len(text)}")
    if element["type"] == "plain_text_input" and not element.get("multiline") and "\n" in text:
        raise NotOffered("the field takes one line")
    return text


def initial_value(element: Json) -> Json:
    """Return the state of an element that nobody touched."""
    kind = element["type"]
    if kind in TEXTS:
        return {"type": kind, "value": element.get("initial_value")}
    if kind in PICKED:
        return {"type": kind, PICKED[kind]: element.get(PICKED[kind].replace("selected", "initial"))}
    if kind in SEVERAL:
        return {"type": kind, "selected_options": element.get("initial_options") or []}
    if kind == "file_input":
        return {"type": kind, "files": []}
    return {"type": kind, "selected_option": element.get("initial_option")}


def is_empty(state: Json) -> bool:
    return not any(value for key, value in state.items() if key != "type")


def state_of(shown: Message | View) -> dict[str, dict[str, Json]]:
    """Return `state.values` of a view or message as it stands, with what was typed before."""
    typed = shown.values if isinstance(shown, View) else {}
    values: dict[str, dict[str, Json]] = {}
    for block, element in elements_of(shown):
        if element["type"] not in ("button", "overflow", "workflow_button"):
            block_id, action_id = block["block_id"], element["action_id"]
            before = typed.get(block_id, {}).get(action_id)
            values.setdefault(block_id, {})[action_id] = before or initial_value(element)
    return values


def fill_in(view: View, values: Mapping[str, Any]) -> None:
    """Type values into a view's inputs by label, block_id or action_id. Raises NotOffered."""
    state = state_of(view)
    for name, value in values.items():
        for block, element in elements_of(view):
            if name in (block.get("label", {}).get("text"), block["block_id"], element["action_id"]):
                state[block["block_id"]][element["action_id"]] = state_value(element, value)
                break
        else:
            raise NotOffered(f"the form has no field {name!r}")
    view.values = state


def missing(view: View) -> list[str]:
    """Return the labels of the inputs that must be filled in and are not."""
    return [
        block["label"]["text"]
        for block, element in elements_of(view)
        if block["type"] == "input"
        and not block.get("optional")
        and is_empty(view.values[block["block_id"]][element["action_id"]])
    ]
