"""The sockets to Slack are never deaf: every kind of loss is noticed, and what was said meanwhile is answered once."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult

from bot.platforms.slack import moments
from bot.platforms.slack.sockets import Sockets, SocketTimings
from bot.platforms.slack.starting import client_of
from bot.platforms.slack.traits import SLACK
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.slack.connecting import QUICK, on_slack
from tests.servers.slack.faults import Fault
from tests.servers.slack.reading import visible_text
from tests.servers.slack.server import Slack, serve_slack

LOSSES = ("cut", "close", "refresh_requested", "silent", "black_hole")
ROOMS = [f"room-{number}" for number in range(12)]
# With these a socket that looks open is looked at after half a second.
WATCHFUL = SocketTimings(
    ping_s=0.5,
    grace_s=0.5,
    look_s=0.6,
    on_its_way_s=0.3,
    close_s=0.5,
    connect_s=2.0,
    first_pause_s=0.05,
    max_pause_s=0.2,
)


def answered(slack: Slack, messages: list[Any]) -> bool:
    return all(slack.answers_to(one) for one in messages)


async def check_all_answered_once(slack: Slack, messages: list[Any]) -> None:
    """Wait for the answers to `messages`, and a while for a second one."""
    await slack.wait_for(lambda: answered(slack, messages), 30, "the answers")
    await slack.sockets.is_idle()
    await asyncio.sleep(0.3)
    for message in messages:
        assert [visible_text(one) for one in slack.answers_to(message)] == ["Hello."]
    assert not slack.doubled()


@pytest.mark.parametrize("how", LOSSES)
async def test_what_is_said_while_all_sockets_are_lost_is_answered_once(how: Any, tmp_path: Path):
    async with serve_slack() as slack:
        # Slack would send nothing again: only reading back helps.
        slack.sockets.retry_delays_s = ()
        slack.pacing.is_on = False
        team = slack.add_team("Acme", ["general", *ROOMS])
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=WATCHFUL),
        ):
            first = ann.asks(general, "hello")
            await slack.reply(first)
            async with slack.sockets.gap(how):
                said = [ann.asks(slack.channel(team, room), "hello") for room in ROOMS[:3]]
                said += [ann.says(general, "again", thread=first), ann.dm("hello there")]
                await asyncio.sleep(0.3)
            await slack.sockets.is_connected(2, 30)
            said.append(ann.asks(slack.channel(team, ROOMS[3]), "at last"))
            await slack.wait_for(lambda: answered(slack, said), 30, "the answers")
            assert len(slack.answers_to(first)) == 2, "the second one is that to what was said in its thread"
            await check_all_answered_once(slack, [one for one in said if one.thread_ts is None])
            slack.assert_clean()


@pytest.mark.parametrize("how", ["warning", "refresh_requested"])
async def test_a_socket_that_slack_asks_to_leave_is_left_when_the_next_one_is_open(how: Any, tmp_path: Path):
    async with serve_slack() as slack:
        team = slack.add_team("Acme")
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=WATCHFUL),
        ):
            await slack.sockets.is_connected(2)
            left = await slack.sockets.lose(how)
            said = ann.asks(general, "hello")
            interaction = await ann.slash(general, "/fewshot", "help")
            assert interaction.failure is None
            await slack.wait_for(lambda: all(one.ended.done() for one in left), 5, "the end of the old sockets")
            assert len(slack.sockets.open) == 2
            assert slack.sockets.outcomes["no_socket"] == 0
            await check_all_answered_once(slack, [said])
            slack.assert_clean()


async def test_a_link_that_was_turned_off_is_used_again_when_it_is_on(tmp_path: Path):
    async with serve_slack() as slack:
        slack.sockets.retry_delays_s = ()
        team = slack.add_team("Acme")
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=WATCHFUL),
        ):
            slack.app.is_socket_mode_on = False
            await slack.sockets.lose("link_disabled")
            await slack.wait_for(lambda: not slack.sockets.open, what="the end of the sockets")
            said = ann.asks(general, "hello")
            await asyncio.sleep(0.5)
            slack.app.is_socket_mode_on = True
            await check_all_answered_once(slack, [said])
            slack.assert_clean()


async def test_a_deaf_socket_that_answers_pings_is_noticed_by_what_it_does_not_deliver(tmp_path: Path):
    async with serve_slack() as slack:
        slack.sockets.retry_delays_s = ()
        team = slack.add_team("Acme")
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=WATCHFUL) as client,
        ):
            await slack.reply(ann.asks(general, "hello"))
            await slack.sockets.lose("deaf")
            said = [ann.asks(general, "are you there?")]
            await check_all_answered_once(slack, said)
            assert client.sockets.num_healthy == 2
            slack.assert_clean()


async def test_one_deaf_socket_of_two_is_replaced_and_what_it_lost_is_answered(tmp_path: Path):
    timings = SocketTimings(
        ping_s=0.5, grace_s=0.5, look_s=0.3, quiet_s=60.0, close_s=0.5, connect_s=2.0, max_pause_s=0.2
    )
    async with serve_slack(seed=3) as slack:
        slack.sockets.retry_delays_s = ()
        slack.pacing.is_on = False
        team = slack.add_team("Acme", ROOMS)
        ann = slack.add_person(team, "Ann")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=timings),
        ):
            await slack.sockets.is_connected(2)
            deaf = slack.sockets.open[0]
            deaf.is_silent = True  # it still answers pings
            said = []
            while not deaf.ended.done():
                said.append(ann.asks(slack.channel(team, ROOMS[len(said) % len(ROOMS)]), "hello"))
                await asyncio.sleep(0.03)
                assert len(said) < 300, "the deaf socket was not noticed"
            await check_all_answered_once(slack, said)
            slack.assert_clean()


async def test_sockets_that_hear_nothing_for_long_are_replaced_in_any_case(tmp_path: Path):
    timings = SocketTimings(ping_s=0.5, look_s=60.0, quiet_s=1.0, close_s=0.5, connect_s=2.0, first_pause_s=0.05)
    async with serve_slack() as slack:
        slack.sockets.retry_delays_s = ()
        team = slack.add_team("Acme")
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=timings),
        ):
            await slack.sockets.lose("deaf")
            await check_all_answered_once(slack, [ann.asks(general, "are you there?")])
            slack.assert_clean()


async def test_an_address_that_leads_nowhere_is_not_tried_for_ever(tmp_path: Path):
    async with serve_slack() as slack:
        team = slack.add_team("Acme")
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=WATCHFUL),
        ):
            # Addresses that have expired: they are refused, also when Slack is there again.
            good = slack.sockets.issue_url
            slack.sockets.issue_url = lambda app: f"{good(app)[:-40]}expired"  # type: ignore[method-assign]
            await slack.sockets.lose("cut")
            await slack.wait_for(lambda: slack.sockets.num_refused >= 3, what="refused connections")
            slack.sockets.issue_url = good  # type: ignore[method-assign]
            await check_all_answered_once(slack, [ann.asks(general, "hello")])
            slack.assert_clean()


async def test_a_server_that_never_answers_a_connection_is_left_after_a_while(tmp_path: Path):
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            writer.close()

    async with serve_slack() as slack:
        team = slack.add_team("Acme")
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        hole = await asyncio.start_server(hang, "127.0.0.1", 0)
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=WATCHFUL),
        ):
            good, calls = slack.sockets.issue_url, []
            port = hole.sockets[0].getsockname()[1]
            slack.sockets.issue_url = lambda app: calls.append(app) or f"ws://127.0.0.1:{port}/"  # type: ignore[method-assign,func-returns-value]
            await slack.sockets.lose("cut")
            await slack.wait_for(lambda: len(calls) >= 2, what="connections")
            slack.sockets.issue_url = good  # type: ignore[method-assign]
            await check_all_answered_once(slack, [ann.asks(general, "hello")])
            slack.assert_clean()
        hole.close()


async def test_sockets_that_can_not_be_closed_do_not_hold_up_the_end(tmp_path: Path):
    async with serve_slack() as slack:
        slack.add_team("Acme")
        async with open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk:
            async with on_slack(talk, slack, timings=WATCHFUL):
                await slack.sockets.lose("black_hole")
                began = time.monotonic()
            assert time.monotonic() - began < 5
            slack.assert_clean()


def test_with_its_usual_delays_a_loss_is_noticed_within_90_seconds():
    usual = SocketTimings()
    # The library closes a socket whose ping was not answered for half a ping.
    assert usual.ping_s * 1.5 + 1 < 90
    # One that sends other things and answers no ping, or the other way round.
    assert 2 * usual.ping_s + usual.grace_s + 1 < 90
    # One that answers pings and delivers nothing. A look is at some channels only, and it is seen six times in `look_s`
    # whether the next one is due.
    looked_after_s = [usual.pause_before_look_s(number) + usual.look_s / 6 for number in range(4)]
    assert sum(looked_after_s) < 90
    assert usual.pause_before_look_s(0) == usual.pause_before_look_s(4) == usual.look_s
    # Where nobody can know that, what was said can still be answered when it is read back.
    assert usual.quiet_s < SLACK.answerable_s - 60


async def test_every_event_is_acknowledged_before_any_work(tmp_path: Path):
    async with serve_slack() as slack:
        slack.sockets.ack_timeout_s = 1.0
        team = slack.add_team("Acme")
        ann, general = slack.add_person(team, "Ann"), slack.channel(team, "general")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=QUICK),
        ):
            slack.faults.always("users.info", "slow")
            slack.faults.always("chat.postMessage", "slow")
            said = [ann.asks(general, f"hello {number}") for number in range(3)]
            await slack.sockets.is_idle()
            assert max(slack.sockets.ack_times_s) < 1.0
            await slack.wait_for(lambda: answered(slack, said), 30, "the answers")
            slack.assert_clean()


def sessions() -> set[aiohttp.ClientSession]:
    """Return the sessions that nobody has closed."""
    return {one for one in gc.get_objects() if type(one) is aiohttp.ClientSession and not one.closed}


@asynccontextmanager
async def lone_sockets(slack: Slack, timings: SocketTimings = WATCHFUL) -> AsyncIterator[Sockets]:
    """Open two sockets of an app that does nothing but acknowledge a command, slowly."""

    async def nothing(*_: object) -> bool:
        return False

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=None)

    async def acknowledge(ack: Any) -> None:
        await asyncio.sleep(0.35)
        await ack()

    slack.add_team("Acme")
    app = AsyncApp(signing_secret="", request_verification_enabled=False, authorize=authorize)
    app.command("/slow")(acknowledge)
    async with aiohttp.ClientSession() as session:
        sockets = Sockets(
            app,
            slack.app.app_token,
            client_of(slack.bot_token, slack.api_url, session),
            lost=lambda _: None,
            opened=nothing,  # type: ignore[arg-type]
            is_deaf=nothing,
            timings=timings,
        )
        sockets.start()
        try:
            yield sockets
        finally:
            await sockets.close()


async def test_sockets_that_are_being_opened_when_the_program_ends_are_given_back():
    before = sessions()
    async with serve_slack() as slack:
        slack.faults.always("apps.connections.open", Fault("slow", delay_s=0.3))
        async with lone_sockets(slack):
            await slack.wait_for(lambda: len(sessions() - before) == 3, what="two sockets that are being opened")
        assert sessions() == before


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", status=503, content_type="text/plain"),
        Fault("error", status=200, content_type="application/json"),
        Fault("refused", reason="invalid_auth"),
        Fault("rate_limited", retry_after_s=0),
    ],
)
async def test_whatever_an_address_is_refused_with_it_is_asked_for_again(
    fault: Fault, caplog: pytest.LogCaptureFixture
):
    before = sessions()
    async with serve_slack() as slack:
        slack.faults.always("apps.connections.open", fault)
        async with lone_sockets(slack) as sockets:
            await slack.wait_for(lambda: len(slack.calls("apps.connections.open")) >= 4, what="more tries")
            slack.faults.clear()
            await slack.wait_for(lambda: sockets.num_healthy == 2, what="two sockets")
        assert sessions() == before
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_what_a_replaced_socket_has_received_is_acknowledged_on_it():
    async with serve_slack() as slack, lone_sockets(slack):
        await slack.sockets.is_connected(2)
        (team,) = slack.world.teams.values()
        ann = slack.add_person(team, "Ann")
        using = asyncio.create_task(ann.slash(slack.channel(team, "general"), "/slow"))
        await asyncio.sleep(0.02)
        left = await slack.sockets.lose("warning")
        assert (await using).failure is None
        await slack.wait_for(lambda: all(one.ended.done() for one in left), 5, "the end of the old sockets")


async def test_where_slack_asks_to_wait_no_address_is_asked_for_meanwhile():
    async with serve_slack() as slack:
        slack.faults.once("apps.connections.open", Fault("rate_limited", retry_after_s=1), times=2)
        async with lone_sockets(slack) as sockets:
            await slack.wait_for(lambda: len(slack.calls("apps.connections.open")) == 2, what="both tries")
            await asyncio.sleep(0.3)  # without that, the next tries come after at most 0.05 s
            assert len(slack.calls("apps.connections.open")) == 2
            await slack.wait_for(lambda: sockets.num_healthy == 2, what="two sockets")


async def test_a_clock_that_is_put_back_does_not_hide_that_a_socket_is_deaf(monkeypatch: pytest.MonkeyPatch):
    timings = SocketTimings(ping_s=0.2, quiet_s=0.5, close_s=0.5, connect_s=2.0, first_pause_s=0.05, max_pause_s=0.2)
    async with serve_slack() as slack, lone_sockets(slack, timings) as sockets:
        await slack.wait_for(lambda: sockets.num_healthy == 2, what="two sockets")
        deaf = await slack.sockets.lose("deaf")
        monkeypatch.setattr(time, "time", lambda now=time.time: now() - 3600)
        await slack.wait_for(lambda: all(one.ended.done() for one in deaf), 5, "the end of the deaf sockets")


def test_the_age_of_a_moment_is_that_of_the_clock_that_went_on():
    clock, steady = 1000.0, 5.0
    moment = moments.Moment(clock=lambda: clock, steady=lambda: steady)
    clock, steady = 1010.0, 15.0
    assert moment.age_s == 10
    clock = 400.0  # put back
    assert moment.age_s == 10
    clock, steady = 4600.0, 16.0  # the machine slept
    assert moment.age_s == 3600
