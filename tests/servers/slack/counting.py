"""Counting and reporting, shared by the checks of Slack's limits."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where as a JSON pointer."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.what} [json-pointer:{self.where}]"


class Findings:
    """The errors in a body, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def say(self, where: str, what: str) -> None:
        self._found.append(Finding(where, what))

    def text(self, where: str, text: object, least: int, most: int, *, needed: bool = True) -> bool:
        """Check the length of a text; a missing one is wrong where it is `needed`."""
        if text is None and not needed:
            return True
        if text is None:
            self.say(where, "missing required field")
        elif not isinstance(text, str):
            self.say(where, "must be a string")
        elif len(text) > most:
            self.say(where, f"must be less than {most + 1} characters")
        elif len(text) < least:
            self.say(where, f"must be more than {least - 1} characters")
        elif any("\ud800" <= character <= "\udfff" for character in text):
            self.say(where, "must not hold half a surrogate pair")
        else:
            return True
        return False

    def flag(self, where: str, value: object) -> None:
        if value is not None and not isinstance(value, bool):
            self.say(where, "must be a boolean")

    def one_of(self, where: str, value: object, allowed: Collection[str], *, needed: bool = True) -> bool:
        if value is None and not needed:
            return True
        if value not in allowed:
            self.say(where, f"must be a valid enum value, not {value!r}")
            return False
        return True

    def fields(self, where: str, holder: dict[str, Any], allowed: Collection[str]) -> None:
        """Check that an object has no field that Slack does not know."""
        for name in holder:
            if name not in allowed:
                self.say(where, f"invalid additional property: {name}")

    def objects(
        self, where: str, items: object, least: int, most: int, *, needed: bool = True
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the objects of a list with their places; check how many it has and that they are objects."""
        if items is None:
            if needed:
                self.say(where, "missing required field")
            return []
        if not isinstance(items, list):
            self.say(where, "must be an array")
            return []
        if len(items) > most:
            self.say(where, f"no more than {most} items allowed")
        if len(items) < least:
            self.say(where, f"no fewer than {least} items allowed")
        placed = [(f"{where}/{number}", item) for number, item in enumerate(items)]
        for place, item in placed:
            if not isinstance(item, dict):
                self.say(place, "must be an object")
        return [(place, item) for place, item in placed if isinstance(item, dict)]

    def object(self, where: str, item: object, *, needed: bool = True) -> dict[str, Any] | None:
        if item is None:
            if needed:
                self.say(where, "missing required field")
            return None
        if not isinstance(item, dict):
            self.say(where, "must be an object")
            return None
        return item

    def unique(self, where: str, what: str, values: Collection[object]) -> None:
        seen: set[object] = set()
        for value in values:
            if value in seen:
                self.say(where, f"{what} {value!r} already exists")
            seen.add(value)

    def plain(self, where: str, text: object, most: int, *, needed: bool = True) -> None:
        """Check a plain_text object."""
        self.text_object(where, text, most, kinds=("plain_text",), needed=needed)

    def text_object(
        self,
        where: str,
        text: object,
        most: int,
        *,
        kinds: Collection[str] = ("plain_text", "mrkdwn"),
        needed: bool = True,
    ) -> None:
        holder = self.object(where, text, needed=needed)
        if holder is None or not self.one_of(f"{where}/type", holder.get("type"), kinds):
            return
        extra = "emoji" if holder["type"] == "plain_text" else "verbatim"
        self.fields(where, holder, ("type", "text", extra))
        self.text(f"{where}/text", holder.get("text"), 1, most)
        self.flag(f"{where}/{extra}", holder.get(extra))
