"""Forms as modals: built from a Form, and read from the modal's submission; the form's state is in the store."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.core.cards import Form, FormField, SelectOption
from bot.core.messages import PlaceKind
from bot.core.safe_text import cut_text
from bot.core.wording import shorten
from bot.errors import FewshotError, MessageGone, RequestError
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.outgoing.rich_text import Json, label, quiet
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.traits import MAX_FORM_CHARACTERS, MAX_OPTIONS

logger = logging.getLogger(__name__)

FORM_PREFIX: Final = "fewshot-form:"
_MAX_TITLE: Final = 24
_MAX_LABEL: Final = 75
_MAX_HINT: Final = 150
_MAX_ERROR: Final = 2_000
_VALUE: Final = "value"
_SLOT: Final = re.compile(r"\$[a-z]\w*")
# A trigger lives for three seconds.
_OPENING_S: Final = 2.5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a form was opened: in which conversation, by a button of which message, and how that can be answered.

    `is_private` says that only the person who opened the form sees that message. `modal_id` is the id of the modal that
    shows the card with the button, if it is no message. With `begins_thread` nobody has replied in the thread yet.
    """

    address: Address
    clicked: SlackId | None = None
    kind: PlaceKind = "server"
    response_url: str = ""
    is_private: bool = False
    modal_id: str = ""
    begins_thread: bool = False

    @property
    def is_on_private_card(self) -> bool:
        """Say whether the form was opened by a button of a card that only one person sees."""
        return self.is_private or bool(self.modal_id)

    @property
    def has_card(self) -> bool:
        """Say whether the form was opened by a button of a card."""
        return self.clicked is not None or self.is_on_private_card


@dataclass(frozen=True, slots=True)
class Submission:
    """A submitted form: where it was opened, the values by field, and the uploaded files."""

    form_id: str
    origin: Origin
    values: Mapping[str, str]
    files: Mapping[str, Json]


async def open_view(sender: Sender, trigger_id: str, form: Form, origin: Origin) -> None:
    """Open `form` as a modal. Raises RequestError, one sentence, if that is not possible."""
    view = view_of(form, origin)
    try:
        await show_modal(sender, origin.address.team, trigger_id, view, is_above=bool(origin.modal_id))
    except MessageGone:
        raise RequestError("The form took too long to open. Try again.") from None
    except FewshotError as e:
        logger.warning("a form could not be opened: %s", e)
        raise RequestError("Slack did not open the form. Try again in a minute.") from None


async def show_modal(sender: Sender, team: str, trigger_id: str, view: Json, *, is_above: bool) -> None:
    """Open a modal, `is_above` the one in which the trigger was issued.

    Raises what the sender raises; MessageGone if the trigger has expired.
    """
    await sender.open_modal(team, trigger_id, view, is_above=is_above, deadline_s=_OPENING_S)


def view_of(form: Form, origin: Origin) -> Json:
    """Return `form` as a modal that is opened at `origin`."""
    place = {
        "team": origin.address.team,
        "channel": origin.address.channel,
        "thread": origin.address.thread,
        "kind": origin.kind,
        "clicked": str(origin.clicked) if origin.clicked else "",
        "response_url": origin.response_url,
        "is_private": origin.is_private,
        "modal_id": origin.modal_id,
        "begins_thread": origin.begins_thread,
    }
    title = " ".join(form.title.split())
    return {
        "type": "modal",
        "callback_id": f"{FORM_PREFIX}{form.id}",
        "private_metadata": json.dumps(place),
        "title": label(title, _MAX_TITLE),
        "submit": label("Submit", _MAX_TITLE),
        "close": label("Cancel", _MAX_TITLE),
        # A long title is cut, so it is above the fields too.
        "blocks": [*([quiet(title)] if len(title) > _MAX_TITLE else []), *map(_input, form.fields)],
    }


def read_submission(view: Mapping[str, Any]) -> Submission | None:
    """Return the form that was submitted with `view`; None for any other view."""
    callback_id = str(view.get("callback_id", ""))
    if not callback_id.startswith(FORM_PREFIX):
        return None
    files = {name: given[0] for name, element in _elements_in(view) if (given := element.get("files"))}
    place = json.loads(view.get("private_metadata") or "{}")
    return Submission(callback_id.removeprefix(FORM_PREFIX), _origin(place), _values_in(view), files)


