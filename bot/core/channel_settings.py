"""What moderators may set for a server and for a channel: names, meaning, defaults and checks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.core.sampling import PRESETS
from bot.core.suggesting import nearest
from bot.errors import RequestError


@dataclass(frozen=True, slots=True)
class ChannelSetting:
    """One setting; `takes` describes its values.

    `read` returns a value as it is stored, or raises RequestError that says what is taken.
    """

    name: str
    help: str
    default: str
    takes: str
    read: Callable[[str, str], str] = field(repr=False)
    is_server_only: bool = False


def _whole(name: str, help: str, default: int, low: int, high: int, *, is_server_only: bool = False) -> ChannelSetting:
    takes = f"a whole number from {low} to {high:,}"

    def read(name: str, value: str) -> str:
        if not (value.isascii() and value.isdigit() and len(value) < 8 and low <= int(value) <= high):
            raise RequestError(f"{name} takes {takes}, not {value[:32]!r}.")
        return str(int(value))

    return ChannelSetting(name, help, str(default), takes, read, is_server_only)


def _choice(name: str, help: str, default: str, choices: Sequence[str]) -> ChannelSetting:
    takes = f"one of {', '.join(choices)}"

    def read(name: str, value: str) -> str:
        if value not in choices:
            suggestion = nearest(value, choices)
            hint = f"did you mean {suggestion}?" if suggestion else f"it takes {takes}."
            raise RequestError(f"{name} can't be {value[:32]!r}; {hint}")
        return value

    return ChannelSetting(name, help, default, takes, read)


def _default_template(chat_templates: Sequence[str]) -> str:
    return "chat" if "chat" in chat_templates else chat_templates[0]


def declare_settings(chat_templates: Sequence[str], *, retention_days: int) -> Mapping[str, ChannelSetting]:
    """Return all settings by name; the operator's `retention_days` is the default and the most that is taken.

    `chat_templates` are the names of all templates for chat, at least one.
    """
    settings = (
        _choice("chat_template", "template of the conversation", _default_template(chat_templates), chat_templates),
        _choice("preset", "sampling of chat answers", "normal", tuple(PRESETS)),
        _whole("history_length", "messages that the model may read at most", 40, 1, 200),
        _whole("retention_days", "days that messages are kept", retention_days, 1, retention_days, is_server_only=True),
    )
    return {setting.name: setting for setting in settings}


SETTING_LEVELS: Final = ("server", "channel")
