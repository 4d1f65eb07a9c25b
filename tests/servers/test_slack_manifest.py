"""An app manifest is checked as Slack does, and limits what the app hears, may do and offers."""

import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from tests.servers.plain_slack_bot import NO_PREVIEWS, Home, at_home
from tests.servers.slack.errors import NotOffered
from tests.servers.slack.manifest import manifest_findings

Json = dict[str, Any]
MANIFEST: Json = {
    "display_information": {"name": "Fewshot"},
    "features": {
        "bot_user": {"display_name": "fewshot", "always_online": True},
        "slash_commands": [{"command": "/say", "description": "Say it", "usage_hint": "text"}],
        "shortcuts": [{"name": "Length", "type": "message", "callback_id": "length", "description": "Count it"}],
        "app_home": {"home_tab_enabled": False, "messages_tab_enabled": True},
    },
    "oauth_config": {"scopes": {"bot": ["chat:write", "commands", "im:history"]}},
    "settings": {
        "event_subscriptions": {"bot_events": ["message.im", "app_home_opened"]},
        "interactivity": {"is_enabled": True},
        "socket_mode_enabled": True,
    },
}


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        opened.stand_in.take_manifest(MANIFEST)
        yield opened


async def test_an_app_hears_only_what_it_subscribed_to(home: Home):
    home.ada.says(home.general, "unheard quiet")
    home.ada.dm("heard quiet")
    await home.stand_in.wait_for(lambda: home.bot.heard)
    await home.stand_in.sockets.is_idle()
    assert home.bot.heard == ["heard quiet"]
    home.stand_in.assert_clean()


async def test_an_app_offers_only_what_it_declared(home: Home):
    with pytest.raises(NotOffered, match="no /whisper among"):
        await home.ada.slash(home.general, "/whisper")
    with pytest.raises(NotOffered, match="no home tab"):
        home.ada.opens_home()
    with pytest.raises(NotOffered, match="no global shortcut 'Length'"):
        await home.ada.uses_global_shortcut("Length")
    result = await home.ada.uses_shortcut(home.ada.says(home.general, "four"), "Length")
    await home.stand_in.wait_for(lambda: result.message)
    home.stand_in.assert_clean()


async def test_a_token_has_the_scopes_of_the_manifest(home: Home):
    await home.bot.client.chat_postMessage(channel=home.general.id, text="hello", **NO_PREVIEWS)
    with pytest.raises(SlackApiError, match=r"missing_scope.*users:read"):
        await home.bot.client.users_info(user=home.ada.id)
    with pytest.raises(SlackApiError, match=r"missing_scope.*channels:history"):
        await home.bot.client.conversations_history(channel=home.general.id)


async def test_without_interactivity_nothing_can_be_clicked(home: Home):
    home.stand_in.app.is_interactive = False
    with pytest.raises(NotOffered, match="interactivity"):
        await home.ada.uses_shortcut(home.ada.says(home.general, "four"), "Length")


def _without_scopes(manifest: Json) -> None:
    manifest["oauth_config"]["scopes"]["bot"] = ["chat:write"]


def _without_interactivity(manifest: Json) -> None:
    manifest["settings"]["interactivity"]["is_enabled"] = False


def _with_long_names(manifest: Json) -> None:
    manifest["display_information"]["name"] = "a" * 36
    manifest["features"]["shortcuts"][0]["name"] = "a" * 25
    manifest["features"]["slash_commands"][0]["command"] = "say"


def _with_too_many_shortcuts(manifest: Json) -> None:
    shortcut = manifest["features"]["shortcuts"][0]
    manifest["features"]["shortcuts"] = [shortcut | {"callback_id": str(number)} for number in range(11)]


def _with_an_unknown_event(manifest: Json) -> None:
    manifest["settings"]["event_subscriptions"]["bot_events"].append("weather_changed")


@pytest.mark.parametrize(
    ("spoil", "num_errors"),
    [
        (lambda manifest: None, 0),
        (_without_scopes, 3),
        (_without_interactivity, 1),
        (_with_long_names, 3),
        (_with_too_many_shortcuts, 1),
        (_with_an_unknown_event, 1),
    ],
)
def test_what_slack_refuses_in_a_manifest_is_found(spoil: Callable[[Json], None], num_errors: int):
    manifest = copy.deepcopy(MANIFEST)
    spoil(manifest)
    assert len(list(manifest_findings(manifest))) == num_errors
