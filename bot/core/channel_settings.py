"""The settings of servers and channels, set by moderators: names, meaning, defaults and checks."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from bot.core.messages import PlaceKind, Scope
from bot.core.platform_traits import CHANNELS, ROLES, NamedIds, PlatformTraits
from bot.core.sampling_params import PRESETS
from bot.core.suggesting import suggest
from bot.core.wording import quote
from bot.errors import RequestError

SETTING_LEVELS: Final = ("server", "channel")
DEFAULT: Final = "default"  # resets a setting, and is where its value comes from then
ANSWER_WHEN: Final = ("mention", "every", "never")
MAX_SERVER_QUOTA: Final = 6000
# Where the bot chats.
_CHATS: Final = frozenset[PlaceKind]({"server", "direct", "terminal"})
_EVERYWHERE: Final[frozenset[PlaceKind]] = frozenset(get_args(PlaceKind))


@dataclass(frozen=True, slots=True)
class ChannelSetting:
    """One setting. `takes` describes its values; `choices` lists them if there is a fixed list.

    If it has `ids_of` roles or channels, they are separated by spaces. `read` returns a value as it is stored,
    or raises RequestError that describes the valid values. `acts_in` are the kinds of places where it has an effect.
    """

    name: str
    help: str
    default: str
    takes: str
    read: Callable[[str, str], str] = field(repr=False)
    is_server_only: bool = False
    choices: tuple[str, ...] = ()
    ids_of: Literal["", "role", "channel"] = ""
    acts_in: frozenset[PlaceKind] = _EVERYWHERE


def _whole(name: str, help: str, default: int, low: int, high: int, *, is_server_only: bool = False) -> ChannelSetting:
    takes = f"a whole number from {low} to {high:,}"

    def read(name: str, value: str) -> str:
        if not (value.isascii() and value.isdigit() and len(value) < 8 and low <= int(value) <= high):
            raise RequestError(f"{name} takes {takes}, not {quote(value)}.")
        return str(int(value))

    return ChannelSetting(name, help, str(default), takes, read, is_server_only)


def _ids(
    name: str, ids_of: Literal["role", "channel"], kind: NamedIds, *, at_most: int, mention_pattern: str
) -> ChannelSetting:
    """Declare a setting of ids, bare or as the platform's mentions; they are stored bare, separated by spaces."""
    form, form_of_several = (f"a mention ({kind.mention}) or id", f"mentions ({kind.mention}) or ids")
    if not mention_pattern:
        form, form_of_several = "an id", "ids"
    takes = f"{kind.words}, as {form if at_most == 1 else form_of_several}"
    mention, bare = re.compile(mention_pattern or "(?!)"), re.compile(kind.pattern)

    def read(name: str, value: str) -> str:
        words = value.replace(",", " ").split()
        ids = [found[1] if (found := mention.fullmatch(word)) else word for word in words]
        if len(words) > at_most or not all(map(bare.fullmatch, ids)):
            raise RequestError(f"{name} takes {takes}, not {quote(value)}.")
        return " ".join(dict.fromkeys(ids))

    acts_in = frozenset[PlaceKind]({"server"})
    return ChannelSetting(name, kind.meaning, "", takes, read, is_server_only=True, ids_of=ids_of, acts_in=acts_in)


def _choice(name: str, help: str, default: str, choices: Sequence[str]) -> ChannelSetting:
    takes = f"one of {', '.join(choices)}" if len(choices) > 1 else f"only {choices[0]}"

    def read(name: str, value: str) -> str:
        found = value if value in choices else next((one for one in choices if one.casefold() == value.casefold()), "")
        if not found:
            raise RequestError(f"{name} can't be {quote(value)}; {suggest(value, choices, f'it takes {takes}.')}")
        return found

    return ChannelSetting(name, help, default, takes, read, choices=tuple(choices))


def kind_of_place(scope: Scope, traits: PlatformTraits) -> PlaceKind:
    """Return what kind of place `scope` is for settings: a group that the bot reads is like a direct message."""
    return "direct" if scope.kind == "group" and traits.reads_groups else scope.kind


def effective_values(settings: Mapping[str, ChannelSetting], stored: Mapping[str, str]) -> Mapping[str, str]:
    """Return the value of every setting: the `stored` one, or the default if there is none or it is no longer valid."""
    return {**{name: setting.default for name, setting in settings.items()}, **_valid(settings, stored)}


