"""Validate request bodies against Discord's OpenAPI document.

The document is not part of the project; tests name a copy in `DISCORD_OPENAPI`. It forbids unknown properties in no
body that the bot sends: a misspelt optional property passes here.

One of its rules is relaxed, because it refuses what discord.py sends and Discord takes: a snowflake may be a number.
discord.py sends the ids in attachments, references and mentions as numbers.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend

Schema = dict[str, Any]
Validate = Callable[[str, str, object], list[str]]

METHODS = frozenset({"get", "put", "post", "patch", "delete"})
REF = "#/components/schemas/"
LONGEST_MESSAGE = 300


def load_validator(path: str | Path) -> Validate:
    """Return a function of method, templated path and body that lists what the document at `path` refuses.

    Template parameters may have any name. A body is what was sent as JSON: of a multipart request its `payload_json`;
    None is no body.
    """
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    operations = {
        (method.upper(), shape_of(template)): operation
        for template, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }
    schemas = _Schemas(document["components"]["schemas"])
    compiled: dict[tuple[str, str], Validator | None] = {}

    def validate(method: str, path: str, body: object) -> list[str]:
        key = (method.upper(), shape_of(path))
        operation = operations.get(key)
        if operation is None:
            return [f"Discord's document knows no {key[0]} {path}."]
        if key not in compiled:
            compiled[key] = _compile(operation, schemas)
        validator = compiled[key]
        if validator is None:
            return [] if body in (None, {}) else [f"{key[0]} {path} takes no body."]
        if body is None:
            needed = operation["requestBody"].get("required", False)
            return [f"{key[0]} {path} needs a body."] if needed else []
        return [_sentence(key[0], path, error) for error in validator.iter_errors(body)]

    return validate


def shape_of(path: str) -> str:
    """Return the path with every template parameter as `{}`."""
    return re.sub(r"\{[^{}]*\}", "{}", path)


def _compile(operation: Schema, schemas: "_Schemas") -> Validator | None:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return None
    media = content.get("application/json") or next(iter(content.values()))
    validator: Validator = _Checker(schemas.prepared(media["schema"]))
    return validator


def _sentence(method: str, path: str, error: ValidationError) -> str:
    deepest = best_match([error])
    assert deepest is not None
    message = deepest.message
    if len(message) > LONGEST_MESSAGE:
        half = LONGEST_MESSAGE // 2
        message = f"{message[:half]} … {message[-half:]}"
    return f"{method} {path}: {deepest.json_path}: {message}."


class _Schemas:
    """Copies of the document's schemas with references replaced by what they name.

    Looking up a reference at every validation is slow, and errors of all twelve component types nobody can read: where
    it can, `oneOf` becomes `byType`, `orNull` or `enum`.
    """

    def __init__(self, raw: dict[str, Schema]) -> None:
        self._raw = raw
        self._named: dict[str, Schema] = {}

    def prepared(self, schema: Schema) -> Schema:
        if "$ref" in schema:
            return self._by_name(schema["$ref"].removeprefix(REF))
        prepared: Schema = {}
        for keyword, value in schema.items():
            if keyword == "properties":
                prepared[keyword] = {name: self.prepared(of) for name, of in value.items()}
            elif keyword in ("oneOf", "anyOf"):
                prepared |= self._choice(keyword, value)
            elif keyword == "allOf":
                prepared[keyword] = [self.prepared(one) for one in value]
            elif keyword in ("items", "additionalProperties") and isinstance(value, dict):
                prepared[keyword] = self.prepared(value)
            else:
                prepared[keyword] = value
        return prepared

    def _by_name(self, name: str) -> Schema:
        if name not in self._named:
            # Known before it is filled, so that a schema may contain itself.
            self._named[name] = filled = {}
            filled.update(self.prepared(self._raw[name]))
            if name == "SnowflakeType":
                filled |= {"type": ["string", "integer"], "minimum": 0}
        return self._named[name]

    def _choice(self, keyword: str, options: list[Schema]) -> Schema:
        if all("const" in one for one in options):
            return {"enum": [one["const"] for one in options]}
        rest = [one for one in options if one != {"type": "null"}]
        if len(rest) == 1 and len(options) == 2:
            return {"orNull": self.prepared(rest[0])}
        by_type: dict[int, Schema] = {}
        for one in options:
            named = self._raw.get(one.get("$ref", "").removeprefix(REF), one)
            types = named.get("properties", {}).get("type", {}).get("enum", [])
            if not types or any(number in by_type for number in types):
                return {keyword: [self.prepared(one) for one in options]}
            by_type |= dict.fromkeys(types, self.prepared(one))
        return {"byType": by_type}


def _by_type(validator: Any, options: dict[int, Schema], instance: Any, _: Schema) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        yield ValidationError(f"{instance!r} is not of type 'object'")
        return
    number = instance.get("type")
    if isinstance(number, int) and number in options:
        yield from validator.descend(instance, options[number], schema_path=number)
    else:
        yield ValidationError(f"type {number!r} is not one of {sorted(options)}")


def _or_null(validator: Any, schema: Schema, instance: Any, _: Schema) -> Iterator[ValidationError]:
    if instance is not None:
        yield from validator.descend(instance, schema)


_Checker = extend(Draft202012Validator, {"byType": _by_type, "orNull": _or_null})
