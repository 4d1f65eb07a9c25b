"""The real slack_bolt and slack_sdk against the stand-in: what works on Slack works here."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.servers.plain_slack_bot import NO_PREVIEWS, Home, Json, at_home, button, form, make_bot, running, section
from tests.servers.slack import labels, serve_slack, visible_text
from tests.servers.slack.errors import NotOffered
from tests.servers.slack.objects import Message


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        yield opened


async def shown(home: Home) -> Message:
    """Return the bot's message with buttons."""
    return await home.stand_in.wait_for_reply(home.ada.says(home.general, "hello"))


async def test_a_message_is_answered_in_its_thread(home: Home):
    asked = home.ada.says(home.general, "hello")
    reply = await home.stand_in.reply(asked)
    assert visible_text(reply) == "You said hello"
    assert reply.thread_ts == asked.ts
    assert labels(reply) == ["Again", "Fill in", "Slow"]
    assert home.ada.reads(home.general) == ["hello"]
    assert home.ada.reads(home.general, asked) == ["hello", "You said hello"]
    home.stand_in.assert_clean()


async def test_a_direct_message_is_answered(home: Home):
    reply = await home.stand_in.reply(home.ada.dm("hello"))
    assert visible_text(reply) == "You said hello"
    bob = home.stand_in.add_person(home.team, "bob")
    assert not bob.sees(reply)
    assert home.ada.sees(reply)
    home.stand_in.assert_clean()


async def test_a_mention_comes_as_two_events_of_one_text(home: Home):
    asked = home.ada.asks(home.general, "hello quiet")
    await home.stand_in.wait_for(lambda: len(home.bot.events) == 2)
    assert sorted(home.bot.names()) == ["app_mention", "message"]
    assert [body["event"]["ts"] for body in home.bot.events] == [asked.ts] * 2
    assert len({body["event_id"] for body in home.bot.events}) == 2


async def test_ones_own_messages_come_back_with_a_bot_id(home: Home):
    await home.stand_in.reply(home.ada.says(home.general, "hello"))
    await home.stand_in.wait_for(lambda: len(home.bot.events) == 2)
    own = home.bot.events[1]["event"]
    bot = home.stand_in.bot_of(home.team)
    assert (own["bot_id"], own["user"]) == (bot.bot_id, bot.id)


async def test_edits_previews_and_deletions_are_told(home: Home):
    message = home.ada.says(home.general, "see https://example.com quiet")
    home.stand_in.world.unfurl(message)
    home.ada.edits(message, "changed quiet")
    home.ada.deletes(message)
    await home.stand_in.wait_for(lambda: len(home.bot.events) == 4)
    _, preview, edit, deletion = (body["event"] for body in home.bot.events)
    assert home.bot.names()[1:] == ["message.message_changed", "message.message_changed", "message.message_deleted"]
    assert preview["message"]["text"] == preview["previous_message"]["text"]
    assert "edited" not in preview["message"]
    assert (edit["previous_message"]["text"], edit["message"]["text"]) == (message.versions[0][1], "changed quiet")
    assert edit["message"]["edited"]["user"] == home.ada.id
    assert deletion["deleted_ts"] == message.ts
    assert home.ada.reads(home.general) == []


async def test_a_deleted_question_with_answers_stays_as_a_tombstone(home: Home):
    asked = home.ada.says(home.general, "hello")
    await home.stand_in.wait_for_reply(asked)
    home.ada.deletes(asked)
    await home.stand_in.wait_for(lambda: "message.message_changed" in home.bot.names())
    assert home.bot.events[-1]["event"]["message"]["subtype"] == "tombstone"
    assert home.general.messages[0] is asked


async def test_files_broadcasts_and_other_bots_have_their_subtypes(home: Home):
    first = home.ada.says(home.general, "look quiet", files=[("notes.txt", b"words")])
    home.ada.says(home.general, "all quiet", thread=first, broadcast=True)
    other = home.stand_in.world.install(home.stand_in.world.add_app("Other"), home.team)
    home.stand_in.world.join(home.general, other.bot)
    old = Message(home.stand_in.clock.next_ts(), home.general, other.bot, "beep", subtype="bot_message")
    home.stand_in.world.post(old)
    await home.stand_in.wait_for(lambda: "message.bot_message" in home.bot.names())
    names = home.bot.names()
    assert {"message.file_share", "message.thread_broadcast", "file_shared", "member_joined_channel"} <= set(names)
    assert "user" not in home.bot.events[names.index("message.bot_message")]["event"]
    assert home.ada.reads(home.general)[1] == "all quiet"