def _elements_in(view: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the inputs of a submitted form with what was entered, by the field's name."""
    stated = (view.get("state") or {}).get("values") or {}
    return [(name, next(iter(elements.values()), {})) for name, elements in stated.items()]


def _values_in(view: Mapping[str, Any]) -> dict[str, str]:
    return {name: _value_of(element) for name, element in _elements_in(view)}


def _origin(place: Mapping[str, Any]) -> Origin:
    clicked = place.get("clicked")
    return Origin(
        Address(place.get("team", ""), place.get("channel", ""), place.get("thread", "")),
        SlackId.parse(clicked) if clicked else None,
        place.get("kind", "server"),
        place.get("response_url", ""),
        is_private=bool(place.get("is_private")),
        modal_id=place.get("modal_id", ""),
        begins_thread=bool(place.get("begins_thread")),
    )


def field_errors(view: Mapping[str, Any], sentence: str) -> Json:
    """Return the acknowledgement that keeps the modal open, with `sentence` at the field that it names."""
    names = [str(block.get("block_id")) for block in view.get("blocks", []) if block.get("type") == "input"]
    name = _field_with_slot(sentence, names, _values_in(view)) or _named_field(sentence, names)
    return {"response_action": "errors", "errors": {name: shorten(" ".join(sentence.split()), _MAX_ERROR)}}


def _field_with_slot(sentence: str, names: Sequence[str], values: Mapping[str, str]) -> str | None:
    """Return the first field whose text has the slot, such as $input, that `sentence` is about."""
    slot = _SLOT.search(sentence)
    if slot is None:
        return None
    return next((name for name in names if slot[0] in _SLOT.findall(values.get(name, ""))), None)


def _named_field(sentence: str, names: Sequence[str]) -> str:
    """Return the field that `sentence` names first, by default the first one."""
    places = {}
    for name in names:
        word = re.escape(name.removeprefix("more_").removesuffix("s"))
        words = rf"(?<![$\w]){word}" + (rf"|{_SLOT.pattern}" if name == "query" else "")
        if found := re.search(words, sentence, re.IGNORECASE):
            places[found.start()] = name
    return places[min(places)] if places else names[0]


def _value_of(element: Mapping[str, Any]) -> str:
    if "selected_option" in element:
        return str((element["selected_option"] or {}).get("value", ""))
    return str(element.get("value") or "")


def _input(field: FormField) -> Json:
    hint = field.help
    element: Json
    if field.kind == "choice":
        element = _select(field)
    elif field.kind == "file":
        element = {"type": "file_input", "action_id": _VALUE, "max_files": 1}
    else:
        limit = min(field.max_characters or MAX_FORM_CHARACTERS, MAX_FORM_CHARACTERS)
        value = cut_text(field.value, limit)
        if len(value) < len(field.value):
            hint = f"Only the first {len(value):,} of {len(field.value):,} characters fit here; the rest is cut."
        # A single line would lose the line breaks of the present value.
        is_long = field.kind == "paragraph" or "\n" in value
        element = {"type": "plain_text_input", "action_id": _VALUE, "multiline": is_long, "max_length": limit}
        if value:
            element["initial_value"] = value
    block: Json = {
        "type": "input",
        "block_id": field.name,
        "label": label(field.label, _MAX_LABEL),
        "element": element,
        "optional": not field.is_required,
    }
    if hint:
        block["hint"] = label(hint, _MAX_HINT)
    return block


def _select(field: FormField) -> Json:
    options = field.options[:MAX_OPTIONS]
    element: Json = {
        "type": "static_select",
        "action_id": _VALUE,
        "options": [_option(option) for option in options],
    }
    for option in options:
        if option.is_chosen or (field.value and option.value == field.value):
            element["initial_option"] = _option(option)
    return element


def _option(option: SelectOption) -> Json:
    shown: Json = {"text": label(option.label, _MAX_LABEL), "value": option.value}
    return {**shown, "description": label(option.help, _MAX_LABEL)} if option.help else shown
