"""The names of slash commands and shortcuts on Slack, and the command line that each means."""

from collections.abc import Iterable, Mapping
from typing import Final

from bot.commands.framework.command import Command

GENERAL: Final = "fewshot"
# Slack has commands of its own by these names.
_TAKEN: Final = frozenset({"help", "settings", "status", "remind", "topic", "leave", "invite", "who", "dnd", "search"})

# What a family of commands is about, and the word that most people want after its name.
_FAMILIES: Final = {
    "prompt": ("Templates: list, show, run, test, edit and more", "list"),
    "story": ("A story that everyone here writes together with the bot: on, off, export", "on [TEXT]"),
}


def slash_names(commands: Iterable[Command]) -> dict[str, tuple[str, str]]:
    """Return the first words of all commands that Slack lets an app use, with what each does and what follows it."""
    names: dict[str, tuple[str, str]] = {}
    for command in commands:
        first, _, second = command.name.partition(" ")
        if first in _TAKEN:
            continue
        usage = command.usage.removeprefix(command.name).strip()
        names.setdefault(first, _FAMILIES.get(first, (command.summary, "")) if second else (command.summary, usage))
    return names


def line_of_slash(name: str, text: str, *, prefix: str = "") -> str:
    """Return the command line, without its prefix, that the slash command `name` with `text` means."""
    word = name.removeprefix("/").removeprefix(prefix)
    if word == GENERAL:
        return text.strip() or "help"
    return f"{word} {text}".strip()


def callback_id(command: Command) -> str:
    """Return the id of a command's shortcut in the menu of a message."""
    return f"fewshot-{command.name.replace(' ', '-')}"


def menu_command(shortcut_id: str, commands: Mapping[str, Command]) -> Command | None:
    """Return the command of a message's shortcut, None for an unknown one."""
    return next((one for one in commands.values() if one.menu and callback_id(one) == shortcut_id), None)