async def test_a_click_changes_the_message_in_place(home: Home):
    message = await shown(home)
    await home.ada.clicks(message, "Again")
    await home.stand_in.wait_for(lambda: visible_text(message) == "again None")
    await home.ada.selects(message, "How many", "Two")
    await home.stand_in.wait_for(lambda: visible_text(message) == "how_many T")
    assert len(home.general.messages) == 2
    home.stand_in.assert_clean()


async def test_only_what_is_there_can_be_clicked(home: Home):
    message = await shown(home)
    with pytest.raises(NotOffered, match="no 'Delete' among"):
        await home.ada.clicks(message, "Delete")
    with pytest.raises(NotOffered, match="no option 'Three'"):
        await home.ada.selects(message, "How many", "Three")
    bob = home.stand_in.add_person(home.team, "bob", channels=[])
    with pytest.raises(NotOffered, match="can't write"):
        bob.says(home.general, "hi")


async def test_a_form_is_opened_checked_and_sent(home: Home):
    result = await home.ada.clicks(await shown(home), "Fill in")
    await home.stand_in.wait_for(lambda: result.modal)
    modal = result.modal
    assert modal
    assert (modal.title, visible_text(modal)) == ("A form", "A form\nName")
    with pytest.raises(NotOffered, match=r"needs \['Name'\]"):
        await home.ada.submits(modal, {"Name": ""})
    with pytest.raises(NotOffered, match="takes 0 to 10 characters"):
        await home.ada.submits(modal, {"Name": "a" * 11})
    await home.ada.submits(modal, {"Name": "bad"})
    assert (modal.is_open, modal.errors) == (True, {"name": "No such name"})
    await home.ada.submits(modal, {"Name": "more"})
    assert modal.errors == {}
    assert visible_text(modal) == "Another form\nGo on\nName"
    await home.ada.submits(modal, {"Name": "Ada"})
    assert not modal.is_open
    sent = await home.stand_in.wait_for_message(home.ada.dm_channel)
    assert visible_text(sent) == "Hello Ada"
    home.stand_in.assert_clean()


async def test_a_form_can_be_cleared_or_closed(home: Home):
    opened = []
    for _ in range(2):
        result = await home.ada.slash(home.general, "/fill")
        await home.stand_in.wait_for(lambda result=result: result.modal)
        assert result.modal
        opened.append(result.modal)
    assert [modal.is_open for modal in opened] == [False, True]
    await home.ada.closes(opened[1])
    assert home.bot.closed == [opened[1].id]
    result = await home.ada.slash(home.general, "/fill")
    await home.stand_in.wait_for(lambda: result.modal)
    await home.ada.submits(result.modal, {"name": "clear"})
    assert home.stand_in.open_views(home.ada.user) == []
    home.stand_in.assert_clean()


async def test_slash_commands_answer_by_acknowledgement_and_by_url(home: Home):
    said = await home.ada.slash(home.general, "/say", "hey")
    assert said.message
    assert said.message.ephemeral_for is None
    assert visible_text(said.message) == "hey"
    whispered = await home.ada.slash(home.general, "/whisper", "psst")
    await home.stand_in.wait_for(lambda: whispered.message)
    bob = home.stand_in.add_person(home.team, "bob")
    assert home.ada.reads(home.general) == ["hey", "psst"]
    assert bob.reads(home.general) == ["hey"]
    assert said.acknowledged_after_s is not None
    with pytest.raises(NotOffered, match="threads"):
        await home.ada.slash(home.general, "/say", "hey", thread=said.message)
    home.stand_in.assert_clean()


async def test_an_unacknowledged_command_is_shown_as_an_error(home: Home):
    home.stand_in.sockets.ack_timeout_s = 0.2
    result = await home.ada.slash(home.general, "/deaf")
    assert result.failure == "operation_timeout"
    assert "slash_commands was not acknowledged within 0.2 s" in home.stand_in.broken[0]
    with pytest.raises(AssertionError, match="not acknowledged: slash_command"):
        home.stand_in.assert_clean()


async def test_shortcuts_of_messages_and_of_everywhere(home: Home):
    message = home.ada.says(home.general, "four quiet")
    result = await home.ada.uses_shortcut(message, "length")
    await home.stand_in.wait_for(lambda: result.message)
    assert result.message
    assert visible_text(result.message) == "10 characters"
    assert result.message.ephemeral_for is home.ada.user
    everywhere = await home.ada.uses_global_shortcut("new")
    await home.stand_in.wait_for(lambda: everywhere.modal)
    home.stand_in.assert_clean()


