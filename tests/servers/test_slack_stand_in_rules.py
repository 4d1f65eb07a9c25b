"""What Slack refuses is refused, and recorded; so is what the project forbids itself."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from tests.servers.plain_slack_bot import NO_PREVIEWS, Home, at_home, form, section


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        yield opened


async def post(home: Home, text: str = "hello", **more: Any) -> Any:
    arguments = {"channel": home.general.id, "text": text} | NO_PREVIEWS | more
    return await home.bot.client.chat_postMessage(**arguments)


async def test_invalid_blocks_are_named_by_their_place(home: Home):
    with pytest.raises(SlackApiError) as raised:
        await post(home, blocks=[section("a" * 3001)])
    answer = raised.value.response
    where = "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    assert (answer["error"], answer["errors"]) == ("invalid_blocks", [where])
    assert answer["response_metadata"]["messages"] == [f"[ERROR] {where}"]
    assert home.stand_in.broken == [f"chat.postMessage: {where}"]
    with pytest.raises(AssertionError, match="3001 characters"):
        home.stand_in.assert_clean()


async def test_invalid_views_are_named_by_their_place(home: Home):
    interaction = home.ada.interaction("shortcut", home.stand_in.installation(home.team))
    with pytest.raises(SlackApiError) as raised:
        await home.bot.client.views_open(trigger_id=interaction.payload["trigger_id"], view=form("a" * 25))
    assert raised.value.response["error"] == "invalid_arguments"
    assert "json-pointer:/view/title/text" in home.stand_in.broken[0]


async def test_a_trigger_acts_once_and_within_three_seconds(home: Home):
    installation = home.stand_in.installation(home.team)
    interaction = home.ada.interaction("shortcut", installation)
    await home.bot.client.views_open(trigger_id=interaction.payload["trigger_id"], view=form())
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await home.bot.client.views_open(trigger_id=interaction.payload["trigger_id"], view=form())
    late = home.ada.interaction("shortcut", installation)
    home.stand_in.clock.advance(3.1)
    with pytest.raises(SlackApiError, match="expired_trigger_id"):
        await home.bot.client.views_open(trigger_id=late.payload["trigger_id"], view=form())
    with pytest.raises(SlackApiError, match="invalid_trigger_id"):
        await home.bot.client.views_open(trigger_id="1.2", view=form())
    assert home.stand_in.broken == [
        "views.open: the trigger_id was used before",
        "views.open: the trigger_id is older than 3 s",
        "views.open: the trigger_id is not one of this app's",
    ]


async def test_three_modals_can_be_open(home: Home):
    installation = home.stand_in.installation(home.team)
    triggers = [home.ada.interaction("shortcut", installation).payload["trigger_id"] for _ in range(4)]
    await home.bot.client.views_open(trigger_id=triggers[0], view=form())
    for trigger_id in triggers[1:3]:
        await home.bot.client.views_push(trigger_id=trigger_id, view=form())
    with pytest.raises(SlackApiError, match="push_limit_reached"):
        await home.bot.client.views_push(trigger_id=triggers[3], view=form())


async def test_messages_come_about_one_a_second_in_a_channel(home: Home):
    for _ in range(home.stand_in.pacing.burst):
        await post(home)
    with pytest.raises(SlackApiError) as raised:
        await post(home)
    assert raised.value.response.status_code == 429
    assert raised.value.response.headers["Retry-After"] == "1"
    assert home.stand_in.broken == ["chat.postMessage: more than about one message a second in general"]
    other = home.stand_in.world.add_channel(home.team, "other", [home.stand_in.bot_of(home.team)])
    await post(home, channel=other.id)
    home.stand_in.clock.advance(1)
    await post(home)
    assert len(home.general.messages) == home.stand_in.pacing.burst + 1


async def test_updates_come_fifty_a_minute(home: Home):
    ts = (await post(home))["ts"]
    for number in range(50):
        await home.bot.client.chat_update(channel=home.general.id, ts=ts, text=str(number))
    with pytest.raises(SlackApiError) as raised:
        await home.bot.client.chat_update(channel=home.general.id, ts=ts, text="51")
    assert 55 <= int(raised.value.response.headers["Retry-After"]) <= 60
    assert home.stand_in.broken == ["chat.update: called more often than its tier allows"]
    home.stand_in.clock.advance(60)
    await home.bot.client.chat_update(channel=home.general.id, ts=ts, text="52")


async def test_the_limits_of_time_can_be_shortened_or_switched_off(home: Home):
    home.stand_in.pacing.scale = 0.001
    for _ in range(20):
        await post(home)
    home.stand_in.pacing.scale, home.stand_in.pacing.is_on = 1.0, False
    for _ in range(20):
        await post(home)
    home.stand_in.assert_clean()


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"text": "hey <!channel>"}, "may ping: <!channel>"),
        ({"blocks": [section("hey <@U0000>")]}, "may ping: <@U0000>"),
        ({"link_names": True}, "may ping: link_names"),
        ({"unfurl_links": True}, "unfurl_links is not false: Slack fetches what the message links to"),
        ({"unfurl_media": None}, "unfurl_media is not false: Slack fetches what the message links to"),
        ({"emphasis": "strong"}, "unknown argument emphasis"),
    ],
)
async def test_what_the_project_forbids_is_recorded_and_passes(home: Home, more: dict[str, Any], rule: str):
    await post(home, **more)
    assert home.stand_in.broken == [f"chat.postMessage: {rule}"]


async def test_a_reply_names_the_parent_of_its_thread(home: Home):
    asked = home.ada.says(home.general, "one quiet")
    reply = home.ada.says(home.general, "two quiet", thread=asked)
    sent = await post(home, thread_ts=reply.ts)
    assert sent["message"]["thread_ts"] == asked.ts
    assert home.stand_in.broken == ["chat.postMessage: thread_ts is that of a reply, not of its parent"]
    with pytest.raises(SlackApiError, match="thread_not_found"):
        await post(home, thread_ts="1.000001")


async def test_a_message_needs_a_channel_that_the_bot_is_in(home: Home):
    hidden = home.stand_in.world.add_channel(home.team, "hidden", kind="private")
    other = home.stand_in.add_team("Other")
    public = home.stand_in.world.add_channel(home.team, "public")
    archived = home.stand_in.world.add_channel(home.team, "archived", [home.stand_in.bot_of(home.team)])
    archived.is_archived = True
    for channel, error in (
        (hidden, "channel_not_found"),
        (home.stand_in.channel(other, "general"), "channel_not_found"),
        (public, "not_in_channel"),
        (archived, "is_archived"),
    ):
        with pytest.raises(SlackApiError, match=error):
            await post(home, channel=channel.id)


@pytest.mark.parametrize(
    ("arguments", "error", "rule"),
    [
        ({"thread_ts": None}, "missing_thread_ts", "a stream must be a reply in a thread"),
        ({"recipient_team_id": None}, "missing_recipient_team_id", "a stream in a channel needs recipient_team_id"),
        ({"recipient_user_id": None}, "missing_recipient_user_id", "a stream in a channel needs recipient_user_id"),
        ({"markdown_text": "a" * 12_001}, "msg_too_long", "a call may add 12,000 characters of Markdown"),
        ({"chunks": [{"type": "image"}]}, "invalid_chunks", "chunks have an unknown form"),
    ],
)
async def test_a_stream_is_checked(home: Home, arguments: dict[str, Any], error: str, rule: str):
    asked = home.ada.says(home.general, "go quiet")
    whole: dict[str, Any] = {"channel": home.general.id, "thread_ts": asked.ts}
    whole |= {"recipient_team_id": home.team.id, "recipient_user_id": home.ada.id} | arguments
    with pytest.raises(SlackApiError, match=error):
        await home.bot.client.chat_startStream(**whole)
    assert home.stand_in.broken == [f"chat.startStream: {rule}"]


async def test_an_upload_in_a_channel_is_a_message_too(home: Home):
    for _ in range(home.stand_in.pacing.burst):
        await post(home)
    with pytest.raises(SlackApiError, match="ratelimited"):
        await home.bot.client.files_upload_v2(content="words", filename="words.txt", channel=home.general.id)


async def test_errors_of_a_form_must_name_its_inputs(home: Home):
    result = await home.ada.slash(home.general, "/fill")
    await home.stand_in.wait_for(lambda: result.modal)
    modal = result.modal
    assert modal
    modal.payload["blocks"][0]["block_id"] = "renamed"
    modal.values = {"name": {"name": {"type": "plain_text_input", "value": "bad"}}}
    sent = home.ada.interaction("view_submission", modal.installation, source=modal)
    sent.payload["view"] = modal.payload | {"id": modal.id, "state": {"values": modal.values}}
    await home.stand_in.interactions.send(sent, accepts_payload=True)
    assert sent.failure == "invalid_errors"
    assert "errors must name inputs of the form, not ['name']" in home.stand_in.broken[0]
