"""Forms as Discord's modals: built from a Form, and read back from what is sent in.

No object waits for a form: its id is in the modal's custom_id and its state in the store, so one that was open while
the bot restarted is read like any other. `modal_of` gives a modal that discord.py does not keep (`send_modal` stores
unfinished ones only); when the form is sent in, discord.py finds no modal of that name, says so at DEBUG level, and
dispatches `on_interaction` as it does for everything that comes in. `read_submission` answers None for whatever is not
one of these forms.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import discord

from bot.core.cards import Form, FormField
from bot.core.safe_text import cut_text
from bot.platforms.discord.traits import MAX_FORM_CHARACTERS, MAX_OPTIONS

FORM_ID_PREFIX: Final = "fewshot-form:"
MAX_FIELDS: Final = 5
MAX_TITLE: Final = 45
MAX_LABEL: Final = 45
MAX_HELP: Final = 100

_ACTION_ROW: Final = discord.ComponentType.action_row.value
_LABEL: Final = discord.ComponentType.label.value
_FILE_UPLOAD: Final = discord.ComponentType.file_upload.value


@dataclass(frozen=True, slots=True)
class Submission:
    """A form as it was sent in: texts and chosen values by field name, and uploaded files, not fetched yet."""

    form_id: str
    values: Mapping[str, str]
    files: Mapping[str, discord.Attachment]


def modal_of(form: Form) -> discord.ui.Modal:
    """Return `form` as a modal that is ready to be sent. Needs a running event loop, as discord.py's modals do."""
    if not 1 <= len(form.fields) <= MAX_FIELDS:
        raise ValueError(f"a form has 1 to {MAX_FIELDS} fields, not {len(form.fields)}")
    modal = discord.ui.Modal(title=_cut(form.title, MAX_TITLE), custom_id=FORM_ID_PREFIX + form.id, timeout=None)
    for field in form.fields:
        modal.add_item(_label_of(field))
    # A finished modal is not stored, so nothing piles up for forms that are closed without being sent.
    modal.stop()
    return modal


def read_submission(interaction: discord.Interaction[Any]) -> Submission | None:
    """Return the form that `interaction` sends in; None where it is anything else."""
    data: Mapping[str, Any] = interaction.data or {}
    custom_id = data.get("custom_id", "")
    if interaction.type is not discord.InteractionType.modal_submit or not custom_id.startswith(FORM_ID_PREFIX):
        return None
    uploaded = data.get("resolved", {}).get("attachments", {})
    values: dict[str, str] = {}
    files: dict[str, discord.Attachment] = {}
    for component in _inputs(data.get("components", [])):
        name = component["custom_id"]
        given = component.get("values") or []
        if component["type"] == _FILE_UPLOAD:
            if given and given[0] in uploaded:
                files[name] = discord.Attachment(data=uploaded[given[0]], state=interaction._state)
            values[name] = ""
        else:
            values[name] = component["value"] if "value" in component else "".join(given[:1])
    return Submission(custom_id.removeprefix(FORM_ID_PREFIX), values, files)


def _inputs(components: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield what was filled in, out of the labels and rows around it."""
    for component in components:
        if component["type"] == _LABEL:
            yield from _inputs([component["component"]])
        elif component["type"] == _ACTION_ROW:
            yield from _inputs(component["components"])
        elif "custom_id" in component:
            yield component


def _label_of(field: FormField) -> discord.ui.Label[Any]:
    help_text = field.help
    limit = min(field.max_characters or MAX_FORM_CHARACTERS, MAX_FORM_CHARACTERS)
    item: discord.ui.Item[Any]
    if field.kind == "choice":
        item = _select_of(field)
    elif field.kind == "file":
        min_values = 1 if field.is_required else 0
        item = discord.ui.FileUpload(
            custom_id=field.name, required=field.is_required, min_values=min_values, max_values=1
        )
    else:
        value = cut_text(field.value, limit)
        if len(value) < len(field.value):
            help_text = f"Only the first {len(value):,} of {len(field.value):,} characters fit here; the rest is cut."
        # A single line would lose the breaks of the text that stands there already.
        is_long = field.kind == "paragraph" or "\n" in value
        item = discord.ui.TextInput(
            custom_id=field.name,
            style=discord.TextStyle.paragraph if is_long else discord.TextStyle.short,
            default=value or None,
            required=field.is_required,
            max_length=limit,
        )
    description = _cut(help_text, MAX_HELP) or None
    return discord.ui.Label(text=_cut(field.label, MAX_LABEL), description=description, component=item)


def _select_of(field: FormField) -> discord.ui.Select[Any]:
    options = [
        discord.SelectOption(
            label=_cut(option.label, 100),
            value=option.value,
            description=_cut(option.help, 100) or None,
            default=option.is_chosen or (bool(field.value) and option.value == field.value),
        )
        for option in field.options[:MAX_OPTIONS]
    ]
    min_values = 1 if field.is_required else 0
    return discord.ui.Select(
        custom_id=field.name, options=options, required=field.is_required, min_values=min_values, max_values=1
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{cut_text(text, limit - 1).rstrip()}…"
