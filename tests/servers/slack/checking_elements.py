"""Slack's limits of block elements: buttons, selects, inputs, images, options."""

from collections.abc import Callable
from typing import Any

from tests.servers.slack.counting import Findings

Json = dict[str, Any]
MOST_ID, MOST_VALUE, MOST_URL = 255, 2000, 3000
SELECT_KINDS = ("static", "external", "users", "conversations", "channels")
SELECTS = frozenset(f"{kind}_select" for kind in SELECT_KINDS)
MULTI_SELECTS = frozenset(f"multi_{kind}_select" for kind in SELECT_KINDS)
PICKERS = frozenset({"datepicker", "timepicker", "datetimepicker"})
CHOICES = frozenset({"radio_buttons", "checkboxes"})
IN_ACTIONS = frozenset({"button", "overflow", "workflow_button"}) | SELECTS | PICKERS | CHOICES
IN_SECTION = (
    frozenset({"button", "overflow", "image"}) | SELECTS | MULTI_SELECTS | CHOICES | {"datepicker", "timepicker"}
)
TEXT_INPUTS = frozenset(
    {"plain_text_input", "number_input", "email_text_input", "url_text_input", "rich_text_input", "file_input"}
)
IN_INPUT = TEXT_INPUTS | SELECTS | MULTI_SELECTS | PICKERS | CHOICES
COMMON = ("type", "action_id", "confirm", "focus_on_load", "placeholder")
FIELDS: dict[str, tuple[str, ...]] = {
    "button": ("type", "action_id", "confirm", "text", "url", "value", "style", "accessibility_label"),
    "overflow": ("type", "action_id", "confirm", "options"),
    "image": ("type", "image_url", "slack_file", "alt_text"),
    "workflow_button": ("type", "action_id", "text", "workflow", "style", "accessibility_label"),
    "static_select": (*COMMON, "options", "option_groups", "initial_option"),
    "external_select": (*COMMON, "initial_option", "min_query_length"),
    "users_select": (*COMMON, "initial_user"),
    "conversations_select": (
        *COMMON,
        "initial_conversation",
        "default_to_current_conversation",
        "response_url_enabled",
        "filter",
    ),
    "channels_select": (*COMMON, "initial_channel", "response_url_enabled"),
    "multi_static_select": (*COMMON, "options", "option_groups", "initial_options", "max_selected_items"),
    "multi_external_select": (*COMMON, "initial_options", "min_query_length", "max_selected_items"),
    "multi_users_select": (*COMMON, "initial_users", "max_selected_items"),
    "multi_conversations_select": (
        *COMMON,
        "initial_conversations",
        "default_to_current_conversation",
        "filter",
        "max_selected_items",
    ),
    "multi_channels_select": (*COMMON, "initial_channels", "max_selected_items"),
    "radio_buttons": ("type", "action_id", "confirm", "focus_on_load", "options", "initial_option"),
    "checkboxes": ("type", "action_id", "confirm", "focus_on_load", "options", "initial_options"),
    "datepicker": (*COMMON, "initial_date"),
    "timepicker": (*COMMON, "initial_time", "timezone"),
    "datetimepicker": ("type", "action_id", "confirm", "focus_on_load", "initial_date_time"),
    "plain_text_input": (
        "type",
        "action_id",
        "focus_on_load",
        "placeholder",
        "initial_value",
        "multiline",
        "min_length",
        "max_length",
        "dispatch_action_config",
    ),
    "number_input": (
        "type",
        "action_id",
        "focus_on_load",
        "placeholder",
        "is_decimal_allowed",
        "initial_value",
        "min_value",
        "max_value",
        "dispatch_action_config",
    ),
    "email_text_input": (
        "type",
        "action_id",
        "focus_on_load",
        "placeholder",
        "initial_value",
        "dispatch_action_config",
    ),
    "url_text_input": ("type", "action_id", "focus_on_load", "placeholder", "initial_value", "dispatch_action_config"),
    "rich_text_input": ("type", "action_id", "focus_on_load", "placeholder", "initial_value", "dispatch_action_config"),
    "file_input": ("type", "action_id", "filetypes", "max_files"),
}
HasImage = Callable[[Json], str | None]


def check_element(found: Findings, where: str, element: Json, allowed: frozenset[str], has_image: HasImage) -> None:
    """Check one element of a block that may hold those of `allowed`."""
    kind = element.get("type")
    if not found.one_of(f"{where}/type", kind, allowed):
        return
    assert isinstance(kind, str)
    found.fields(where, element, FIELDS[kind])
    if kind == "image":
        check_image(found, where, element, has_image)
        return
    found.text(f"{where}/action_id", element.get("action_id"), 1, MOST_ID, needed=False)
    if "placeholder" in FIELDS[kind]:
        found.plain(f"{where}/placeholder", element.get("placeholder"), 150, needed=False)
    found.flag(f"{where}/focus_on_load", element.get("focus_on_load"))
    _confirm(found, f"{where}/confirm", element.get("confirm"))
    if kind in ("button", "workflow_button"):
        _button(found, where, element)
    elif kind == "plain_text_input":
        _text_input(found, where, element)
    elif kind == "number_input":
        if not isinstance(element.get("is_decimal_allowed"), bool):
            found.say(f"{where}/is_decimal_allowed", "missing required field")
    elif kind in ("static_select", "multi_static_select"):
        _static_select(found, where, element)
    elif kind in ("overflow", "radio_buttons", "checkboxes"):
        most = 5 if kind == "overflow" else 10
        _options(found, f"{where}/options", element.get("options"), 1, most, in_overflow=kind == "overflow")
    _initial(found, where, element)


