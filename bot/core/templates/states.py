"""A template as a page edits it: fields and rows that need not be valid yet, and what two people did to it, joined."""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from bot.core.sampling_params import PRESETS
from bot.core.templates.body import KINDS, Kind
from bot.core.templates.forms import (
    OWN_PRESET,
    TABLE_SUFFIX,
    apply_values,
    format_options,
    parse_labels,
    preset_of,
    rows_of_table,
    with_default_stop,
)
from bot.core.templates.lines import fits_line, format_rows
from bot.core.templates.parsing import MAX_TEMPLATE_BYTES
from bot.core.templates.template import Example, PromptTemplate
from bot.errors import RequestError

# More than any prompt file can hold, since that has a limit too; what is typed need not be valid yet.
MAX_TABLE_ROWS: Final = 2_000
MAX_CHARACTERS: Final = 4 * MAX_TEMPLATE_BYTES
TABLES: Final = ("examples", "tests")
_TEXTS: Final = ("description", "instruction", "query", "options")
_NO_LISTS: Final = "A template's state has lists of labels and of rows."
_FIELDS: Final = (*_TEXTS, "kind", "preset", "labels", *TABLES)


@dataclass(frozen=True, slots=True)
class TemplateState:
    """What somebody has typed. Rows may be empty or half filled, and no rule of the prompt file has to hold.

    `options` are lines such as "temperature 0.5"; they win over the preset.
    """

    description: str = ""
    kind: Kind = "complete"
    instruction: str = ""
    query: str = "$input"
    preset: str = "normal"
    options: str = ""
    labels: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    tests: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Clash:
    """A field that both people changed, and what the other one made of it. The own text is kept."""

    field: str
    theirs: Any


def state_of(template: PromptTemplate) -> TemplateState:
    """Return what a page shows of a valid template."""
    return TemplateState(
        description=template.description,
        kind=template.kind,
        instruction=template.instruction.strip("\n"),
        query="" if template.kind == "chat" else template.query,
        preset=preset_of(template),
        options=format_options(template),
        labels=template.labels,
        examples=template.examples,
        tests=template.tests,
    )


def read_state(value: object) -> TemplateState:
    """Return the state in a JSON object. Raises RequestError if it is none."""
    if not isinstance(value, Mapping):
        raise RequestError("A template's state is an object.")
    texts: dict[str, Any] = {name: value.get(name, "") for name in (*_TEXTS, "kind", "preset")}
    labels, tables = value.get("labels", []), [value.get(name, []) for name in TABLES]
    if not all(isinstance(text, str) for text in texts.values()) or texts["kind"] not in KINDS:
        raise RequestError("A template's state has a kind and texts.")
    if not isinstance(labels, list) or not all(isinstance(rows, list) for rows in tables):
        raise RequestError(_NO_LISTS)
    check_num_rows(max(map(len, tables)))
    if not _are_texts(labels) or not all(all(map(_is_row, rows)) for rows in tables):
        raise RequestError(_NO_LISTS)
    cells = (cell for rows in tables for row in rows for cell in row)
    num_characters = sum(map(len, (*texts.values(), *labels, *cells)))
    if num_characters > MAX_CHARACTERS:
        raise RequestError(
            f"The template has {num_characters:,} characters, at most {MAX_CHARACTERS:,}. Shorten it to save it."
        )
    if texts["preset"] not in (*PRESETS, OWN_PRESET):
        texts["preset"] = "normal"
    examples, tests = (tuple(Example(row[0], row[1]) for row in rows) for rows in tables)
    return TemplateState(
        **texts,
        labels=tuple(one.strip() for one in labels if one.strip()),
        examples=examples,
        tests=tests,
    )


def check_num_rows(num_rows: int) -> None:
    """Raise RequestError for more rows than a table may have."""
    if num_rows > MAX_TABLE_ROWS:
        raise RequestError(f"The table has {num_rows:,} rows, at most {MAX_TABLE_ROWS:,}. Take a part of them.")


def state_json(state: TemplateState) -> dict[str, Any]:
    """Return a state as the JSON object that `read_state` reads."""
    data: dict[str, Any] = {one.name: getattr(state, one.name) for one in fields(state)}
    rows = {name: [[row.input, row.output] for row in getattr(state, name)] for name in TABLES}
    return {**data, "labels": list(state.labels), **rows}