async def test_the_home_tab_and_the_messages_tab(home: Home):
    assert home.ada.home() is None
    home.ada.opens_home()
    await home.stand_in.wait_for(home.ada.home)
    tab = home.ada.home()
    assert tab
    assert (visible_text(tab), labels(tab)) == ("Home", ["Fill in"])
    result = await home.ada.clicks(tab, "Fill in")
    await home.stand_in.wait_for(lambda: result.modal)
    home.ada.opens_messages()
    channel = home.ada.dm_channel
    await home.stand_in.wait_for(lambda: channel.id in home.stand_in.world.suggested_prompts)
    home.stand_in.assert_clean()


async def test_every_kind_of_choice_has_its_state(home: Home):
    def options(*words: str) -> list[Json]:
        return [{"text": {"type": "plain_text", "text": word}, "value": word.lower()} for word in words]

    def choice(kind: str, **more: Any) -> Json:
        return {"type": kind, "action_id": kind} | more

    elements = [
        choice("overflow", options=options("Edit", "Delete")),
        choice("radio_buttons", options=options("Yes", "No")),
        choice("checkboxes", options=options("A", "B", "C")),
        choice("users_select"),
        choice("datepicker"),
    ]
    heard: list[Json] = []

    @home.bot.app.action(re.compile(".*"))
    async def on_any(ack: Any, action: Json) -> None:
        await ack()
        heard.append(action)

    blocks = [{"type": "actions", "elements": elements}]
    await home.bot.client.chat_postMessage(channel=home.general.id, text="Choose", blocks=blocks, **NO_PREVIEWS)
    (message,) = home.general.messages
    await home.ada.selects(message, "overflow", "Delete")
    await home.ada.selects(message, "radio_buttons", "No")
    await home.ada.selects(message, "checkboxes", ["A", "C"])
    await home.ada.selects(message, "users_select", home.ada.id)
    assert [action["selected_option"]["value"] for action in heard[:2]] == ["delete", "no"]
    assert [option["value"] for option in heard[2]["selected_options"]] == ["a", "c"]
    assert heard[3]["selected_user"] == home.ada.id
    home.stand_in.assert_clean()


async def test_a_form_takes_every_kind_of_field(home: Home):
    def field(label: str, element: Json, **more: Any) -> Json:
        text = {"type": "plain_text", "text": label}
        return {"type": "input", "block_id": label, "label": text, "element": element | {"action_id": "value"}} | more

    words = [{"text": {"type": "plain_text", "text": word}, "value": word} for word in ("few", "many")]
    fields = [
        field("Name", {"type": "plain_text_input", "initial_value": "old"}),
        field("Kind", {"type": "static_select", "options": words, "initial_option": words[0]}),
        field("Several", {"type": "multi_static_select", "options": words, "max_selected_items": 1}, optional=True),
        field("Number", {"type": "number_input", "is_decimal_allowed": False}, optional=True),
        field("Find", {"type": "plain_text_input"}, optional=True, dispatch_action=True),
    ]
    interaction = home.ada.interaction("shortcut", home.stand_in.installation(home.team))
    view = form() | {"callback_id": "fields", "blocks": fields}
    await home.bot.client.views_open(trigger_id=interaction.payload["trigger_id"], view=view)
    sent: list[Json] = []

    @home.bot.app.view("fields")
    async def on_fields(ack: Any, view: Json) -> None:
        await ack()
        sent.append({block: value["value"] for block, value in view["state"]["values"].items()})

    @home.bot.app.action("value")
    async def on_find(ack: Any, action: Json) -> None:
        await ack()
        sent.append(action)

    modal = interaction.modal
    assert modal
    await home.ada.enters(modal, "Find", "word")
    assert sent.pop()["value"] == "word"
    with pytest.raises(NotOffered, match="only 1 options"):
        await home.ada.submits(modal, {"Several": ["few", "many"]})
    with pytest.raises(NotOffered, match="no field 'Age'"):
        await home.ada.submits(modal, {"Age": "7"})
    await home.ada.submits(modal, {"Kind": "many", "Number": 7})
    assert (sent[0]["Name"]["value"], sent[0]["Kind"]["selected_option"]["value"]) == ("old", "many")
    assert (sent[0]["Several"]["selected_options"], sent[0]["Number"]["value"]) == ([], "7")
    home.stand_in.assert_clean()


