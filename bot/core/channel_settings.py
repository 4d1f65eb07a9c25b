"""The settings of servers and channels, set by moderators: names, meaning, defaults and checks."""

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
    """One setting. `takes` describes its values; `choices` lists them if there is a fixed list.

    `read` returns a value as it is stored, or raises RequestError that describes the valid values.
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
    """Declare a setting of ids, bare or as the platform's mentions; they are stored bare, separated by spaces."""
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
    """Return the value of every setting: the `stored` one, or the default if there is none or it is no longer valid."""
    values = {}
    for setting in settings.values():
        values[setting.name] = setting.default
        if setting.name in stored:
            # A stored value may be out of date, such as a template that the operator removed.
            with contextlib.suppress(RequestError):
                values[setting.name] = setting.read(setting.name, stored[setting.name])
    return values


def _chat_template(chat_templates: Sequence[str]) -> ChannelSetting:
    default = "chat" if "chat" in chat_templates else chat_templates[0]
    return _choice("chat_template", "template for chat prompts", default, chat_templates)


def declare_settings(
    chat_templates: Sequence[str], *, retention_days: int, mention_pattern: str = ""
) -> Mapping[str, ChannelSetting]:
    """Return all settings by name; the operator's `retention_days` is the default and the maximum.

    `chat_templates` are the names of all templates for chat, at least one. `mention_pattern` is the platform's: see
    PlatformTraits.
    """
    form = "{} or mention{}" if mention_pattern else "{}"
    roles, channel = form.format("ids", "s"), form.format("an id", "")
    settings = (
        _chat_template(chat_templates),
        _choice("preset", "sampling preset for chat answers", "normal", tuple(PRESETS)),
        _whole("history_length", "the most messages that the model may read", 40, 1, 200),
        _choice(
            "answer_when",
            "when to answer: mentions, every message, or commands only",
            "mention",
            ANSWER_WHEN,
        ),
        _whole(
            "retention_days", "how many days messages are kept", retention_days, 1, retention_days, is_server_only=True
        ),
        _ids(
            "moderator_roles",
            "roles whose members are moderators",
            f"1 to 25 roles, as {roles}",
            at_most=25,
            mention_pattern=mention_pattern,
        ),
        _ids(
            "report_channel",
            "the channel where reports are posted",
            f"one channel, as {channel}",
            at_most=1,
            mention_pattern=mention_pattern,
        ),
        _whole("quota_per_minute", "how many requests a member may make per minute", 20, 1, 600, is_server_only=True),
    )
    return {setting.name: setting for setting in settings}


def with_chat_templates(
    settings: Mapping[str, ChannelSetting], chat_templates: Sequence[str]
) -> Mapping[str, ChannelSetting]:
    """Return `settings` for a server whose templates for chat are `chat_templates`, at least one."""
    return {**settings, "chat_template": _chat_template(chat_templates)}