def apply_state(base: PromptTemplate, state: TemplateState) -> PromptTemplate:
    """Return `base` with what `state` says; empty rows are dropped. Raises RequestError, one sentence, if not valid."""
    rows = {name: _filled(name, getattr(state, name)) for name in TABLES}
    start = with_default_stop(replace(base, examples=rows["examples"], tests=rows["tests"]), base)
    query = "$input" if state.kind != "chat" and base.kind == "chat" and not state.query.strip() else state.query
    texts = {
        "description": state.description,
        "instruction": state.instruction,
        "query": query,
        "labels": "\n".join(state.labels),
        "kind": state.kind,
        "preset": state.preset,
        "options": state.options,
    }
    return apply_values(start, texts)


def _filled(name: str, rows: Sequence[Example]) -> tuple[Example, ...]:
    what, found = name.removesuffix("s").capitalize(), []
    for number, row in enumerate(rows, start=1):
        if not row.input.strip() and not row.output.strip():
            continue
        for part, text in (("input", row.input), ("output", row.output)):
            if not text.strip():
                raise RequestError(f"{what} {number} has no {part}. Fill it in, or remove the row.")
        found.append(Example(row.input, row.output.strip()))
    return tuple(found)


def values_of(state: TemplateState) -> dict[str, str]:
    """Return a state that is not valid as the values of a form, so that every platform can go on with it."""
    values = {name: getattr(state, name) for name in (*_TEXTS, "kind", "preset")}
    values["labels"] = "\n".join(state.labels)
    for name in TABLES:
        rows: tuple[Example, ...] = getattr(state, name)
        if all(map(fits_line, rows)):
            values[name] = format_rows(rows)
        else:
            # A line can hold neither a half-filled row nor one with line breaks.
            values[f"{name}{TABLE_SUFFIX}"] = json.dumps([[row.input, row.output] for row in rows], ensure_ascii=False)
    return values


def state_of_values(start: PromptTemplate, values: Mapping[str, str]) -> TemplateState:
    """Return what a page shows of a form's `values` that were not valid, over the template `start`."""
    state = state_of(start)
    texts: dict[str, Any] = {name: values[name] for name in _TEXTS if name in values}
    if values.get("kind") in KINDS:
        texts["kind"] = values["kind"]
    state = replace(state, **texts)
    if "labels" in values:
        state = replace(state, labels=parse_labels(values["labels"]))
    elif state.kind == "classify" and start.kind != "classify":
        state = replace(state, labels=())
    if values.get("preset") in PRESETS:
        state = replace(state, preset=values["preset"])
    rows = {name: rows_of_table(getattr(start, name), name, values) for name in TABLES}
    return replace(state, examples=rows["examples"], tests=rows["tests"])


def join_states(
    base: TemplateState, mine: TemplateState, theirs: TemplateState
) -> tuple[TemplateState, tuple[Clash, ...]]:
    """Return `mine` with what `theirs` changed since `base`, and the fields that both changed in different ways.

    Texts are joined as a whole, labels and rows one by one: added rows of both are kept, and a row that one removed and
    the other left alone is gone. In a clash `mine` wins.
    """
    changes: dict[str, Any] = {}
    clashes: list[Clash] = []
    for name in _FIELDS:
        old, own, other = getattr(base, name), getattr(mine, name), getattr(theirs, name)
        if other in (old, own):
            continue
        if own == old:
            changes[name] = other
        elif name in TABLES or name == "labels":
            changes[name] = _joined_lists(old, own, other)
        else:
            clashes.append(Clash(name, other))
    return replace(mine, **changes), tuple(clashes)


def _joined_lists(old: Sequence[Any], own: Sequence[Any], other: Sequence[Any]) -> tuple[Any, ...]:
    """Return `own` without what `other` removed from `old`, and with what `other` added, after its neighbour there."""
    removed = Counter(old) - Counter(other)
    kept = []
    for one in own:
        if removed[one] > 0:
            removed[one] -= 1
        else:
            kept.append(one)
    added = Counter(other) - Counter(old)
    # What both added is there once.
    missing = added - (Counter(kept) - Counter(old))
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for i, one in enumerate(kept):
        places[one].append(i)
    new_at: defaultdict[int, list[Any]] = defaultdict(list)  # by the place in `kept` before which they belong
    place = 0
    for one in other:
        if missing[one] > 0:
            missing[one] -= 1
            new_at[place].append(one)
        elif one in places and places[one][-1] >= place:
            place = places[one][bisect_left(places[one], place)] + 1
    return tuple(one for i in range(len(kept) + 1) for one in (*new_at[i], *kept[i : i + 1]))


def _are_texts(values: Sequence[object]) -> bool:
    return all(isinstance(one, str) for one in values)


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) == 2 and _are_texts(row)
