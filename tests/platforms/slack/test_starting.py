"""A newcomer's mistakes on Slack: each is one sentence that says what to do, and no token is in it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.commands.bot import COMMANDS
from bot.core.messages import now_utc
from bot.errors import SetupError
from bot.platforms.slack import starting
from bot.platforms.slack.manifest import AGENT_SCOPE, SCOPES, manifest_of, manifest_text
from bot.platforms.slack.running import check_slack
from bot.platforms.slack.starting import check_tokens
from tests.servers.slack.faults import Fault
from tests.servers.slack.manifest import manifest_findings
from tests.servers.slack.objects import Installation
from tests.servers.slack.server import Slack, serve_slack

APPS = "https://api.slack.com/apps"


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with serve_slack() as served:
        served.add_team("Acme")
        yield served
        served.assert_clean()


async def refusal(slack: Slack, *bot_tokens: str, app_token: str | None = None, url: str | None = None) -> str:
    """Return the sentence with which the bot does not start; it has no token in it."""
    app_token = slack.app.app_token if app_token is None else app_token
    with pytest.raises(SetupError) as refused:
        await check_slack(bot_tokens or (slack.bot_token,), app_token, url or slack.api_url)
    sentence = str(refused.value)
    assert "\n" not in sentence
    for token in (*bot_tokens, slack.bot_token, app_token):
        assert not token or token not in sentence
    return sentence


def installation(slack: Slack) -> Installation:
    return next(iter(slack.app.installations.values()))


async def test_good_tokens_name_the_workspaces(slack: Slack):
    slack.add_team("Beta")
    tokens = [one.bot_token for one in slack.app.installations.values()]
    workspaces = list(await check_slack(tokens, slack.app.app_token, slack.api_url))
    assert [one.name for one in workspaces] == ["Acme", "Beta"]
    assert [one.user_id for one in workspaces] == [one.bot.id for one in slack.app.installations.values()]
    assert set(SCOPES) <= workspaces[0].scopes


@pytest.mark.parametrize(
    ("bot_tokens", "app_token", "sentence"),
    [
        ((), "xapp-1-A1-1-x", "SLACK_BOT_TOKEN is not set. Copy the Bot User OAuth Token (xoxb-…) from"),
        (("xoxb-1",), "", "SLACK_APP_TOKEN is not set. Create an app-level token (xapp-…) with the scope connections"),
        (("xapp-1-A1-1-x",), "xoxb-1", "SLACK_BOT_TOKEN and SLACK_APP_TOKEN are swapped:"),
        (("xoxp-1",), "xapp-1-A1-1-x", "SLACK_BOT_TOKEN is not a bot token, which begins with xoxb-."),
        (("xoxb-1", "xoxe-1"), "xapp-1-A1-1-x", "SLACK_BOT_TOKEN is not a bot token, which begins with xoxb-."),
        (("xoxb-1",), "xoxb-1", "SLACK_APP_TOKEN is not an app-level token, which begins with xapp-."),
        (("xapp-1-A1-1-x",), "xapp-1-A1-1-x", "SLACK_BOT_TOKEN is not a bot token, which begins with xoxb-."),
    ],
)
def test_a_token_that_is_missing_or_of_the_wrong_kind(bot_tokens: tuple[str, ...], app_token: str, sentence: str):
    with pytest.raises(SetupError) as refused:
        check_tokens(bot_tokens, app_token)
    assert str(refused.value).startswith(sentence)
    assert not any(token in str(refused.value) for token in (*bot_tokens, app_token) if len(token) > 6)


async def test_a_token_that_slack_does_not_accept(slack: Slack):
    wrong = f"Slack does not accept SLACK_BOT_TOKEN (invalid_auth). Copy the Bot User OAuth Token again from {APPS}."
    assert await refusal(slack, "xoxb-123-not-this-one") == wrong
    installation(slack).state = "revoked"
    assert "does not accept SLACK_BOT_TOKEN (token_revoked)" in await refusal(slack)
    installation(slack).state = "uninstalled"
    assert "does not accept SLACK_BOT_TOKEN (account_inactive)" in await refusal(slack)
    installation(slack).state = "active"
    app = await refusal(slack, app_token="xapp-not-this-one")
    assert app.startswith("Slack does not accept SLACK_APP_TOKEN (invalid_auth). Create an app-level token again")


async def test_of_several_tokens_the_wrong_one_is_named(slack: Slack):
    slack.add_team("Beta")
    first, second = slack.app.installations.values()
    second.state = "uninstalled"
    sentence = await refusal(slack, first.bot_token, second.bot_token)
    assert sentence.startswith("Slack does not accept token 2 of SLACK_BOT_TOKEN (account_inactive).")


async def test_missing_scopes_are_named(slack: Slack):
    one = installation(slack)
    one.scopes = frozenset(SCOPES) - {"files:write"}
    assert await refusal(slack) == (
        "The bot's token for Acme lacks the scope files:write. Add it at https://api.slack.com/apps, page OAuth &"
        " Permissions, and install the app again."
    )
    one.scopes = frozenset(SCOPES) - {"files:write", "im:write", "chat:write"}
    assert "lacks the scopes chat:write, files:write and im:write. Add them at" in await refusal(slack)
    one.scopes = frozenset(SCOPES)
    slack.app.app_token_scopes = frozenset({"authorizations:read"})
    assert "SLACK_APP_TOKEN lacks the scope connections:write." in await refusal(slack)


async def test_a_workspace_without_agents_needs_neither_their_scope_nor_their_feature(slack: Slack):
    manifest = manifest_of(COMMANDS, bot_name="Fewshot")
    del manifest["features"]["agent_view"]
    assert [one.what for one in manifest_findings(manifest)] == ["assistant:write needs the feature agent_view"]
    manifest["oauth_config"]["scopes"]["bot"].remove(AGENT_SCOPE)
    slack.take_manifest(manifest)
    assert list(await check_slack([slack.bot_token], slack.app.app_token, slack.api_url))


async def test_socket_mode_that_is_off(slack: Slack):
    slack.app.is_socket_mode_on = False
    assert await refusal(slack) == (
        "Slack opens no socket for this app (link_disabled). Turn Socket Mode on at https://api.slack.com/apps, page"
        " Socket Mode."
    )


async def test_tokens_of_two_apps(slack: Slack):
    other = slack.world.add_app("Other")
    sentence = await refusal(slack, app_token=other.app_token)
    assert f"is one of the app {slack.app.id}, but SLACK_APP_TOKEN is one of the app {other.id}." in sentence


async def test_no_network_and_an_outage(slack: Slack):
    assert await refusal(slack, url="http://127.0.0.1:9/") == (
        "Slack can't be reached from here. Check this machine's network and DNS."
    )
    slack.faults.always("auth.test", Fault("refused", reason="internal_error"))
    assert await refusal(slack) == "Slack answered with the error internal_error. Start the bot again later."
    slack.faults.clear()
    slack.faults.always("apps.connections.open", Fault("refused", reason="internal_error"))
    assert await refusal(slack) == "Slack answered with the error internal_error. Start the bot again later."
    slack.faults.clear()
    slack.faults.always("auth.test", Fault("error", status=503))
    assert "Slack" in await refusal(slack)
    # A socket that does not open now is tried again while the bot runs.
    slack.faults.clear()
    slack.sockets.is_refusing = True
    assert list(await check_slack([slack.bot_token], slack.app.app_token, slack.api_url))


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/json"])
@pytest.mark.parametrize("status", [200, 503])
async def test_what_somebody_between_here_and_slack_answers_is_an_outage(slack: Slack, content_type: str, status: int):
    wrong = "Slack can't be reached from here. Check this machine's network and DNS."
    for method in ("auth.test", "apps.connections.open"):
        slack.faults.always(method, Fault("error", status=status, content_type=content_type))
        assert await refusal(slack) == wrong
        slack.faults.clear()


async def test_a_slack_that_never_answers_is_not_waited_for_long(slack: Slack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bot.platforms.slack.starting._TIMEOUT_S", 0.05)
    for method in ("auth.test", "apps.connections.open"):
        slack.faults.always(method, Fault("slow", delay_s=1.0))
        async with asyncio.timeout(0.8):
            assert "Slack can't be reached from here." in await refusal(slack)
        slack.faults.clear()


@pytest.mark.parametrize(("off_by", "where"), [(20, "20 minutes ahead of"), (-20, "20 minutes behind"), (1, "")])
async def test_a_machine_whose_clock_is_wrong(slack: Slack, off_by: int, where: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(starting, "now_utc", lambda: now_utc() + timedelta(minutes=off_by))
    if where:
        assert await refusal(slack) == f"This machine's clock is {where} Slack's. Set it, and start again."
    else:
        assert list(await check_slack([slack.bot_token], slack.app.app_token, slack.api_url))


async def test_no_token_is_logged(slack: Slack, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    await check_slack([slack.bot_token], slack.app.app_token, slack.api_url)
    await refusal(slack, "xoxb-123-not-this-one")
    assert slack.bot_token not in caplog.text
    assert slack.app.app_token not in caplog.text


@pytest.mark.parametrize("prefix", ["", "fs-", "abcdefghij"])
async def test_the_manifest_is_accepted_and_grants_what_the_bot_needs(slack: Slack, prefix: str):
    manifest = manifest_of(COMMANDS, bot_name="Fewshot", name_prefix=prefix)
    slack.take_manifest(manifest)
    assert slack.broken == []
    assert slack.app.scopes == {AGENT_SCOPE, *SCOPES}
    assert slack.app.is_socket_mode_on
    assert slack.app.is_interactive
    assert slack.app.has_home_tab
    assert slack.app.commands is not None
    assert f"/{prefix}fewshot" in slack.app.commands
    assert f"/{prefix}complete" in slack.app.commands
    assert "agent_session_stopped" in (slack.app.events or ())
    described = {one["command"]: one for one in manifest["features"]["slash_commands"]}
    assert described[f"/{prefix}complete"]["usage_hint"].endswith("TEXT")
    assert described[f"/{prefix}prompt"]["description"].startswith("Templates: ")
    assert described[f"/{prefix}story"]["description"].startswith("A story ")
    text = manifest_text(COMMANDS, bot_name="Fewshot", name_prefix=prefix)
    assert json.loads(text)["features"]["slash_commands"][0]["command"] == f"/{prefix}fewshot"
    # It is read by a person before it is pasted.
    assert "\\u" not in text


@pytest.mark.parametrize("name", ["x" * 32, "Ünïcode Bot", "B"])
async def test_a_manifest_takes_every_name_of_a_bot(slack: Slack, name: str):
    slack.take_manifest(manifest_of(COMMANDS, bot_name=name))
    assert slack.broken == []
