"""Prompt files: parsing, with errors that name file, line and nearest valid name, and canonical formatting."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from bot.core.foreign_options import advise_option
from bot.core.sampling_params import OPTIONS, PRESETS, SamplingParams, apply_options
from bot.core.suggesting import suggest
from bot.core.templates.body import KINDS, Kind, read_body
from bot.core.templates.front_matter import FENCE, LineIndex, parse_front_matter, split_file, toml_string
from bot.core.templates.template import (
    MARKUPS,
    Example,
    Markup,
    Neighbours,
    PromptTemplate,
    check_template_name,
    default_stop,
)
from bot.core.wording import list_words, quote
from bot.errors import RequestError, TemplateError

MAX_TEMPLATE_BYTES: Final = 64 * 1024
MAX_LABELS: Final = 50
MAX_STOPS: Final = 16
MAX_STOP_CHARACTERS: Final = 200
MAX_MODEL_CHARACTERS: Final = 200

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# The kinds that have each key, in the order in which keys are written.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "description": KINDS,
    "kind": KINDS,
    "model": KINDS,
    "labels": ("classify",),
    "separator": ("complete", "classify"),
    "example_separator": ("complete", "classify"),
    "multiline": ("complete", "classify"),
    "markup": ("chat",),
    "stop": ("complete", "chat"),
    "sampling": ("complete", "chat"),
    "neighbours": ("classify",),
    "examples": KINDS,
    "tests": KINDS,
}
_SAMPLING_KEYS: Final = ("preset", *OPTIONS)
# The keys of [neighbours], with the field, the lowest and the highest value of each.
_NEIGHBOUR_KEYS: Final[Mapping[str, tuple[str, int, int]]] = {
    "in_prompt": ("num_in_prompt", 0, 1000),
    "nearest": ("num_nearest", 1, 1000),
    "weight": ("weight", 0, 1),
}


def parse_template(text: str, *, name: str, source: str) -> PromptTemplate:
    """Return the template in a prompt file. Errors name it `source`.

    Raises TemplateError, one sentence with source, line and nearest valid name, for the first broken rule.
    """
    check_template_name(name, source=source)
    text = _normalise(text, source=source)
    halves = split_file(text, source=source)
    values = parse_front_matter(halves.front_matter, source=source)
    reader = _Reader(values, LineIndex(halves.front_matter), source)
    kind = reader.kind()
    labels = reader.labels() if kind == "classify" else ()
    body = read_body(halves.body, halves.body_line, kind, source)
    examples, tests = reader.rows("examples", labels), reader.rows("tests", labels)
    if examples and not body.has_examples_slot:
        raise reader.error("There are [[examples]], but the text has no line $examples for them.", "examples")
    separator = reader.text("separator", default=" ")
    example_separator = reader.text("example_separator", default="\n")
    if not example_separator:
        raise reader.error("example_separator can't be empty.", "example_separator")
    stop = reader.stop(default=default_stop(kind, examples, example_separator))
    if kind == "complete" and any(text in separator for text in stop):
        problem = "The separator contains a stop text, so every answer would be empty. Choose another stop text."
        raise reader.error(problem, "stop" if "stop" in values else "separator")
    return PromptTemplate(
        name=name,
        kind=kind,
        description=reader.description(),
        instruction=body.instruction,
        query=body.query,
        has_examples_slot=body.has_examples_slot,
        examples=examples,
        tests=tests,
        labels=labels,
        separator=separator,
        example_separator=example_separator,
        is_multiline=reader.flag("multiline", default=kind == "complete"),
        markup=cast(Markup, reader.choice("markup", MARKUPS, default="auto")),
        stop=stop,
        sampling=reader.sampling(),
        model=reader.model(),
        neighbours=reader.neighbours(),
        source=source,
        source_text=text,
        version=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def format_template(template: PromptTemplate) -> str:
    """Return the canonical prompt file of `template`; it parses back to an equal template."""
    lines = [FENCE, f"description = {toml_string(template.description)}", f"kind = {toml_string(template.kind)}"]
    if template.model:
        lines.append(f"model = {toml_string(template.model)}")
    if template.labels:
        lines.append(f"labels = {_toml_list(template.labels)}")
    if template.separator != " ":
        lines.append(f"separator = {toml_string(template.separator)}")
    if template.example_separator != "\n":
        lines.append(f"example_separator = {toml_string(template.example_separator)}")
    if template.is_multiline != (template.kind == "complete"):
        lines.append(f"multiline = {str(template.is_multiline).lower()}")
    if template.markup != "auto":
        lines.append(f"markup = {toml_string(template.markup)}")
    if template.stop != default_stop(template.kind, template.examples, template.example_separator):
        lines.append(f"stop = {_toml_list(template.stop)}")
    if template.sampling:
        lines.append("[sampling]")
        for name, value in template.sampling.items():
            lines.append(f"{name} = {toml_string(value) if isinstance(value, str) else repr(value)}")
    if template.neighbours is not None:
        lines.append("[neighbours]")
        lines += [f"{key} = {getattr(template.neighbours, names[0])!r}" for key, names in _NEIGHBOUR_KEYS.items()]
    for table, rows in (("examples", template.examples), ("tests", template.tests)):
        for row in rows:
            lines += [f"[[{table}]]", f"input = {toml_string(row.input)}", f"output = {toml_string(row.output)}"]
    slot = "$examples\n" if template.has_examples_slot else ""
    return "\n".join(lines) + f"\n{FENCE}\n{template.instruction}{slot}{template.query}\n"


class _Reader:
    """Reads typed values from the front matter; each error is one sentence with its line."""

    def __init__(self, values: Mapping[str, Any], lines: LineIndex, source: str) -> None:
        self._values = values
        self._lines = lines
        self._source = source

    def error(self, problem: str, *path: str | int) -> TemplateError:
        """Return an error with the line of `path`, or the front matter's first line if it has no such path."""
        return TemplateError(problem, source=self._source, line=self._lines.line_of(*path) or 1)

    def kind(self) -> Kind:
        """Return the kind; check that every key exists and is valid for it."""
        for key in self._values:
            if key not in _KEYS:
                raise self.error(f"There is no key {quote(key)}; {_hint(key, tuple(_KEYS))}", key)
        kind = cast(Kind, self.choice("kind", KINDS, default="complete"))
        for key in self._values:
            if kind not in _KEYS[key]:
                problem = f"{key} is not for kind {kind}, only for {list_words(_KEYS[key])}."
                if key == "sampling":
                    problem = f"Kind {kind} never samples. Remove [sampling]."
                raise self.error(problem, key)
        return kind

    def description(self) -> str:
        """Return the description, which is required."""
        text = self.text("description", default="").strip()
        if not text:
            raise self.error("The description is missing. Say in one line what the template is for.", "description")
        if "\n" in text:
            raise self.error("The description must be one line.", "description")
        return text

    def model(self) -> str:
        """Return the name of the model that answers, "" if the file names none."""
        name = self.text("model", default="").strip()
        if "model" in self._values and not (name and name.isprintable() and len(name) <= MAX_MODEL_CHARACTERS):
            problem = f"model takes the name of a model, of at most {MAX_MODEL_CHARACTERS} characters."
            raise self.error(problem, "model")
        return name

    def text(self, key: str, *, default: str) -> str:
        """Return the text at `key`."""
        value = self._values.get(key, default)
        if not isinstance(value, str):
            raise self.error(f"{key} takes a text in quotes, not {_type_of(value)}.", key)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the truth value at `key`."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(f"{key} takes true or false, not {_type_of(value)}.", key)
        return value

    def choice(self, key: str, choices: Sequence[str], *, default: str) -> str:
        """Return the one of `choices` at `key`."""
        value = self.text(key, default=default)
        if value not in choices:
            raise self.error(f"There is no {key} {quote(value)}; {_hint(value, choices)}", key)
        return value

    def labels(self) -> tuple[str, ...]:
        """Return the labels of a classify template, all different."""
        labels = self._texts("labels")
        if not 2 <= len(labels) <= MAX_LABELS:
            problem = f"Kind classify needs 2 to {MAX_LABELS} labels: the answers that it chooses from."
            raise self.error(problem, "labels" if labels else "kind")
        for i, label in enumerate(labels):
            if not label or label != label.strip():
                problem = f"The label {quote(label)} must not be empty, or start or end with white space."
                raise self.error(problem, "labels")
            if label in labels[:i]:
                raise self.error(f"The label {quote(label)} is in labels twice. Remove one.", "labels")
        return labels

    def stop(self, *, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return the texts that end an answer."""
        if "stop" not in self._values:
            return default
        stops = self._texts("stop")
        if len(stops) > MAX_STOPS or not all(1 <= len(stop) <= MAX_STOP_CHARACTERS for stop in stops):
            problem = f"stop takes at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARACTERS} characters."
            raise self.error(problem, "stop")
        return stops

    def _texts(self, key: str) -> tuple[str, ...]:
        values = self._values.get(key, [])
        if not isinstance(values, list):
            raise self.error(f"{key} takes a list of texts, not {_type_of(values)}.", key)
        for value in values:
            if not isinstance(value, str):
                raise self.error(f"{key} takes a list of texts, but one of them is {_type_of(value)}.", key)
        return tuple(values)

    def rows(self, table: str, labels: Sequence[str]) -> tuple[Example, ...]:
        """Return the rows under `[[table]]`; with `labels`, each output is one of them."""
        rows = self._values.get(table, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self.error(f"Write each row of {table} below its own line [[{table}]].", table)
        return tuple(self._row(table, i, row, labels) for i, row in enumerate(rows))

    def _row(self, table: str, i: int, row: Mapping[str, Any], labels: Sequence[str]) -> Example:
        names = ("input", "output")
        for key in row:
            if key in _KEYS:
                raise self.error(f"Move {key} above the first line in brackets.", table, i, key)
            if key not in names:
                problem = f"There is no key {quote(key)} in [[{table}]]; {_hint(key, names)}"
                raise self.error(problem, table, i, key)
        for key in names:
            value = row.get(key)
            if value is None:
                raise self.error(f"This row of [[{table}]] has no {key}.", table, i)
            if not isinstance(value, str):
                raise self.error(f"{key} takes a text in quotes, not {_type_of(value)}.", table, i, key)
            if not value.strip():
                raise self.error(f"The {key} is empty.", table, i, key)
        output = row["output"]
        if output != output.strip():
            raise self.error("An output must not start or end with white space.", table, i, "output")
        if labels and output not in labels:
            problem = f"The output {quote(output)} is not a label; {_hint(output, labels)}"
            raise self.error(problem, table, i, "output")
        return Example(row["input"], output)

    def neighbours(self) -> Neighbours | None:
        """Return what `[neighbours]` says, None without it."""
        if "neighbours" not in self._values:
            return None
        table = self._values["neighbours"]
        if not isinstance(table, dict):
            raise self.error("Write in_prompt, nearest and weight on their own lines below [neighbours].", "neighbours")
        for key in table:
            if key in _KEYS:
                raise self.error(f"Move {key} above the first line in brackets.", "neighbours", key)
            if key not in _NEIGHBOUR_KEYS:
                problem = f"There is no key {quote(key)} in [neighbours]; {_hint(key, tuple(_NEIGHBOUR_KEYS))}"
                raise self.error(problem, "neighbours", key)
        return Neighbours(
            num_in_prompt=int(self._neighbour_number(table, "in_prompt")),
            num_nearest=int(self._neighbour_number(table, "nearest")),
            weight=float(self._neighbour_number(table, "weight")),
        )

    def _neighbour_number(self, table: Mapping[str, Any], key: str) -> int | float:
        _, lowest, highest = _NEIGHBOUR_KEYS[key]
        if key not in table:
            raise self.error(f"[neighbours] has no {key}.", "neighbours")
        value, kinds = table[key], (int, float) if key == "weight" else (int,)
        if isinstance(value, bool) or not isinstance(value, kinds) or not lowest <= value <= highest:
            what = "a number" if key == "weight" else "a whole number"
            raise self.error(f"{key} takes {what} from {lowest} to {highest}.", "neighbours", key)
        return value

    def sampling(self) -> dict[str, Any]:
        """Return the options in `[sampling]`, each in its range and none in conflict with another."""
        options = self._values.get("sampling", {})
        if not isinstance(options, dict):
            raise self.error("Write each sampling option on its own line below [sampling].", "sampling")
        for name, value in options.items():
            if name in _KEYS:
                raise self.error(f"Move {name} above the first line in brackets.", "sampling", name)
            if name not in _SAMPLING_KEYS:
                advice = advise_option(name)
                problem = f"There is no sampling option {quote(name)}; {_hint(name, _SAMPLING_KEYS)}"
                if advice is not None:
                    problem = f"There is no sampling option {quote(name)} here. {advice}"
                raise self.error(problem, "sampling", name)
            if name == "preset":
                if not isinstance(value, str) or value not in PRESETS:
                    raise self.error(f"preset takes {list_words(tuple(PRESETS), last='or')}.", "sampling", name)
                continue
            if not isinstance(value, int | float):
                raise self.error(f"{name} takes {OPTIONS[name].takes}, not {_type_of(value)}.", "sampling", name)
            self._check(name, {name: value})
        self._check(None, options)
        return {name: value if name == "preset" else OPTIONS[name].check(value) for name, value in options.items()}

    def _check(self, name: str | None, options: Mapping[str, Any]) -> None:
        try:
            apply_options(SamplingParams(), options)
        except RequestError as e:
            raise self.error(str(e), "sampling", *([name] if name else [])) from e


def _normalise(text: str, *, source: str) -> str:
    """Return `text` without a byte order mark and with LF. Raises TemplateError for its size or invalid characters."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEMPLATE_BYTES:
        raise TemplateError(
            f"A template has at most {MAX_TEMPLATE_BYTES:,} bytes; this one has {size:,}. Shorten it.", source=source
        )
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    for pattern, what in (
        (_LONE_SURROGATE, "half a character (a lone surrogate)"),
        (_CONTROL, "a control character"),
    ):
        if found := pattern.search(text):
            problem = f"This line contains {what}, U+{ord(found[0]):04X}. Remove it."
            raise TemplateError(problem, source=source, line=text.count("\n", 0, found.start()) + 1)
    return text


def _toml_list(texts: Iterable[str]) -> str:
    return f"[{', '.join(toml_string(text) for text in texts)}]"


def _hint(name: str, names: Sequence[str]) -> str:
    """Return the hint for a name that does not exist."""
    return suggest(name, names, f"use {list_words(names, last='or')}.")


def _type_of(value: object) -> str:
    """Return the type of a TOML value in words."""
    match value:
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or time"
