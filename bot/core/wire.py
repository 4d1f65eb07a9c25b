"""Dataclasses as JSON values and back, by their annotations: what an engine's server and its client send each other.

A field that the reader does not know is ignored, a missing one is an error. Numbers come back to the last bit.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

ValueT = TypeVar("ValueT")

# JSON has no numbers for these.
_NON_FINITE: Final = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_TAG: Final = "is"


class WireError(ValueError):
    """What was sent is not what the reader takes; the message names the field."""


class _Coder(NamedTuple):
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def to_wire(kind: Any, value: Any) -> Any:
    """Return `value`, which is of the annotated `kind`, as a JSON-able value."""
    return _coder_of(kind).write(value)


def from_wire(kind: type[ValueT], sent: Any) -> ValueT:
    """Return the value of the annotated `kind` that was sent. Raises WireError, and what its class raises."""
    # An annotation is hashable, though not to mypy.
    value: ValueT = _coder_of(cast(Any, kind)).read(sent)
    return value


@cache
def _coder_of(kind: Any) -> _Coder:
    origin = get_origin(kind)
    if kind is Any:
        return _Coder(lambda value: value, lambda sent: sent)
    if kind is float:
        return _Coder(_write_float, _read_float)
    if kind in (int, str, bool):
        return _Coder(lambda value: value, lambda sent: _read_plain(kind, sent))
    if kind is bytes:
        return _Coder(lambda value: value.decode("latin-1"), _read_bytes)
    if origin is Literal:
        return _Coder(lambda value: value, lambda sent: _read_choice(get_args(kind), sent))
    if origin is tuple:
        return _tuple_coder(get_args(kind))
    if origin is Mapping:
        return _mapping_coder(*get_args(kind))
    if origin in (UnionType, Union):
        return _union_coder(get_args(kind))
    if is_dataclass(kind) and isinstance(kind, type):
        return _class_coder(kind)
    raise TypeError(f"{kind} can't be sent")


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else str(value)


def _read_float(sent: Any) -> float:
    if isinstance(sent, str) and sent in _NON_FINITE:
        return _NON_FINITE[sent]
    if isinstance(sent, bool) or not isinstance(sent, int | float):
        raise WireError(f"it takes a number, not {_name_of(sent)}")
    try:
        return float(sent)
    except OverflowError as e:
        raise WireError("it takes a number, not one that long") from e


def _read_bytes(sent: Any) -> bytes:
    try:
        return str(_read_plain(str, sent)).encode("latin-1")
    except UnicodeEncodeError as e:
        raise WireError("it takes bytes, one character each") from e


def _read_plain(kind: Any, sent: Any) -> Any:
    if type(sent) is not kind:
        raise WireError(f"it takes {kind.__name__}, not {_name_of(sent)}")
    return sent


def _read_choice(choices: tuple[Any, ...], sent: Any) -> Any:
    if not isinstance(sent, str) or sent not in choices:
        raise WireError(f"it takes one of {', '.join(map(str, choices))}")
    return sent


def _tuple_coder(kinds: tuple[Any, ...]) -> _Coder:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        write, read = _coder_of(kinds[0])
        return _Coder(
            lambda value: [write(one) for one in value], lambda sent: tuple(read(one) for one in _listed(sent))
        )
    coders = [_coder_of(kind) for kind in kinds]

    def read_fixed(sent: Any) -> tuple[Any, ...]:
        if len(_listed(sent)) != len(coders):
            raise WireError(f"it takes {len(coders)} values, not {len(sent)}")
        return tuple(coder.read(one) for coder, one in zip(coders, sent, strict=True))

    return _Coder(lambda value: [coder.write(one) for coder, one in zip(coders, value, strict=True)], read_fixed)


def _mapping_coder(key: Any, kind: Any) -> _Coder:
    if key is not str:
        raise TypeError("only names can be the keys of what is sent")
    write, read = _coder_of(kind)
    return _Coder(
        lambda value: {name: write(one) for name, one in value.items()},
        lambda sent: {name: read(one) for name, one in _mapped(sent, "a mapping").items()},
    )


def _listed(sent: Any) -> list[Any]:
    if not isinstance(sent, list):
        raise WireError(f"it takes a list, not {_name_of(sent)}")
    return sent


def _union_coder(kinds: tuple[Any, ...]) -> _Coder:
    """Return the coder of one kind or None, or of several classes, whose values carry their names."""
    others = [kind for kind in kinds if kind is not NoneType]
    has_none = len(others) < len(kinds)
    inner = _coder_of(others[0]) if len(others) == 1 else _named_coder(others)
    if not has_none:
        return inner
    return _Coder(
        lambda value: None if value is None else inner.write(value),
        lambda sent: None if sent is None else inner.read(sent),
    )


def _named_coder(kinds: list[Any]) -> _Coder:
    coders = {kind.__name__: _class_coder(kind) for kind in kinds}

    def write(value: Any) -> Any:
        name = type(value).__name__
        if name not in coders:
            raise TypeError(f"{name} is none of {', '.join(coders)}")
        return {_TAG: name, **coders[name].write(value)}

    def read(sent: Any) -> Any:
        name = _mapped(sent, "an object").get(_TAG)
        if not isinstance(name, str) or name not in coders:
            raise WireError(f"it takes one of {', '.join(coders)}")
        return coders[name].read(sent)

    return _Coder(write, read)


@cache
def _class_coder(kind: Any) -> _Coder:
    hints = get_type_hints(kind)
    coders = {field.name: _coder_of(hints[field.name]) for field in fields(kind)}

    def write(value: Any) -> Any:
        return {name: coder.write(getattr(value, name)) for name, coder in coders.items()}

    def read(sent: Any) -> Any:
        given = _mapped(sent, kind.__name__)
        chosen = {}
        for name, coder in coders.items():
            if name not in given:
                raise WireError(f"{kind.__name__} lacks the field {name}")
            try:
                chosen[name] = coder.read(given[name])
            except WireError as e:
                raise WireError(f"{kind.__name__}.{name}: {e}") from e
        return kind(**chosen)

    return _Coder(write, read)


def _mapped(sent: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(sent, dict):
        raise WireError(f"{name} takes an object, not {_name_of(sent)}")
    return sent


def _name_of(sent: Any) -> str:
    return "nothing" if sent is None else type(sent).__name__
