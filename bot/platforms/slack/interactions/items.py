"""Buttons and selects that work after a restart: their action id names the card, and the card is in the store."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.core.cards import Button, Card, Select
from bot.platforms.slack.outgoing.rich_text import Json, label
from bot.platforms.slack.traits import MAX_OPTIONS

MAX_ACTION_ID: Final = 255
MAX_LABEL: Final = 75
MAX_PLACEHOLDER: Final = 150
MAX_IN_ROW: Final = 25
# So many fit beside one another on a phone; the others move into a menu at the end.
_MAX_BUTTONS: Final = 10
STOP_PREFIX: Final = "fewshot-stop:"
_CARD_PREFIX: Final = "fewshot:"
_MENU_PREFIX: Final = "fewshot-menu:"
_CARD_ID: Final = re.compile(r"fewshot(?:-menu)?:(?P<card_id>[^:]+):(?P<revision>\d{1,9}):(?P<action>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button or an option that was chosen on a card."""

    card_id: str
    revision: int
    action: str
    value: str = ""


def read_action(action: Mapping[str, Any]) -> Pressed | None:
    """Return what a person pressed, None if it is no item of a card (a Stop button, another app's)."""
    found = _CARD_ID.fullmatch(str(action.get("action_id", "")))
    if found is None:
        return None
    chosen = (action.get("selected_option") or {}).get("value", "")
    if str(action["action_id"]).startswith(_MENU_PREFIX):
        return Pressed(found["card_id"], int(found["revision"]), chosen)
    return Pressed(found["card_id"], int(found["revision"]), found["action"], chosen)


def read_stop(action: Mapping[str, Any]) -> str | None:
    """Return the id of the request whose Stop button was pressed, None for anything else."""
    action_id = str(action.get("action_id", ""))
    return action_id.removeprefix(STOP_PREFIX) if action_id.startswith(STOP_PREFIX) else None


def stop_block(request_id: str) -> Json:
    """Return the block with the button that stops an answer while it is written."""
    button = {"type": "button", "text": label("Stop", MAX_LABEL), "action_id": f"{STOP_PREFIX}{request_id}"}
    return {"type": "actions", "elements": [button]}


def item_blocks(card: Card) -> list[Json]:
    """Return the blocks with the selects and buttons of a finished card; none where a click would find no card."""
    card_id = card.open_card_id or (f"reply-{card.reply_id}" if card.reply_id else None)
    if card_id is None:
        return []
    selects = [_select(select, card_id, card.revision) for select in card.selects if select.options]
    buttons, others = card.buttons, card.buttons[:0]
    if len(buttons) > _MAX_BUTTONS:
        buttons, others = card.buttons[: _MAX_BUTTONS - 1], card.buttons[_MAX_BUTTONS - 1 :]
    items = [_button(button, card_id, card.revision) for button in buttons]
    if others:
        items.append(_menu(others, card_id, card.revision))
    rows = [items[i : i + MAX_IN_ROW] for i in range(0, len(items), MAX_IN_ROW)]
    return [{"type": "actions", "elements": row} for row in ([[select] for select in selects] + rows)]


def _action_id(card_id: str, revision: int, action: str, prefix: str = _CARD_PREFIX) -> str:
    action_id = f"{prefix}{card_id}:{revision}:{action}"
    if len(action_id) > MAX_ACTION_ID:
        raise ValueError(f"an action_id of {len(action_id)} characters does not fit: {action}")
    return action_id


def _button(button: Button, card_id: str, revision: int) -> Json:
    item: Json = {
        "type": "button",
        "text": label(_capitalised(button.label), MAX_LABEL),
        "action_id": _action_id(card_id, revision, button.action),
    }
    return item if button.style == "plain" else {**item, "style": button.style}


def _menu(buttons: Sequence[Button], card_id: str, revision: int) -> Json:
    options = [{"text": label(_capitalised(button.label), MAX_LABEL), "value": button.action} for button in buttons]
    return {
        "type": "static_select",
        "placeholder": label("Other actions", MAX_PLACEHOLDER),
        "action_id": _action_id(card_id, revision, "", _MENU_PREFIX),
        "options": options[:MAX_OPTIONS],
    }


def _select(select: Select, card_id: str, revision: int) -> Json:
    options = []
    chosen = None
    for option in select.options[:MAX_OPTIONS]:
        shown: Json = {"text": label(option.label, MAX_LABEL), "value": option.value}
        if option.help:
            shown["description"] = label(option.help, MAX_LABEL)
        options.append(shown)
        chosen = shown if option.is_chosen else chosen
    item: Json = {
        "type": "static_select",
        "placeholder": label(select.label, MAX_PLACEHOLDER),
        "action_id": _action_id(card_id, revision, select.action),
        "options": options,
    }
    return item if chosen is None else {**item, "initial_option": chosen}


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
