"""App manifests: what Slack refuses in them, and what they grant an app."""

from typing import Any

from tests.servers.slack.counting import Findings
from tests.servers.slack.objects import App

Json = dict[str, Any]
# What an event needs one of.
SCOPES_OF_EVENTS = {
    "app_mention": ("app_mentions:read",),
    "channel_deleted": ("channels:read",),
    "file_shared": ("files:read",),
    "group_deleted": ("groups:read",),
    "member_joined_channel": ("channels:read", "groups:read"),
    "member_left_channel": ("channels:read", "groups:read"),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "reaction_added": ("reactions:read",),
    "reaction_removed": ("reactions:read",),
    "subteam_members_changed": ("usergroups:read",),
    "subteam_updated": ("usergroups:read",),
    "user_change": ("users:read",),
}
OTHER_EVENTS = ("agent_session_stopped", "app_home_opened", "app_uninstalled", "tokens_revoked")
FEATURES = ("app_home", "bot_user", "shortcuts", "slash_commands", "agent_view", "assistant_view", "unfurl_domains")


def manifest_findings(manifest: Json) -> Findings:
    """Return what Slack would refuse in a manifest for Socket Mode."""
    found = Findings()
    found.fields("", manifest, ("_metadata", "display_information", "features", "oauth_config", "settings"))
    display = found.object("/display_information", manifest.get("display_information")) or {}
    found.text("/display_information/name", display.get("name"), 1, 35)
    # One less than Slack documents.
    found.text("/display_information/description", display.get("description"), 1, 139, needed=False)
    found.text("/display_information/long_description", display.get("long_description"), 174, 4000, needed=False)
    features = manifest.get("features") or {}
    found.fields("/features", features, FEATURES)
    scopes = manifest.get("oauth_config", {}).get("scopes", {}).get("bot") or []
    found.unique("/oauth_config/scopes/bot", "scope", scopes)
    _bot_user(found, features, scopes)
    _agent(found, features, scopes)
    _commands(found, features, scopes)
    _shortcuts(found, features, scopes, manifest.get("settings") or {})
    _events(found, (manifest.get("settings") or {}).get("event_subscriptions") or {}, scopes)
    return found


def _bot_user(found: Findings, features: Json, scopes: list[str]) -> None:
    bot = found.object("/features/bot_user", features.get("bot_user"), needed=bool(scopes))
    if bot is not None:
        found.text("/features/bot_user/display_name", bot.get("display_name"), 1, 80)


def _agent(found: Findings, features: Json, scopes: list[str]) -> None:
    if "assistant:write" in scopes and not {"agent_view", "assistant_view"} & set(features):
        found.say("/oauth_config/scopes/bot", "assistant:write needs the feature agent_view")
    agent = found.object("/features/agent_view", features.get("agent_view"), needed=False) or {}
    found.fields("/features/agent_view", agent, ("agent_description", "suggested_prompts", "actions"))
    description = str(agent.get("agent_description") or "")
    found.text("/features/agent_view/agent_description", description or None, 1, 300, needed=False)
    if len(description.encode()) > 300:
        found.say("/features/agent_view/agent_description", "must be at most 300 bytes")
    prompts = found.objects(
        "/features/agent_view/suggested_prompts", agent.get("suggested_prompts"), 1, 4, needed=False
    )
    for where, prompt in prompts:
        found.fields(where, prompt, ("title", "message"))
        found.text(f"{where}/title", prompt.get("title"), 1, 75)
        found.text(f"{where}/message", prompt.get("message"), 1, 1000)


def _commands(found: Findings, features: Json, scopes: list[str]) -> None:
    commands = found.objects("/features/slash_commands", features.get("slash_commands"), 1, 50, needed=False)
    for where, command in commands:
        found.fields(where, command, ("command", "description", "usage_hint", "should_escape", "url"))
        found.text(f"{where}/description", command.get("description"), 1, 2000)
        found.text(f"{where}/usage_hint", command.get("usage_hint"), 1, 1000, needed=False)
        name = command.get("command")
        if found.text(f"{where}/command", name, 2, 32) and (
            not str(name).startswith("/") or str(name) != str(name).lower()
        ):
            found.say(f"{where}/command", "must begin with a slash and be in lower case")
    found.unique("/features/slash_commands", "command", [command.get("command") for _, command in commands])
    if commands and "commands" not in scopes:
        found.say("/oauth_config/scopes/bot", "slash commands need the scope commands")


def _shortcuts(found: Findings, features: Json, scopes: list[str], settings: Json) -> None:
    shortcuts = found.objects("/features/shortcuts", features.get("shortcuts"), 1, 10, needed=False)
    for where, shortcut in shortcuts:
        found.fields(where, shortcut, ("name", "type", "callback_id", "description"))
        found.text(f"{where}/name", shortcut.get("name"), 1, 24)
        found.text(f"{where}/callback_id", shortcut.get("callback_id"), 1, 255)
        found.text(f"{where}/description", shortcut.get("description"), 1, 150)
        found.one_of(f"{where}/type", shortcut.get("type"), ("message", "global"))
    found.unique("/features/shortcuts", "callback_id", [shortcut.get("callback_id") for _, shortcut in shortcuts])
    if shortcuts and "commands" not in scopes:
        found.say("/oauth_config/scopes/bot", "shortcuts need the scope commands")
    if shortcuts and not (settings.get("interactivity") or {}).get("is_enabled"):
        found.say("/settings/interactivity", "shortcuts need interactivity")


def _events(found: Findings, subscriptions: Json, scopes: list[str]) -> None:
    events = subscriptions.get("bot_events") or []
    found.unique("/settings/event_subscriptions/bot_events", "event", events)
    for number, event in enumerate(events):
        where = f"/settings/event_subscriptions/bot_events/{number}"
        if not found.one_of(where, event, (*SCOPES_OF_EVENTS, *OTHER_EVENTS)):
            continue
        needed = SCOPES_OF_EVENTS.get(event, ())
        if needed and not set(needed) & set(scopes):
            found.say(where, f"{event} needs the scope {' or '.join(needed)}")


def take_manifest(app: App, manifest: Json) -> None:
    """Let an app be what a manifest declares, and nothing else; installations get its scopes."""
    features, settings = manifest.get("features") or {}, manifest.get("settings") or {}
    app.scopes = frozenset(manifest.get("oauth_config", {}).get("scopes", {}).get("bot", ()))
    app.events = frozenset((settings.get("event_subscriptions") or {}).get("bot_events", ()))
    app.commands = frozenset(command["command"] for command in features.get("slash_commands", ()))
    app.shortcuts = {one["name"]: (one["type"], one["callback_id"]) for one in features.get("shortcuts", ())}
    app.is_socket_mode_on = bool(settings.get("socket_mode_enabled"))
    app.is_interactive = bool((settings.get("interactivity") or {}).get("is_enabled"))
    home = features.get("app_home") or {}
    app.has_home_tab = bool(home.get("home_tab_enabled"))
    app.has_messages_tab = bool(home.get("messages_tab_enabled")) or "agent_view" in features
    for installation in app.installations.values():
        installation.scopes = app.scopes
