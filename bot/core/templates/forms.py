"""Templates as forms: the fields of a template, and the template made from their values."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, cast

from bot.core.cards import FormField
from bot.core.sampling_params import PRESETS, WARPERS
from bot.core.templates.body import CHAT_QUERY, Kind
from bot.core.templates.lines import format_rows, parse_rows
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import Example, PromptTemplate, default_stop
from bot.core.wording import quote
from bot.errors import RequestError, TemplateError

# Rows that no line can hold, as JSON: pairs of input and output, which may be empty. Only a page writes such a field.
TABLE_SUFFIX: Final = "_table"
_LINE_FIELDS: Final = frozenset(["examples", "tests", "more_examples", "more_tests"])
ROW_FIELD_NAMES: Final = _LINE_FIELDS | {f"examples{TABLE_SUFFIX}", f"tests{TABLE_SUFFIX}"}
FIELD_NAMES: Final = _LINE_FIELDS | {"description", "instruction", "query", "labels", "file"}
OWN_PRESET: Final = "own"
# The options that a preset sets: if the template sets one itself, it overrides the preset.
_DECIDED_BY_PRESETS: Final = ("preset", *WARPERS, "num_beams", "n")
_EXAMPLES_LINE: Final = re.compile(r"^[^\S\n]*\$(?:examples|\{examples\})[^\S\n]*$", re.MULTILINE)

SKELETON: Final = """+++
description = ""
kind = "complete"

# Examples show the model what to do. Repeat these three lines for each.
# [[examples]]
# input = "cat"
# output = "chat"

# Tests measure the template; the model never sees them.
# [[tests]]
# input = "dog"
# output = "chien"
+++
What the model is told first.

$examples
$input ->
"""


def blank_template(name: str) -> PromptTemplate:
    """Return the start of a new template; it is not valid until it has a description."""
    return PromptTemplate(name=name, kind="complete", description="", instruction="", query="$input", is_multiline=True)


def preset_of(template: PromptTemplate) -> str:
    """Return the sampling preset of `template`, OWN_PRESET if it has options of its own instead."""
    if "preset" in template.sampling:
        return str(template.sampling["preset"])
    has_own = any(name in template.sampling for name in _DECIDED_BY_PRESETS)
    return OWN_PRESET if has_own else "normal"


def text_fields(
    template: PromptTemplate, typed: Mapping[str, str] | None = None, *, max_characters: int | None = None
) -> tuple[FormField, ...]:
    """Return the fields of everything but the rows; `typed` has earlier values that were not valid.

    `max_characters` is the most that one field can hold; a field with a longer value is left out, not cut.
    """
    typed = typed or {}
    kind = typed.get("kind", template.kind)
    fields = [
        _field("description", "Description", template.description, typed, "What the template is for, in one line."),
        _field(
            "instruction",
            "Instruction",
            template.instruction.strip("\n"),
            typed,
            "What the model reads first, above the examples. Optional.",
        ),
    ]
    if kind != "chat":
        query = "$input" if template.kind == "chat" else template.query
        hint = "How the model is asked about one text; $input stands for the text."
        fields.append(_field("query", "Query", query, typed, hint))
        hint = "The possible answers, by commas or one per line. Leave this empty for free text."
        fields.append(_field("labels", "Labels", format_labels(template.labels), typed, hint))
    hint = "A file replaces all fields above, and may be longer."
    fields.append(FormField("file", "Or a .prompt file", "file", help=hint, is_required=False))
    # A form would cut a value that is too long.
    return tuple(field for field in fields if field.kind == "file" or _fits(field.value, max_characters))


def row_fields(
    template: PromptTemplate, typed: Mapping[str, str] | None = None, *, max_characters: int | None = None
) -> tuple[FormField, ...]:
    """Return the fields of examples and tests, as lines; above `max_characters`, a field for more rows instead."""
    typed = typed or {}
    fields = []
    hints = {
        "examples": "One per line: input => output. The model reads them.",
        "tests": "One per line: input => output. They measure the template; the model never reads them.",
    }
    for name, rows in (("examples", template.examples), ("tests", template.tests)):
        if f"more_{name}" not in typed and f"{name}{TABLE_SUFFIX}" not in typed:
            try:
                value = typed.get(name, format_rows(rows))
            except RequestError:
                value = None
            if value is not None and _fits(value, max_characters):
                label = name.capitalize()
                fields.append(FormField(name, label, "paragraph", help=hints[name], value=value, is_required=False))
                continue
        value = typed.get(f"more_{name}", "")
        num_rows = len(rows_of_table(rows, name, {**typed, f"more_{name}": ""}))
        hint = f"The {num_rows} existing {name} don't fit a form. Rows that you write here are added to them."
        fields.append(FormField(f"more_{name}", f"More {name}", "paragraph", help=hint, value=value, is_required=False))
    return tuple(fields)


def _fits(value: str, max_characters: int | None) -> bool:
    return max_characters is None or len(value) <= max_characters


def _field(name: str, label: str, value: str, typed: Mapping[str, str], hint: str) -> FormField:
    """Return a field with its current value, or the one typed before.

    No field is required: a file can replace them, and a missing value is reported without losing the rest.
    """
    value = typed.get(name, value)
    kind: Literal["line", "paragraph"] = "line" if name == "description" else "paragraph"
    return FormField(name, label, kind, help=hint, value=value, is_required=False)


def format_labels(labels: Sequence[str]) -> str:
    """Return `labels` as a person types them."""
    return "\n".join(labels) if any("," in label for label in labels) else ", ".join(labels)


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the labels in `text`: one per line if it has several lines, else separated by commas."""
    text = text.replace("\r\n", "\n").strip()
    parts = text.split("\n") if "\n" in text else text.split(",")
    return tuple(part.strip() for part in parts if part.strip())


