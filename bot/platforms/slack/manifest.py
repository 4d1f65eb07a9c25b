"""The app manifest: what to paste into Slack to create the bot's app."""

import json
from collections.abc import Mapping
from typing import Any, Final

from bot.commands.framework.command import Command
from bot.platforms.slack.interactions.names import GENERAL, callback_id, slash_names

SCOPES: Final = (
    "app_mentions:read",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "mpim:read",
    "reactions:write",
    "usergroups:read",
    "users:read",
)
# With it Slack shows its own Stop button at an answer that is being written. It is granted to apps with the feature
# agent_view only, which a workspace may not have; everything else works without it.
AGENT_SCOPE: Final = "assistant:write"
EVENTS: Final = (
    "agent_session_stopped",
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    "channel_deleted",
    "group_deleted",
    "member_joined_channel",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "subteam_members_changed",
    "subteam_updated",
    "tokens_revoked",
    "user_change",
)
BROWSER_SHORTCUT: Final = "fewshot-templates"
_MAX_DESCRIPTION: Final = 150
_DESCRIPTION: Final = "Talks, completes and measures with its own model."
# What Slack offers to people who open the conversation with the bot, and the command line of each.
_SUGGESTED: Final = (
    ("Show what you can do", "help"),
    ("Continue a text", "complete Once upon a time"),
    ("Show how surprising a sentence is", "perplexity Can it does what?"),
    ("Show the templates", "prompt list"),
)


def manifest_of(
    commands: Mapping[str, Command], *, bot_name: str, name_prefix: str = "", command_prefix: str = "!"
) -> dict[str, Any]:
    """Return the manifest of an app for these commands.

    `name_prefix` stands before each slash command's name, `command_prefix` before a command that is typed.
    """
    slash = [_slash(f"/{name_prefix}{GENERAL}", "Any command: help, prompt list, settings, privacy …", "help")]
    slash += [_slash(f"/{name_prefix}{name}", *what) for name, what in slash_names(commands.values()).items()]
    shortcuts = [
        {
            "name": command.menu,
            "type": "message",
            "callback_id": callback_id(command),
            "description": command.summary[:_MAX_DESCRIPTION],
        }
        for command in commands.values()
        if command.menu
    ]
    browser = {
        "name": "Templates",
        "type": "global",
        "callback_id": BROWSER_SHORTCUT,
        "description": "Show the templates",
    }
    return {
        "display_information": {"name": bot_name, "description": _DESCRIPTION},
        "features": {
            "agent_view": {
                "agent_description": _DESCRIPTION,
                "suggested_prompts": [
                    {"title": title, "message": f"{command_prefix}{line}"} for title, line in _SUGGESTED
                ],
            },
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": bot_name, "always_online": True},
            "shortcuts": [*shortcuts, browser],
            "slash_commands": slash,
        },
        "oauth_config": {"scopes": {"bot": sorted((AGENT_SCOPE, *SCOPES))}},
        "settings": {
            "event_subscriptions": {"bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True},
            "org_deploy_enabled": False,
            "socket_mode_enabled": True,
            "token_rotation_enabled": False,
        },
    }


def manifest_text(
    commands: Mapping[str, Command], *, bot_name: str, name_prefix: str = "", command_prefix: str = "!"
) -> str:
    """Return the manifest as JSON, which Slack takes as well as YAML."""
    manifest = manifest_of(commands, bot_name=bot_name, name_prefix=name_prefix, command_prefix=command_prefix)
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _slash(name: str, description: str, hint: str) -> dict[str, Any]:
    command = {"command": name, "description": description[:_MAX_DESCRIPTION], "should_escape": True}
    return {**command, "usage_hint": hint} if hint else command
