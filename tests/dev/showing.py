"""A message of the stand-in as lines of text: what it says, its files, its buttons with the numbers that press them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.servers.discord.texts import BUTTON, SELECTS, visible_text, walk
from tests.servers.discord.world import LOADING, Message, User, World

_LINK = 5
_MENTION = re.compile(r"<@!?(\d+)>")


@dataclass(frozen=True, slots=True)
class Control:
    """A button or select that can be used. `choices` are a select's labels."""

    custom_id: str
    label: str
    choices: tuple[str, ...] = ()

    @property
    def is_select(self) -> bool:
        """Return whether it takes a choice."""
        return bool(self.choices)


def controls_of(message: Message) -> Sequence[Control]:
    """Return the buttons and selects of a message that can be used, in order."""
    return [
        _control(part)
        for part in walk(message.components)
        if part["type"] in (BUTTON, *SELECTS) and not part.get("disabled") and part.get("style") != _LINK
    ]


def _control(part: dict[str, Any]) -> Control:
    label = part.get("label") or part.get("placeholder") or (part.get("emoji") or {}).get("name") or "?"
    return Control(part["custom_id"], label, tuple(option["label"] for option in part.get("options", ())))


def show_message(message: Message, world: World, reader: User) -> str:
    """Return `message` as `reader` sees it: a name, then indented lines; controls as `[:1 Stop]`."""
    signs = [
        *(["only you see this"] if message.ephemeral_for is reader else []),
        *(["still writing"] if is_writing(message) else []),
    ]
    head = message.author.name + (f" ({', '.join(signs)})" if signs else "")
    if message.is_deleted:
        return f"{head}: (deleted)"
    lines = _named(visible_text(message), world).splitlines() or (["…"] if message.flags & LOADING else [])
    for file in message.attachments:
        words = f": {file.description}" if file.description else ""
        lines.append(f"[file {file.filename}, {file.size:,} bytes, {file.url}{words}]")
    controls = [
        f"[:{number} {control.label}" + (f" = {' | '.join(control.choices)}]" if control.is_select else "]")
        for number, control in enumerate(controls_of(message), 1)
    ]
    if controls:
        lines.append(" ".join(controls))
    if message.reactions:
        lines.append("reactions: " + " ".join(message.reactions))
    return "\n".join([f"{head}:", *(f"  {line}" for line in lines)])


def is_writing(message: Message) -> bool:
    """Return whether more of the message will come."""
    return bool(message.flags & LOADING) or any(control.label == "Stop" for control in controls_of(message))


def _named(text: str, world: World) -> str:
    """Return `text` with names in the place of ids."""

    def name(found: re.Match[str]) -> str:
        user = world.users.get(int(found[1]))
        return f"@{user.name}" if user else found[0]

    return _MENTION.sub(name, text)