def apply_values(base: PromptTemplate, values: Mapping[str, str]) -> PromptTemplate:
    """Return `base` changed by the `values` of a form's fields; a missing field changes nothing.

    The fields are those of `text_fields` and `row_fields`, `kind`, `preset` and `options` (lines such as "top_k 3").
    Raises RequestError, one sentence, if the result is not a valid template.
    """
    if values.get("file", "").strip():
        return read_file(values["file"], base.name)
    template = _with_texts(base, values)
    if "options" in values:
        template = _with_options(template, values.get("preset"), values["options"])
    else:
        template = _with_preset(template, values.get("preset"))
    rows = {name: _rows(template, name, values) for name in ("examples", "tests")}
    template = replace(template, examples=rows["examples"], tests=rows["tests"])
    has_slot = template.has_examples_slot or bool(template.examples)
    if template.kind != "chat":
        has_slot = (has_slot or bool(template.instruction)) and not _EXAMPLES_LINE.search(template.query)
    template = replace(template, has_examples_slot=has_slot)
    return checked(with_default_stop(template, base))


def with_default_stop(template: PromptTemplate, base: PromptTemplate) -> PromptTemplate:
    """Return `template`, made from `base`, with the default stop texts if `base` had them or was of another kind."""
    if base.stop != default_stop(base.kind, base.examples, base.example_separator) and template.kind == base.kind:
        return template
    return replace(template, stop=default_stop(template.kind, template.examples, template.example_separator))


def checked(template: PromptTemplate) -> PromptTemplate:
    """Return `template` as parsed from its own file. Raises RequestError, one sentence, for the first broken rule."""
    for what, rows in (("Example", template.examples), ("Test", template.tests)):
        for i, row in enumerate(rows, start=1):
            if len(template.labels) > 1 and row.output not in template.labels:
                problem = f"{what} {i} has the output {quote(row.output)}, which is not a label."
                raise RequestError(f"{problem} Change the labels or the row.")
    try:
        return parse_template(format_template(template), name=template.name, source=template.name)
    except TemplateError as e:
        # The writer has not seen this file, so its line numbers mean nothing to them.
        raise RequestError(e.problem) from e


def read_file(text: str, name: str) -> PromptTemplate:
    """Return the template of a prompt file. Raises RequestError that names the line."""
    try:
        return parse_template(text, name=name, source=name)
    except TemplateError as e:
        raise RequestError(f"Line {e.line} of the file: {e.problem}" if e.line else e.problem) from e


