"""Every method of the stand-in's Web API, by the real AsyncWebClient."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.servers.plain_slack_bot import NO_PREVIEWS, Office, at_office, button, form, section
from tests.servers.slack import visible_text
from tests.servers.slack.server import METHODS


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with at_office() as opened:
        yield opened


@pytest.mark.parametrize("base", ["http://127.0.0.1:1/api/", "http://127.0.0.1:1/api"])
async def test_a_base_url_gets_its_last_slash_from_the_client(base: str):
    assert AsyncWebClient(base_url=base).base_url == "http://127.0.0.1:1/api/"


async def test_who_am_i(office: Office):
    answer = await office.client.auth_test()
    bot = office.slack.bot_of(office.team)
    assert (answer["user_id"], answer["bot_id"], answer["team_id"]) == (bot.id, bot.bot_id, office.team.id)
    assert (await office.client.api_test())["ok"]
    info = await office.client.bots_info(bot=bot.bot_id)
    assert info["bot"]["user_id"] == bot.id
    with pytest.raises(SlackApiError, match="bot_not_found"):
        await office.client.bots_info(bot="B0")


async def test_the_environment_of_a_program(office: Office):
    assert office.slack.environment == {
        "SLACK_API_URL": office.slack.api_url,
        "SLACK_BOT_TOKEN": office.slack.bot_token,
        "SLACK_APP_TOKEN": office.slack.app.app_token,
    }
    assert office.slack.api_url.endswith("/api/")
    assert (office.slack.bot_token[:5], office.slack.app.app_token[:5]) == ("xoxb-", "xapp-")
    assert (await office.client.team_info())["team"]["id"] == office.team.id


async def test_what_is_no_json_is_refused(office: Office):
    headers = {"Authorization": f"Bearer {office.slack.bot_token}", "Content-Type": "application/json"}
    url = f"{office.slack.api_url}chat.postMessage"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"{", headers=headers) as answer:
        assert await answer.json() == {"ok": False, "error": "invalid_json"}


async def test_people_and_their_ranks(office: Office):
    ranks: dict[Any, dict[str, bool]] = {
        "member": {"is_admin": False, "is_owner": False, "is_restricted": False, "is_ultra_restricted": False},
        "admin": {"is_admin": True, "is_owner": False},
        "owner": {"is_admin": True, "is_owner": True},
        "guest": {"is_restricted": True, "is_ultra_restricted": False},
        "single_channel_guest": {"is_restricted": True, "is_ultra_restricted": True},
    }
    for rank, flags in ranks.items():
        person = office.slack.add_person(office.team, rank, rank)
        user = (await office.client.users_info(user=person.id))["user"]
        assert {name: user[name] for name in flags} == flags
    with pytest.raises(SlackApiError, match="user_not_found"):
        await office.client.users_info(user="U0")
    # The client fills one answer again for each page.
    pages = [[member["name"] for member in page["members"]] async for page in await office.client.users_list(limit=3)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(name for page in pages for name in page) == sorted(["fewshot", "ada", *ranks])


async def test_user_groups(office: Office):
    group = office.slack.world.add_group(office.team, "moderators", [office.ada.user])
    groups = (await office.client.usergroups_list(include_users=True))["usergroups"]
    assert [(one["handle"], one["users"]) for one in groups] == [("moderators", [office.ada.id])]
    assert (await office.client.usergroups_users_list(usergroup=group.id))["users"] == [office.ada.id]
    with pytest.raises(SlackApiError, match="no_such_subteam"):
        await office.client.usergroups_users_list(usergroup="S0")


async def test_channels_are_listed_by_page_and_kind(office: Office):
    bot = office.slack.bot_of(office.team)
    secret = office.slack.world.add_channel(office.team, "secret", [bot, office.ada.user], kind="private")
    hidden = office.slack.world.add_channel(office.team, "hidden", [office.ada.user], kind="private")
    office.slack.world.add_channel(office.team, "second")
    names = [page["channels"][0]["name"] async for page in await office.client.conversations_list(limit=1)]
    assert names == ["general", "second"]
    private = await office.client.conversations_list(types="private_channel")
    mine = await office.client.users_conversations(types="public_channel")
    assert {channel["name"] for channel in mine["channels"]} <= set(names)
    assert [channel["id"] for channel in private["channels"]] == [secret.id]
    info = (await office.client.conversations_info(channel=secret.id, include_num_members=True))["channel"]
    assert (info["is_private"], info["is_member"], info["num_members"]) == (True, True, 2)
    members = await office.client.conversations_members(channel=secret.id, limit=1)
    assert len(members["members"]) == 1
    assert members["response_metadata"]["next_cursor"]
    with pytest.raises(SlackApiError, match="channel_not_found"):
        await office.client.conversations_info(channel=hidden.id)
    with pytest.raises(SlackApiError, match="invalid_cursor"):
        await office.client.conversations_list(cursor="x")


async def test_channels_are_opened_and_joined(office: Office):
    direct = (await office.client.conversations_open(users=office.ada.id))["channel"]["id"]
    assert (direct, direct[0]) == (office.ada.dm_channel.id, "D")
    bob = office.slack.add_person(office.team, "bob")
    group = (await office.client.conversations_open(users=[office.ada.id, bob.id], return_im=True))["channel"]
    assert group["is_mpim"]
    second = office.slack.world.add_channel(office.team, "second")
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await office.client.chat_postMessage(channel=second.id, text="hello", **NO_PREVIEWS)
    await office.client.conversations_join(channel=second.id)
    await office.client.chat_postMessage(channel=second.id, text="hello", **NO_PREVIEWS)
    sent = await office.client.chat_postMessage(channel=office.ada.id, text="by user", **NO_PREVIEWS)
    assert sent["channel"] == direct
    await office.client.conversations_leave(channel=second.id)
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await office.client.conversations_history(channel=second.id)
    office.slack.assert_clean()


async def test_history_is_newest_first_and_without_replies(office: Office):
    first = office.ada.says(office.general, "one")
    office.ada.says(office.general, "reply", thread=first)
    office.ada.says(office.general, "shown reply", thread=first, broadcast=True)
    last = office.ada.says(office.general, "two")
    texts = [
        [page["has_more"], *(message["text"] for message in page["messages"])]
        async for page in await office.client.conversations_history(channel=office.general.id, limit=2)
    ]
    assert texts == [[True, "two", "shown reply"], [False, "one"]]
    newer = await office.client.conversations_history(channel=office.general.id, oldest=first.ts)
    assert first.ts not in [message["ts"] for message in newer["messages"]]
    span = await office.client.conversations_history(
        channel=office.general.id, oldest=first.ts, latest=last.ts, inclusive=True
    )
    assert len(span["messages"]) == 3
    thread = await office.client.conversations_replies(channel=office.general.id, ts=first.ts)
    assert [message["text"] for message in thread["messages"]] == ["one", "reply", "shown reply"]
    assert thread["messages"][0]["reply_count"] == 2
    with pytest.raises(SlackApiError, match="thread_not_found"):
        await office.client.conversations_replies(channel=office.general.id, ts="1.000001")


async def test_metadata_is_read_back_on_request(office: Office):
    metadata = {"event_type": "answer", "event_payload": {"id": "7"}}
    await office.post(metadata=metadata)
    plain = await office.client.conversations_history(channel=office.general.id)
    assert "metadata" not in plain["messages"][0]
    full = await office.client.conversations_history(channel=office.general.id, include_all_metadata=True)
    assert full["messages"][0]["metadata"] == metadata
    with pytest.raises(SlackApiError, match="invalid_metadata_schema"):
        await office.post(metadata={"event_type": "answer"})


async def test_a_message_is_posted_changed_and_deleted(office: Office):
    ts = await office.post(blocks=[section("first")])
    message = office.general.messages[0]
    await office.client.chat_update(channel=office.general.id, ts=ts, text="hidden by the blocks that stay")
    assert visible_text(message) == "first"
    await office.client.chat_update(channel=office.general.id, ts=ts, text="second", blocks=[])
    assert (visible_text(message), bool(message.edited_ts)) == ("second", True)
    link = await office.client.chat_getPermalink(channel=office.general.id, message_ts=ts)
    assert link["permalink"].endswith(f"/archives/{office.general.id}/p{ts.replace('.', '')}")
    await office.client.reactions_add(channel=office.general.id, timestamp=ts, name="eyes")
    assert message.reactions == {"eyes": [office.slack.bot_of(office.team).id]}
    with pytest.raises(SlackApiError, match="already_reacted"):
        await office.client.reactions_add(channel=office.general.id, timestamp=ts, name="eyes")
    await office.client.reactions_remove(channel=office.general.id, timestamp=ts, name="eyes")
    await office.client.chat_delete(channel=office.general.id, ts=ts)
    assert office.general.messages == []
    with pytest.raises(SlackApiError, match="message_not_found"):
        await office.client.chat_update(channel=office.general.id, ts=ts, text="third")
    office.slack.assert_clean()


async def test_only_ones_own_messages_can_be_changed(office: Office):
    asked = office.ada.says(office.general, "hello")
    with pytest.raises(SlackApiError, match="cant_update_message"):
        await office.client.chat_update(channel=office.general.id, ts=asked.ts, text="mine")
    with pytest.raises(SlackApiError, match="cant_delete_message"):
        await office.client.chat_delete(channel=office.general.id, ts=asked.ts)


async def test_an_ephemeral_message_is_seen_by_one(office: Office):
    bob = office.slack.add_person(office.team, "bob")
    await office.client.chat_postEphemeral(channel=office.general.id, user=office.ada.id, text="psst")
    assert office.ada.reads(office.general) == ["psst"]
    assert bob.reads(office.general) == []
    eve = office.slack.add_person(office.team, "eve", channels=[])
    with pytest.raises(SlackApiError, match="user_not_in_channel"):
        await office.client.chat_postEphemeral(channel=office.general.id, user=eve.id, text="psst")


async def test_an_answer_is_streamed(office: Office):
    asked = office.ada.says(office.general, "go")
    stream = await office.client.chat_stream(
        channel=office.general.id, thread_ts=asked.ts, recipient_team_id=office.team.id, recipient_user_id=office.ada.id
    )
    await stream.append(markdown_text="a" * 300)
    (message,) = office.slack.answers_to(asked)
    assert message.is_streaming
    await stream.append(markdown_text="b" * 10)
    row = {"type": "actions", "elements": [button("Again", "again")]}
    await stream.stop(blocks=[row], metadata={"event_type": "answer", "event_payload": {"id": "1"}})
    assert visible_text(message) == "a" * 300 + "b" * 10
    assert (message.is_streaming, message.metadata is not None) == (False, True)
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await office.client.chat_appendStream(channel=office.general.id, ts=message.ts, markdown_text="c")
    office.slack.assert_clean()


async def test_a_person_stops_a_stream(office: Office):
    asked = office.ada.dm("go")
    started = await office.client.chat_startStream(channel=asked.channel.id, thread_ts=asked.ts, markdown_text="one")
    message = asked.channel.message(started["ts"])
    assert message
    office.ada.stops(message)
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await office.client.chat_appendStream(channel=asked.channel.id, ts=message.ts, markdown_text="two")
    await office.slack.wait_for(lambda: office.slack.sockets.lost_events)
    events = [body["event"] for body in office.slack.sockets.lost_events]
    assert [one["streaming_message_ts"] for one in events if one["type"] == "agent_session_stopped"] == [[message.ts]]


async def test_views_are_opened_pushed_updated_and_published(office: Office):
    slack, client = office.slack, office.client
    command = office.ada.interaction("slash_command", slack.installation(office.team))
    opened = await client.views_open(trigger_id=command.payload["trigger_id"], view=form())
    assert command.modal
    office.ada.fills_in(command.modal, {"Name": "Ada"})
    again = office.ada.interaction("block_actions", slack.installation(office.team))
    pushed = await client.views_push(trigger_id=again.payload["trigger_id"], view=form("Above"))
    assert pushed["view"]["previous_view_id"] == opened["view"]["id"]
    assert [view.title for view in slack.open_views(office.ada.user)] == ["A form", "Above"]
    with pytest.raises(SlackApiError, match="hash_conflict"):
        await client.views_update(view_id=opened["view"]["id"], view=form("New"), hash="old")
    await client.views_update(view_id=opened["view"]["id"], view=form("New"), hash=opened["view"]["hash"])
    assert command.modal.title == "New"
    assert command.modal.values["name"]["name"]["value"] == "Ada"
    await office.ada.closes(slack.open_views(office.ada.user)[-1])
    with pytest.raises(SlackApiError, match="not_found"):
        await client.views_update(view_id=pushed["view"]["id"], view=form())
    await client.views_publish(user_id=office.ada.id, view={"type": "home", "blocks": [section("One")]})
    await client.views_publish(user_id=office.ada.id, view={"type": "home", "blocks": [section("Two")]})
    home = office.ada.home()
    assert home
    assert visible_text(home) == "Two"
    assert slack.broken == []


async def test_an_assistants_status_lasts_until_its_answer(office: Office):
    asked = office.ada.dm("hello")
    key = (asked.channel.id, asked.ts)
    await office.client.assistant_threads_setStatus(
        channel_id=key[0], thread_ts=key[1], status="is thinking…", loading_messages=["Place 2 in the queue"]
    )
    assert office.slack.world.statuses[key]["loading_messages"] == ["Place 2 in the queue"]
    await office.client.chat_postMessage(channel=key[0], thread_ts=key[1], text="hi", **NO_PREVIEWS)
    assert office.slack.world.statuses == {}
    await office.client.assistant_threads_setStatus(channel_id=key[0], thread_ts=key[1], status="is thinking…")
    await office.client.assistant_threads_setStatus(channel_id=key[0], thread_ts=key[1], status="")
    assert office.slack.world.statuses == {}
    await office.client.agents_sessions_setStatus(channel_id=key[0], thread_ts=key[1], status="processing")
    assert office.slack.world.sessions == {key: "processing"}
    await office.client.assistant_threads_setSuggestedPrompts(
        channel_id=key[0], title="Try", prompts=[{"title": "One", "message": "Say one"}]
    )
    assert office.slack.world.suggested_prompts[key[0]]["prompts"][0]["title"] == "One"
    office.slack.assert_clean()


async def test_a_response_url_takes_five_answers_in_thirty_minutes(office: Office):
    command = office.ada.interaction("slash_command", office.slack.installation(office.team), channel=office.general)
    url = AsyncWebhookClient(office.slack.interactions.response_url(command))
    assert (await url.send(text="one")).body == "ok"
    assert (await url.send(text="two", replace_original=True)).body == "ok"
    assert [visible_text(message) for message in command.responses] == ["two"]
    assert (await url.send(text="all", response_type="in_channel")).body == "ok"
    assert office.general.messages[0].text == "all"
    await url.send(delete_original=True)
    await url.send(text="five")
    used = await url.send(text="six")
    assert (used.status_code, used.body) == (404, "used_url")
    late = AsyncWebhookClient(office.slack.interactions.response_url(command))
    office.slack.clock.advance(1801)
    assert (await late.send(text="late")).body == "expired_url"
    assert office.slack.broken == [
        "response_url: used more than 5 times",
        "response_url: used more than 30 minutes after the interaction",
    ]


async def test_a_method_that_slack_has_not_is_recorded(office: Office):
    with pytest.raises(SlackApiError, match="unknown_method"):
        await office.client.api_call("chat.shout")
    assert office.slack.broken == ["chat.shout: the stand-in has no such method"]


async def test_a_form_and_json_say_the_same(office: Office):
    blocks = '[{"type": "section", "text": {"type": "mrkdwn", "text": "by form"}}]'
    data = {"channel": office.general.id, "text": "by form", "blocks": blocks, "unfurl_links": "false"}
    await office.client.api_call("chat.postMessage", data=data | {"unfurl_media": "0"})
    assert office.ada.reads(office.general) == ["by form"]
    office.slack.assert_clean()


def test_every_method_is_tried_here():
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_slack_*.py"))
    # One stops by the client's helper, one is called by Socket Mode.
    elsewhere = {"chat.stopStream", "apps.connections.open"}
    assert {name for name in METHODS if f"client.{name.replace('.', '_')}(" not in text} <= elsewhere