def _button(found: Findings, where: str, button: Json) -> None:
    found.plain(f"{where}/text", button.get("text"), 75)
    found.text(f"{where}/value", button.get("value"), 1, MOST_VALUE, needed=False)
    found.text(f"{where}/url", button.get("url"), 1, MOST_URL, needed=False)
    found.one_of(f"{where}/style", button.get("style"), ("primary", "danger"), needed=False)
    found.text(f"{where}/accessibility_label", button.get("accessibility_label"), 1, 75, needed=False)


def _text_input(found: Findings, where: str, element: Json) -> None:
    found.flag(f"{where}/multiline", element.get("multiline"))
    least, most = element.get("min_length", 0), element.get("max_length", 3000)
    for name, number, smallest in (("min_length", least, 0), ("max_length", most, 1)):
        if isinstance(number, bool) or not isinstance(number, int) or not smallest <= number <= 3000:
            found.say(f"{where}/{name}", f"must be a number from {smallest} to 3000")
            return
    if least > most:
        found.say(f"{where}/min_length", "must not be above max_length")
    found.text(f"{where}/initial_value", element.get("initial_value"), 0, most, needed=False)


def _static_select(found: Findings, where: str, select: Json) -> None:
    if ("options" in select) == ("option_groups" in select):
        found.say(where, "must have either options or option_groups")
    if "options" in select:
        _options(found, f"{where}/options", select.get("options"), 1, 100)
    for place, group in found.objects(f"{where}/option_groups", select.get("option_groups"), 1, 100, needed=False):
        found.plain(f"{place}/label", group.get("label"), 75)
        _options(found, f"{place}/options", group.get("options"), 1, 100)
    most = select.get("max_selected_items")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        found.say(f"{where}/max_selected_items", "must be a positive number")


def _options(found: Findings, where: str, options: object, least: int, most: int, *, in_overflow: bool = False) -> None:
    for place, option in found.objects(where, options, least, most):
        found.fields(place, option, ("text", "value", "description", *(("url",) if in_overflow else ())))
        found.text_object(f"{place}/text", option.get("text"), 75)
        found.text(f"{place}/value", option.get("value"), 1, 150)
        found.text_object(f"{place}/description", option.get("description"), 75, needed=False)
        found.text(f"{place}/url", option.get("url"), 1, MOST_URL, needed=False)


def _initial(found: Findings, where: str, element: Json) -> None:
    """Check that initial options are among the options, as they are there."""
    if "options" not in element and "option_groups" not in element:
        return
    offered = [option for _, option in offered_options(element)]
    single = element.get("initial_option")
    if single is not None and single not in offered:
        found.say(f"{where}/initial_option", "must be one of the options")
    chosen = element.get("initial_options")
    if chosen is not None and (not chosen or any(one not in offered for one in chosen)):
        found.say(f"{where}/initial_options", "must be some of the options")


def offered_options(element: Json) -> list[tuple[str, Json]]:
    """Return the options of an element, with their values."""
    options = list(element.get("options") or ())
    for group in element.get("option_groups") or ():
        options += group.get("options") or ()
    return [(str(option.get("value")), option) for option in options if isinstance(option, dict)]


def _confirm(found: Findings, where: str, confirm: object) -> None:
    dialog = found.object(where, confirm, needed=False)
    if dialog is None:
        return
    found.fields(where, dialog, ("title", "text", "confirm", "deny", "style"))
    found.plain(f"{where}/title", dialog.get("title"), 100)
    found.text_object(f"{where}/text", dialog.get("text"), 300)
    found.plain(f"{where}/confirm", dialog.get("confirm"), 30)
    found.plain(f"{where}/deny", dialog.get("deny"), 30)
    found.one_of(f"{where}/style", dialog.get("style"), ("primary", "danger"), needed=False)


def check_image(found: Findings, where: str, image: Json, has_image: HasImage) -> None:
    """Check an image block or element: exactly one source, and an alt text."""
    found.text(f"{where}/alt_text", image.get("alt_text"), 1, 2000)
    if ("image_url" in image) == ("slack_file" in image):
        found.say(where, "must have either image_url or slack_file")
    found.text(f"{where}/image_url", image.get("image_url"), 1, MOST_URL, needed=False)
    source = found.object(f"{where}/slack_file", image.get("slack_file"), needed=False)
    if source is not None:
        found.fields(f"{where}/slack_file", source, ("id", "url"))
        error = has_image(source)
        if error:
            found.say(f"{where}/slack_file", error)