def _with_texts(base: PromptTemplate, values: Mapping[str, str]) -> PromptTemplate:
    labels = parse_labels(values["labels"]) if "labels" in values else base.labels
    kind = values.get("kind")
    if kind is None:
        kind = "classify" if base.kind == "complete" and labels else base.kind
    template = _as_kind(base, cast(Kind, kind))
    template = replace(template, labels=labels if kind == "classify" else ())
    if "description" in values:
        template = replace(template, description=values["description"].strip())
    if "instruction" in values:
        template = replace(template, instruction=_instruction(values["instruction"], template.instruction))
    if "query" in values and kind != "chat":
        template = replace(template, query=_kept(values["query"], template.query))
    return template


def _as_kind(template: PromptTemplate, kind: Kind) -> PromptTemplate:
    """Return `template` as another kind, without the parts that this kind does not have."""
    if kind == template.kind:
        return template
    is_chat = kind == "chat"
    return replace(
        template,
        kind=kind,
        query=CHAT_QUERY if is_chat else "$input" if template.kind == "chat" else template.query,
        separator=" " if is_chat else template.separator,
        example_separator="\n" if is_chat else template.example_separator,
        is_multiline=kind == "complete",
        markup="auto",
        sampling={} if kind == "classify" else template.sampling,
        neighbours=None,
    )


def _with_preset(template: PromptTemplate, preset: str | None) -> PromptTemplate:
    if preset not in PRESETS or preset == preset_of(template):
        return template
    sampling = {name: value for name, value in template.sampling.items() if name not in _DECIDED_BY_PRESETS}
    return replace(template, sampling={"preset": preset, **sampling})


def format_options(template: PromptTemplate) -> str:
    """Return the sampling options of `template` but the preset, one on each line."""
    return "\n".join(f"{name} {value}" for name, value in template.sampling.items() if name != "preset")


def _with_options(template: PromptTemplate, preset: str | None, lines: str) -> PromptTemplate:
    """Return `template` with the options in `lines` over a preset. Raises RequestError for a line that is none."""
    if template.kind == "classify":
        return template
    sampling = {"preset": template.sampling["preset"]} if "preset" in template.sampling else {}
    if preset is not None and preset != preset_of(template):
        sampling = {"preset": preset} if preset in PRESETS else {}
    for line in lines.split("\n"):
        if not line.strip():
            continue
        name, _, value = line.replace("=", " ").strip().partition(" ")
        try:
            number = float(value)
        except ValueError:
            raise RequestError(
                f"{quote(line.strip())} is no option. Write a name and a number on each line, as in temperature 0.5."
            ) from None
        sampling[name] = int(number) if number.is_integer() and "." not in value else number
    return replace(template, sampling=sampling)


def _rows(template: PromptTemplate, name: str, values: Mapping[str, str]) -> tuple[Example, ...]:
    rows: tuple[Example, ...] = getattr(template, name)
    labels = template.labels
    try:
        if name in values:
            return parse_rows(values[name], labels=labels)
        if f"{name}{TABLE_SUFFIX}" in values:
            rows = tuple(row for row in rows_of_table(rows, name, values) if row.input.strip() or row.output.strip())
        return (*rows, *parse_rows(values.get(f"more_{name}", ""), labels=labels))
    except RequestError as e:
        raise RequestError(f"{name.capitalize()}: {e}") from e


def rows_of_table(rows: Sequence[Example], name: str, values: Mapping[str, str]) -> tuple[Example, ...]:
    """Return the rows that a form's `values` have under `name`, as far as they can be read; without any, `rows`."""
    if name in values:
        try:
            return parse_rows(values[name])
        except RequestError:
            return tuple(rows)
    table = values.get(f"{name}{TABLE_SUFFIX}")
    found = tuple(rows) if table is None else tuple(Example(input, output) for input, output in json.loads(table))
    try:
        return (*found, *parse_rows(values.get(f"more_{name}", "")))
    except RequestError:
        return found


def _instruction(typed: str, before: str) -> str:
    typed = typed.replace("\r\n", "\n")
    if typed.strip() == before.strip():
        return before
    typed = typed.strip("\n").rstrip()
    if not typed:
        return ""
    # The blank line below the instruction is part of it, but the form does not show it.
    ending = before[len(before.rstrip("\n")) :] if before.strip() else "\n\n"
    return typed + (ending or "\n")


def _kept(typed: str, before: str) -> str:
    """Return what was typed, or the text from before if only outer white space or line breaks differ."""
    typed = typed.replace("\r\n", "\n")
    return before if typed.strip() == before.strip() else typed.strip("\n").rstrip()