def effective_origins(
    settings: Mapping[str, ChannelSetting], *, server: Mapping[str, str], channel: Mapping[str, str]
) -> Mapping[str, str]:
    """Return where the value of every setting comes from: what is set for the channel, for the server, or DEFAULT."""
    valid = _valid(settings, {**server, **channel})
    return {name: DEFAULT if name not in valid else "channel" if name in channel else "server" for name in settings}


def hidden_values(
    settings: Mapping[str, ChannelSetting], *, server: Mapping[str, str], channel: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the values of the server that have no effect in a channel, because the channel has its own."""
    own = _valid(settings, channel)
    return {name: value for name, value in _valid(settings, server).items() if name in own and own[name] != value}


def _valid(settings: Mapping[str, ChannelSetting], stored: Mapping[str, str]) -> Mapping[str, str]:
    """Return the `stored` values that are valid; one may be out of date, such as a template that was removed."""
    values = {}
    for name, setting in settings.items():
        if name in stored:
            with contextlib.suppress(RequestError):
                values[name] = setting.read(name, stored[name])
    return values


def _chat_template(chat_templates: Sequence[str]) -> ChannelSetting:
    default = "chat" if "chat" in chat_templates else chat_templates[0]
    return replace(_choice("chat_template", "template for chat prompts", default, chat_templates), acts_in=_CHATS)


def _server_quota(num_per_minute: int) -> ChannelSetting:
    """Declare the quota of a whole server; without the operator's (0) a server may still choose one."""
    name, help = "server_quota_per_minute", "how many requests all members together may make per minute"
    low, high = (1, num_per_minute) if num_per_minute else (0, MAX_SERVER_QUOTA)
    help += "" if num_per_minute else "; 0 is no limit"
    setting = _whole(name, help, num_per_minute, low, high, is_server_only=True)
    return replace(setting, acts_in=frozenset[PlaceKind]({"server", "foreign"}))


def declare_settings(
    chat_templates: Sequence[str],
    *,
    retention_days: int,
    quota_per_minute: int = 20,
    server_quota_per_minute: int = 0,
    mention_pattern: str = "",
    roles: NamedIds = ROLES,
    channels: NamedIds = CHANNELS,
    models: Sequence[str] = ("default",),
) -> Mapping[str, ChannelSetting]:
    """Return all settings by name; the operator's `retention_days` and quotas are defaults and maxima.

    A `server_quota_per_minute` of 0 is no limit.
    `chat_templates` are the names of all templates for chat, at least one, and `models` those of all models, the
    default one first. `mention_pattern`, `roles` and `channels`
    are the platform's: see PlatformTraits.
    """
    settings = (
        _choice("model", "the model that answers", models[0], models),
        _chat_template(chat_templates),
        replace(_choice("preset", "sampling preset for chat answers", "normal", tuple(PRESETS)), acts_in=_CHATS),
        replace(_whole("history_length", "the most messages that the model may read", 12, 1, 200), acts_in=_CHATS),
        replace(
            _choice(
                "answer_when",
                "when to answer: at a mention (in direct messages always), every message, or never (commands only)",
                "mention",
                ANSWER_WHEN,
            ),
            acts_in=frozenset({"server", "direct"}),
        ),
        _whole(
            "retention_days", "how many days messages are kept", retention_days, 1, retention_days, is_server_only=True
        ),
        _ids("moderator_roles", "role", roles, at_most=25, mention_pattern=mention_pattern),
        _ids("report_channel", "channel", channels, at_most=1, mention_pattern=mention_pattern),
        replace(
            _whole(
                "quota_per_minute",
                "how many requests a member may make per minute",
                quota_per_minute,
                1,
                quota_per_minute,
                is_server_only=True,
            ),
            acts_in=_EVERYWHERE - {"terminal"},
        ),
        _server_quota(server_quota_per_minute),
    )
    return {setting.name: setting for setting in settings}


def with_chat_templates(
    settings: Mapping[str, ChannelSetting], chat_templates: Sequence[str]
) -> Mapping[str, ChannelSetting]:
    """Return `settings` for a server whose templates for chat are `chat_templates`, at least one."""
    return {**settings, "chat_template": _chat_template(chat_templates)}
