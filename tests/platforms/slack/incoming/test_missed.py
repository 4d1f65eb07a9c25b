"""What was said while no socket was open: read back channel by channel, and one message never costs another."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.background import keep_running
from bot.errors import Unavailable
from bot.platforms.slack.incoming.channels import Channels
from bot.platforms.slack.incoming.intake import Intake
from bot.platforms.slack.incoming.marks import not_too_old, timestamp
from bot.platforms.slack.incoming.missed import MissedMessages
from bot.platforms.slack.traits import SLACK
from bot.services.ledger import Delivery
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.slack.evenings import an_evening
from tests.platforms.slack.sending import open_sending
from tests.servers.slack.faults import Fault
from tests.servers.slack.server import serve_slack


async def test_in_a_large_workspace_no_channel_waits_until_all_others_are_read(tmp_path: Path):
    names = [f"room-{number}" for number in range(60)]
    async with (
        serve_slack() as slack,
        open_sending(slack, channels=names) as sending,
        open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
    ):
        ann = slack.add_person(sending.team, "Ann")
        rooms = [slack.channel(sending.team, names[number]) for number in (0, 30, 59)]
        roots = [ann.says(room, "hello") for room in rooms]
        replies = [ann.says(root.channel, "again", thread=root) for root in roots]
        channels = Channels(sending.sender, sending.sender._workspaces)
        missed = MissedMessages(Delivery(talk.store, SLACK), sending.sender, channels)
        read: dict[str, int] = {}
        began = slack.clock.now()
        async for found in missed.read(sending.team.id, "0", done=set()):
            num_calls = len(slack.calls("conversations.history"))
            read |= {one.message["ts"]: num_calls for one in found}
        assert [read[one.ts] for one in [*roots, *replies]] == [1, 31, 60, 1, 31, 60]
        # Slack takes 50 reads a minute, which was waited for.
        assert slack.clock.now() - began > 60
        slack.assert_clean()


async def test_reading_that_is_interrupted_goes_on_where_it_was(tmp_path: Path):
    names = [f"room-{number}" for number in range(5)]
    async with (
        serve_slack() as slack,
        open_sending(slack, channels=names) as sending,
        open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
    ):
        channels = Channels(sending.sender, sending.sender._workspaces)
        missed = MissedMessages(Delivery(talk.store, SLACK), sending.sender, channels)
        done: set[str] = set()
        limited: list[int] = []

        async def read() -> None:
            async for _ in missed.read(sending.team.id, "0", done=done):
                if len(done) == 2 and not limited:
                    limited.append(2)
                    slack.faults.once("conversations.history", Fault("rate_limited", retry_after_s=3600))

        with pytest.raises(Unavailable):
            await read()
        await read()
        calls = [call.arguments["channel"] for call in slack.calls("conversations.history") if call.status == 200]
        assert sorted(calls) == sorted(slack.channel(sending.team, name).id for name in names), "each once"
        slack.assert_clean()


async def test_a_message_that_can_not_be_handled_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    accept = Intake._accept

    async def stumble(self: Intake, said: Any, workspace: Any) -> None:
        if "poison" in said.text:
            raise KeyError("a bug")
        await accept(self, said, workspace)

    async with an_evening(tmp_path) as evening:
        async with evening.run():
            await evening.reply(evening.ann.asks(evening.general, "Hello"))
        evening.ann.asks(evening.general, "poison")
        asked = evening.ann.asks(evening.general, "Are you there?")
        monkeypatch.setattr(Intake, "_accept", stumble)
        async with evening.run():
            assert await evening.reply(asked) == "Hello there."


def test_after_weeks_only_the_last_day_is_read():
    now = 1_800_000_000.0
    assert not_too_old(timestamp(now - 14 * 86_400), clock=lambda: now) == timestamp(now - 86_400)
    assert not_too_old(timestamp(now - 60), clock=lambda: now) == timestamp(now - 60)


async def test_more_than_can_be_answered_at_once_is_answered_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bot.platforms.shared.answering.MAX_RUNNING", 2)
    monkeypatch.setattr("bot.platforms.slack.incoming.intake._MAX_AT_ONCE", 1)
    async with an_evening(tmp_path, pause_s=0.05) as evening:
        async with evening.run():
            await evening.reply(evening.ann.asks(evening.general, "Hello"))
        people = [evening.slack.add_person(evening.team, f"P{number}") for number in range(5)]
        asked = [one.asks(evening.general, "Are you there?") for one in people]
        async with evening.run():
            for one in asked:
                assert await evening.reply(one) == "Hello there."
        assert not evening.slack.world.ephemerals


async def test_reading_back_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read_back, calls = Intake.read_back, []

    async def stumble(self: Intake) -> None:
        calls.append(1)
        if len(calls) <= 3:  # more often than sockets are opened
            raise KeyError("a bug")
        await read_back(self)

    monkeypatch.setattr(Intake, "read_back", stumble)
    monkeypatch.setattr("bot.platforms.slack.client.keep_running", partial(keep_running, restart_s=0.01))
    async with an_evening(tmp_path) as evening, evening.run():
        assert len(calls) >= 4


async def test_a_shared_channel_that_the_bot_left_in_one_workspace_is_answered_in_the_other(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        away = evening.slack.add_team("Globex")
        bots = [evening.slack.bot_of(evening.team), evening.slack.bot_of(away)]
        both = evening.slack.world.add_channel(away, "both", [*bots, evening.ann.user], shared=[evening.team])
        async with evening.run():
            await evening.reply(evening.ann.says(both, f"{bots[0].mention} Hello"))
            evening.slack.world.leave(both, bots[0])
            await evening.slack.sockets.lose("cut")
            await evening.slack.sockets.is_connected(2)
            await evening.is_quiet()
            assert await evening.reply(evening.ann.says(both, f"{bots[1].mention} Still there?")) == "Hello there."
