"""Forms as modals: built from a Form, and read from the modal's submission.

No object waits for a submission: the form's id is in the modal's custom_id and its state in the store, so a modal that
was open during a restart of the bot works. discord.py does not keep the modals of `modal_of` (`send_modal` stores only
unfinished ones). When one is submitted, discord.py finds no such modal, logs that at DEBUG, and dispatches
`on_interaction` as for every interaction.
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
    """A submitted form: texts and chosen values by field name, and uploaded files, not downloaded yet."""

    form_id: str
    values: Mapping[str, str]
    files: Mapping[str, discord.Attachment]


def modal_of(form: Form) -> discord.ui.Modal:
    """Return `form` as a modal that is ready to send. Needs a running event loop, like every discord.py modal."""
    if not 1 <= len(form.fields) <= MAX_FIELDS:
        raise ValueError(f"a form has 1 to {MAX_FIELDS} fields, not {len(form.fields)}")
    modal = discord.ui.Modal(title=_cut(form.title, MAX_TITLE), custom_id=FORM_ID_PREFIX + form.id, timeout=None)
    for field in form.fields:
        modal.add_item(_label_of(field))
    # discord.py does not store a finished modal, so forms that are closed without a submission use no memory.
    modal.stop()
    return modal


def read_submission(interaction: discord.Interaction[Any]) -> Submission | None:
    """Return the form that `interaction` submits; None for any other interaction."""
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
    """Yield the inputs inside labels and rows."""
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
        # A single line would lose the line breaks of the present value.
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
