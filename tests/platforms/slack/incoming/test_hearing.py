"""What sockets have delivered, held against what was said: a kind of messages that never comes is no deaf socket."""

import asyncio
from typing import Any

import pytest

from bot.platforms.slack.ids import Address
from bot.platforms.slack.incoming.channels import Channels
from bot.platforms.slack.incoming.hearing import Hearing
from tests.platforms.slack.sending import open_sending
from tests.servers.slack.payloads import message_payload
from tests.servers.slack.server import serve_slack


async def test_messages_to_which_the_app_is_not_subscribed_are_not_taken_for_missed_for_ever(
    caplog: pytest.LogCaptureFixture,
):
    async with serve_slack() as slack, open_sending(slack) as sending:
        team = sending.team
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        bot = slack.bot_of(team)
        club = slack.world.add_channel(team, "club", [bot, ann.user], kind="private")
        channels = Channels(sending.sender, sending.sender._workspaces)
        await channels.read(team.id)
        hearing = Hearing(sending.sender, sending.sender._workspaces, channels, clock=slack.clock.now)

        async def is_missed() -> bool:
            slack.clock.advance(10)
            missed = await hearing.is_anything_missed([], on_its_way_s=5.0)
            # What was read back meanwhile is known.
            for channel in (general, club):
                for message in channel.messages:
                    hearing.note(message_payload(message), team.id, channel.id)
            return missed

        for channel in (general, club):
            hearing.delivered({"type": "app_mention", "ts": "1.0"}, team.id, channel.id)
        found = []
        for _ in range(5):
            ann.says(club, "hello")
            found.append(await is_missed())
        assert found == [True, True, True, False, False]
        assert "is the app subscribed to them?" in caplog.text
        # Of a kind that was delivered once, each message that is missed counts.
        hearing.delivered(message_payload(ann.says(general, "hello")), team.id, general.id)
        for _ in range(5):
            ann.says(general, "are you there?")
            assert await is_missed()


async def test_a_channel_that_is_slow_to_read_does_not_hide_what_was_missed_in_another(
    monkeypatch: pytest.MonkeyPatch,
):
    async with serve_slack() as slack, open_sending(slack) as sending:
        team = sending.team
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        other = slack.world.add_channel(team, "other", [slack.bot_of(team), ann.user])
        channels = Channels(sending.sender, sending.sender._workspaces)
        await channels.read(team.id)
        hearing = Hearing(sending.sender, sending.sender._workspaces, channels, clock=slack.clock.now)
        for channel in (other, general):
            hearing.delivered(message_payload(ann.says(channel, "hello")), team.id, channel.id)
        ann.says(other, "are you there?")
        slack.clock.advance(10)
        read = sending.sender.newest

        async def never_answers_for_general(place: Address, **how: Any) -> Any:
            return await (asyncio.Event().wait() if place.channel == general.id else read(place, **how))

        monkeypatch.setattr(sending.sender, "newest", never_answers_for_general)
        async with asyncio.timeout(30):
            assert await hearing.is_anything_missed([], on_its_way_s=5.0)
