"""What moderators may set for a server and for a channel: names, meaning, defaults and checks."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.core.sampling_params import PRESETS
from bot.core.suggesting import suggest
from bot.core.wording import quote
from bot.errors import RequestError

SETTING_LEVELS: Final = ("server", "channel")
ANSWER_WHEN: Final = ("mention", "every", "never")


@dataclass(frozen=True, slots=True)
class ChannelSetting:
    """One setting; `takes` describes its values, `choices` names them where they can be counted.

    `read` returns a value as it is stored, or raises RequestError that says what is taken.
    """

    name: str
    help: str
    default: str
    takes: str
    read: Callable[[str, str], str] = field(repr=False)
    is_server_only: bool = False
    choices: tuple[str, ...] = ()


def _whole(name: str, help: str, default: int, low: int, high: int, *, is_server_only: bool = False) -> ChannelSetting:
    takes = f"a whole number from {low} to {high:,}"

    def read(name: str, value: str) -> str:
        if not (value.isascii() and value.isdigit() and len(value) < 8 and low <= int(value) <= high):
            raise RequestError(f"{name} takes {takes}, not {quote(value)}.")
        return str(int(value))

    return ChannelSetting(name, help, str(default), takes, read, is_server_only)


def _ids(name: str, help: str, takes: str, *, at_most: int, mention_pattern: str) -> ChannelSetting:
    """Declare a setting of ids, bare or as the platform writes a mention; stored bare, with spaces between."""
    bare = r"(\w{1,32})"
    pattern = re.compile(f"(?:{mention_pattern}|{bare})" if mention_pattern else bare)

    def read(name: str, value: str) -> str:
        words = value.replace(",", " ").split()
        found = [pattern.fullmatch(word) for word in words]
        if len(words) > at_most or not all(found):
            raise RequestError(f"{name} takes {takes}, not {quote(value)}.")
        return " ".join(dict.fromkeys(str(match[match.lastindex or 1]) for match in found if match))

    return ChannelSetting(name, help, "", takes, read, is_server_only=True)


def _choice(name: str, help: str, default: str, choices: Sequence[str]) -> ChannelSetting:
    takes = f"one of {', '.join(choices)}"

    def read(name: str, value: str) -> str:
        if value not in choices:
            raise RequestError(f"{name} can't be {quote(value)}; {suggest(value, choices, f'it takes {takes}.')}")
        return value

    return ChannelSetting(name, help, default, takes, read, choices=tuple(choices))


def effective_values(settings: Mapping[str, ChannelSetting], stored: Mapping[str, str]) -> Mapping[str, str]:
    """Return the value of every setting: what is `stored`, the default where that is nothing or no longer taken."""
    values = {}
    for setting in settings.values():
        values[setting.name] = setting.default
        if setting.name in stored:
            # What was set may be gone by now: a template that the operator took away.
            with contextlib.suppress(RequestError):
                values[setting.name] = setting.read(setting.name, stored[setting.name])
    return values


def _chat_template(chat_templates: Sequence[str]) -> ChannelSetting:
    default = "chat" if "chat" in chat_templates else chat_templates[0]
    return _choice("chat_template", "template of the conversation", default, chat_templates)


def declare_settings(
    chat_templates: Sequence[str], *, retention_days: int, mention_pattern: str = ""
) -> Mapping[str, ChannelSetting]:
    """Return all settings by name; the operator's `retention_days` is the default and the most that is taken.

    `chat_templates` are the names of all templates for chat, at least one. `mention_pattern` is the platform's: see
    PlatformTraits.
    """
    form = "{} or mention{}" if mention_pattern else "{}"
    roles, channel = form.format("ids", "s"), form.format("an id", "")
    settings = (
        _chat_template(chat_templates),
        _choice("preset", "sampling of chat answers", "normal", tuple(PRESETS)),
        _whole("history_length", "messages that the model may read at most", 40, 1, 200),
        _choice(
            "answer_when",
            "what is answered: mentions, every message, or never more than commands",
            "mention",
            ANSWER_WHEN,
        ),
        _whole("retention_days", "days that messages are kept", retention_days, 1, retention_days, is_server_only=True),
        _ids(
            "moderator_roles",
            "roles whose members are moderators",
            f"1 to 25 roles, as {roles}",
            at_most=25,
            mention_pattern=mention_pattern,
        ),
        _ids(
            "report_channel",
            "the channel that reports go to",
            f"one channel, as {channel}",
            at_most=1,
            mention_pattern=mention_pattern,
        ),
        _whole("quota_per_minute", "requests of one member in a minute", 20, 1, 600, is_server_only=True),
    )
    return {setting.name: setting for setting in settings}


def with_chat_templates(
    settings: Mapping[str, ChannelSetting], chat_templates: Sequence[str]
) -> Mapping[str, ChannelSetting]:
    """Return `settings` for a server whose templates for chat are `chat_templates`, at least one."""
    return {**settings, "chat_template": _chat_template(chat_templates)}
