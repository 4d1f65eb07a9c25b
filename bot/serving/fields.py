"""Typed fields of a request's JSON object; each error names the field and what it takes. Pure."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from bot.core.sampling_params import OPTIONS
from bot.errors import RequestError
from bot.serving.errors import refuse

MAX_STOPS: Final = 4
MAX_STOP_LENGTH: Final = 256  # characters
_MAX_SHOWN: Final = 60


class Fields:
    """The fields of a body. A field that is null counts as missing."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._values = {name: value for name, value in body.items() if value is not None}
        self._names = tuple(body)

    def get(self, name: str) -> Any:
        """Return the value as it was sent, None if it is missing."""
        return self._values.get(name)

    def check_names(self, known: Collection[str]) -> None:
        """Raise ApiError for the first field that is not `known`."""
        for name in self._names:
            if name not in known:
                raise refuse(f"Unrecognized request argument supplied: {name[:_MAX_SHOWN]}", name[:_MAX_SHOWN])

    def check_unused(self, unused: Mapping[str, tuple[Any, ...]]) -> None:
        """Raise ApiError for a field that is not supported, unless its value is one that asks for nothing."""
        for name, harmless in unused.items():
            value = self._values.get(name)
            if value is not None and not any(type(value) is type(one) and value == one for one in harmless):
                allowed = f" (only {' or '.join(map(repr, harmless))})" if harmless else ""
                raise refuse(f"{name} is not supported{allowed}; leave it out.", name)

    def text(self, name: str, *, is_required: bool = False) -> str:
        """Return a text, "" if it is missing and need not be there."""
        value = self._values.get(name)
        if value is None and is_required:
            raise refuse(f"{name} is missing.", name)
        if value is not None and not isinstance(value, str):
            raise refuse(f"{name} takes a text, not {show(value)}.", name)
        return value or ""

    def flag(self, name: str) -> bool:
        """Return true or false, false if it is missing."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise refuse(f"{name} takes true or false, not {show(value)}.", name)
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number from `low` to `high`, None if it is missing."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise refuse(f"{name} takes a whole number from {low} to {high}, not {show(value)}.", name)
        return value

    def option(self, name: str, default: int | float | None) -> Any:
        """Return a sampling option in its own range, `default` if it is missing."""
        value = self._values.get(name)
        if value is None:
            return default
        try:
            return OPTIONS[name].check(value, typed=show(value))
        except RequestError as e:
            raise refuse(str(e), name) from e

    def stops(self) -> tuple[str, ...]:
        """Return the texts that end an answer: one text, or a list of up to MAX_STOPS."""
        value = self._values.get("stop", [])
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
            raise refuse(f"stop takes a text or a list of texts, not {show(value)}.", "stop")
        if len(stops) > MAX_STOPS:
            raise refuse(f"stop takes at most {MAX_STOPS} texts, not {len(stops)}.", "stop")
        if any(not 0 < len(stop) <= MAX_STOP_LENGTH for stop in stops):
            raise refuse(f"stop takes texts of 1 to {MAX_STOP_LENGTH} characters.", "stop")
        return tuple(stops)


def show(value: object) -> str:
    """Return a wrong value for a sentence: its kind, and where it is short, itself."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number that long"
    shown = {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
