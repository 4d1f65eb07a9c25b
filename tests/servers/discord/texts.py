"""The text that a person reads in a message, and the buttons that they can press."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.servers.discord.world import Message

BUTTON, TEXT_DISPLAY = 2, 10
SELECTS = (3, 5, 6, 7, 8)


def walk(components: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every component, those inside others after the one they are in."""
    for component in components:
        yield component
        yield from walk(component.get("components") or ())
        for key in ("component", "accessory"):
            if component.get(key):
                yield from walk([component[key]])


def visible_text(message: Message) -> str:
    """Return the text of a message and of all its text displays."""
    parts = [message.content]
    parts += [part["content"] for part in walk(message.components) if part["type"] == TEXT_DISPLAY]
    return "\n".join(part for part in parts if part)


def labels(message: Message) -> Sequence[str]:
    """Return the labels of the buttons that can be pressed, in order."""
    return [
        part.get("label") or part.get("emoji", {}).get("name", "")
        for part in walk(message.components)
        if part["type"] == BUTTON and not part.get("disabled")
    ]
