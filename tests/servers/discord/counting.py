"""Counting and reporting, shared by the checks of Discord's limits."""

from collections.abc import Collection, Iterator
from typing import Any

MOST_NUMBER = 2**53


class Findings:
    """Sentences about the errors in a body, in the order in which they were found."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return iter(self._sentences)

    def say(self, where: str, what: str) -> None:
        self._sentences.append(f"{where} {what}.")

    def text(self, where: str, text: object, least: int, most: int, *, needed: bool = True) -> bool:
        """Check the length of a text; a missing one is wrong where it is `needed`."""
        if text is None and not needed:
            return True
        if text is None:
            self.say(where, "is missing")
        elif not isinstance(text, str):
            self.say(where, "must be text")
        elif not least <= len(text) <= most:
            self.say(where, f"has {len(text):,} characters; Discord allows {_range(least, most)}")
        else:
            return True
        return False

    def number(self, where: str, number: object, least: int, most: int, *, whole: bool = True) -> None:
        """Check the range of a number that may be missing."""
        if number is None:
            return
        if isinstance(number, bool) or not isinstance(number, int if whole else int | float):
            self.say(where, "must be a whole number" if whole else "must be a number")
        elif not least <= number <= most:
            self.say(where, f"is {number}; Discord allows {_range(least, most)}")

    def order(self, where: str, holder: dict[str, Any], low: str, high: str) -> None:
        least, most = holder.get(low), holder.get(high)
        if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
            self.say(where, f"has a {low} above its {high}")

    def objects(
        self, where: str, items: object, least: int, most: int, *, needed: bool = True
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the objects of a list with their places; check how many it has and that they are objects."""
        if items is None:
            if needed:
                self.say(where, "is missing")
            return []
        if not isinstance(items, list):
            self.say(where, "must be a list")
            return []
        if not least <= len(items) <= most:
            self.say(where, f"has {len(items)} items; Discord allows {_range(least, most)}")
        placed = [(f"{where}[{number}]", item) for number, item in enumerate(items)]
        for place, item in placed:
            if not isinstance(item, dict):
                self.say(place, "must be an object")
        return [(place, item) for place, item in placed if isinstance(item, dict)]

    def unique(self, where: str, what: str, values: Collection[object]) -> None:
        seen: set[object] = set()
        for value in values:
            if value in seen:
                self.say(where, f"has the {what} {value!r} twice")
            seen.add(value)

    def choice(self, where: str, choice: dict[str, Any]) -> None:
        """Check one of the values that a command's option offers."""
        self.text(f"{where}.name", choice.get("name"), 1, 100)
        value = choice.get("value")
        if value is None or isinstance(value, str):
            self.text(f"{where}.value", value, 0, 100)
        else:
            self.number(f"{where}.value", value, -MOST_NUMBER, MOST_NUMBER, whole=False)


def _range(least: int, most: int) -> str:
    return f"{least:,} to {most:,}"
