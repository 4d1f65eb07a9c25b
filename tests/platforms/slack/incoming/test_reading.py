"""Slack's texts as people and the model read them: names for ids, addresses for links, no markup of Slack's."""

from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.messages import Author
from bot.platforms.slack.incoming.reading import (
    kind_of,
    mentioned_ids,
    mentions_bot,
    message_of,
    plain_text,
    read_said,
    time_of,
)
from bot.platforms.slack.workspaces import Workspace

ACME = Workspace("T1", "Acme", "UBOT", "BBOT", AsyncWebClient(token="xoxb-1"))
NAMES = {"U1": "Ann", "U2": "Bo: the\u202e 2nd"}


def read(text: str) -> str:
    return plain_text(text, ACME, command_prefix="!", name_of=lambda id: NAMES.get(id, ""))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<@UBOT> hello", "hello"),
        ("<@UBOT>: hello <@UBOT>", "hello"),
        ("<@UBOT|fewshot>, hello", "hello"),
        ("I say <@UBOT> is fine", "I say @member is fine"),
        ("ask <@U1> and <@U2> and <@U9>", "ask @Ann and @Bo the 2nd and @member"),
        ("<@U1|ann> there <@U9|zed>", "@Ann there @zed"),
        ("in <#C1|general> and <#C2>", "in #general and #channel"),
        ("<!here> <!channel|@channel> <!subteam^S1|@mods> <!subteam^S2>", "@here @channel @mods @group"),
        ("see <https://x.example/a?b=1&amp;c=2>", "see https://x.example/a?b=1&c=2"),
        ("see <https://x.example|this>", "see this (https://x.example)"),
        ("see <http://x.example|x.example>", "see http://x.example"),
        ("<mailto:a@b.example|a@b.example>", "a@b.example"),
        ("a &lt;b&gt; &amp;amp; c &amp;lt;", "a <b> &amp; c &lt;"),
        ("2 &lt; 3 &gt; 1", "2 < 3 > 1"),
    ],
)
def test_a_text_is_read_as_people_see_it(text: str, shown: str):
    assert read(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "<@UBOT> !settings moderator_roles <!subteam^S1|@mods> <@U1|ann>",
            "!settings moderator_roles <!subteam^S1> <@U1>",
        ),
        ("!settings report_channel <#C1|general>", "!settings report_channel <#C1>"),
        ("!next a &lt; b <https://x.example|x>", "!next a < b x (https://x.example)"),
        ("!complete Hello <@UBOT>", "!complete Hello <@UBOT>"),
    ],
)
def test_a_command_keeps_ids_and_no_names(text: str, shown: str):
    assert read(text) == shown


def test_who_is_mentioned():
    assert mentions_bot("hi <@UBOT>", ACME)
    assert mentions_bot("hi <@UBOT|fewshot>", ACME)
    assert not mentions_bot("hi <@UBOTTY> <!here>", ACME)
    assert mentioned_ids("<@U1> <@U2|b> <@U1> <#C1> <!here>") == ["U1", "U2"]


def event(**more: Any) -> dict[str, Any]:
    return {"type": "message", "user": "U1", "text": "hi", "ts": "1700000000.000100", "channel": "C1", **more}


@pytest.mark.parametrize(
    "more",
    [
        {"bot_id": "B1"},
        {"user": "UBOT"},
        {"user": None},
        {"subtype": "channel_join"},
        {"subtype": "message_changed"},
        {"hidden": True},
        {"ts": None},
        {"channel": ""},
    ],
)
def test_what_no_person_says_is_nothing(more: dict[str, Any]):
    assert read_said(event(**more), ACME) is None


def test_a_message_has_its_workspace_channel_and_time_as_its_id():
    said = read_said(event(subtype="file_share", files=[{"name": "a.txt", "mimetype": "text/plain", "size": 3}]), ACME)
    assert said is not None
    assert str(said.id) == "T1:C1:1700000000.000100"
    assert said.files[0].name == "a.txt"
    message = message_of(said, Author("U1", "Ann"), text="hi", is_addressed=True)
    assert (message.scope.server, message.scope.channel, message.scope.thread) == ("T1", "C1", "1700000000.000100")
    assert message.created_at_utc == time_of("1700000000.000100")
    apart = message_of(said, Author("U1", "Ann"), text="hi", is_addressed=False)
    assert apart.scope.thread == ""


@pytest.mark.parametrize(
    ("channel", "channel_type", "name", "kind"),
    [
        ("D1", "", "", "direct"),
        ("C1", "im", "", "direct"),
        ("C1", "mpim", "", "group"),
        ("C1", "", "mpdm-ann--bo-1", "group"),
        ("G1", "group", "", "server"),
        ("C1", "channel", "general", "server"),
    ],
)
def test_what_kind_of_place_a_channel_is(channel: str, channel_type: str, name: str, kind: str):
    assert kind_of(channel, channel_type=channel_type, name=name) == kind