async def test_external_selects_get_suggestions(home: Home):
    select = {"type": "external_select", "action_id": "pick", "placeholder": {"type": "plain_text", "text": "Pick"}}
    blocks = [section("Pick one"), {"type": "actions", "elements": [select]}]
    sent = await home.bot.client.chat_postMessage(channel=home.general.id, text="Pick", blocks=blocks, **NO_PREVIEWS)
    message = home.general.message(sent["ts"])
    assert message
    assert [option["value"] for option in await home.ada.suggestions(message, "Pick", "ab")] == ["ab"]


async def test_an_ephemeral_message_is_not_sent_back(home: Home):
    blocks = [section("Only you"), {"type": "actions", "elements": [button("Again", "again")]}]
    await home.bot.client.chat_postEphemeral(channel=home.general.id, user=home.ada.id, text="Only you", blocks=blocks)
    whisper = await home.stand_in.wait_for_whisper(home.ada)
    result = await home.ada.clicks(whisper, "Again")
    assert result.payload["container"]["is_ephemeral"]
    assert "message" not in result.payload
    await home.stand_in.wait_for(lambda: visible_text(whisper) == "again None")


async def test_several_workspaces_have_their_own_tokens_and_events():
    async with serve_slack() as stand_in:
        first, second = stand_in.add_team("First"), stand_in.add_team("Second")
        ada, bob = stand_in.add_person(first, "ada"), stand_in.add_person(second, "bob")
        async with running(stand_in, make_bot(stand_in)) as bot:
            ada.says(stand_in.channel(first, "general"), "one quiet")
            bob.says(stand_in.channel(second, "general"), "two quiet")
            await stand_in.wait_for(lambda: len(bot.events) == 2)
            assert {body["team_id"] for body in bot.events} == {first.id, second.id}
            assert {body["authorizations"][0]["user_id"] for body in bot.events} == {
                stand_in.bot_of(first).id,
                stand_in.bot_of(second).id,
            }
            answer = await bot.client.auth_test(token=stand_in.installation(second).bot_token)
            assert (answer["team_id"], answer["user_id"]) == (second.id, stand_in.bot_of(second).id)


async def test_a_stranger_of_a_shared_channel_is_marked():
    async with serve_slack() as stand_in:
        home, guest = stand_in.add_team("Home"), stand_in.add_team("Guest", has_app=False)
        eve = stand_in.add_person(guest, "eve")
        shared = stand_in.world.add_channel(home, "shared", [eve.user, stand_in.bot_of(home)], shared=[guest])
        async with running(stand_in, make_bot(stand_in)) as bot:
            eve.asks(shared, "hi quiet")
            await stand_in.wait_for(lambda: len(bot.events) == 2)
            body = bot.events[0]
            assert (body["team_id"], body["event"]["user_team"], body["is_ext_shared_channel"]) == (
                home.id,
                guest.id,
                True,
            )
            user = (await bot.client.users_info(user=eve.id))["user"]
            assert user["is_stranger"]
            assert "is_restricted" not in user
            with pytest.raises(NotOffered, match="Guest has no such app"):
                await eve.slash(shared, "/say", "hi")


async def test_leaving_is_told(home: Home):
    bob = home.stand_in.add_person(home.team, "bob", channels=[])
    bob.joins(home.general)
    home.ada.reacts(home.ada.says(home.general, "nice quiet"), "thumbsup")
    home.stand_in.world.delete_channel(home.general)
    await home.stand_in.wait_for(lambda: "channel_deleted" in home.bot.names())
    home.stand_in.world.uninstall(home.stand_in.installation(home.team))
    await home.stand_in.wait_for(lambda: "app_uninstalled" in home.bot.names())
    await home.stand_in.sockets.is_idle()
    told = {"member_joined_channel", "reaction_added", "channel_deleted", "tokens_revoked", "app_uninstalled"}
    assert told <= set(home.bot.names())


async def test_each_event_goes_to_one_of_several_sockets(home: Home):
    home.stand_in.sockets.retry_delays_s = ()  # on a busy machine acknowledgements come late
    async with running(home.stand_in, make_bot(home.stand_in)) as second:
        await home.stand_in.sockets.is_connected(2)
        for number in range(20):
            home.ada.says(home.general, f"{number} quiet")
        await home.stand_in.wait_for(lambda: len(home.bot.heard) + len(second.heard) == 20)
        await asyncio.sleep(0.05)
        assert sorted(home.bot.heard + second.heard) == sorted(f"{number} quiet" for number in range(20))
        assert home.bot.heard
        assert second.heard
