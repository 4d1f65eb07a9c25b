"""Planned faults: lost and deaf sockets, redeliveries, rate limits, errors before and after acceptance."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler, AsyncServerErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from tests.servers.plain_slack_bot import NO_PREVIEWS, Home, at_home, make_bot, running
from tests.servers.slack import Slack, serve_slack
from tests.servers.slack.faults import Fault, FaultPlan
from tests.servers.slack.methods_streams import STREAM_LIFE_S
from tests.servers.slack.sockets import MOST_SOCKETS, TICKET_LIFE_S, Loss


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        yield opened


def client(home: Home, *handlers: Any) -> AsyncWebClient:
    """Return a client with these retry handlers only."""
    return AsyncWebClient(token=home.stand_in.bot_token, base_url=home.stand_in.api_url, retry_handlers=list(handlers))


async def post(home: Home, web_client: AsyncWebClient) -> Any:
    return await web_client.chat_postMessage(channel=home.general.id, text="hello", **NO_PREVIEWS)


async def heard(home: Home, text: str) -> None:
    await home.stand_in.wait_for(lambda: text in home.bot.heard, 10, f"{text!r}")


async def later(stand_in: Slack, seconds: float) -> None:
    """Let time pass for an event that waits to come again."""
    await stand_in.wait_for(lambda: stand_in.clock.num_sleeping, 5, "an event that waits")
    stand_in.clock.advance(seconds)


# Sockets


@pytest.mark.parametrize("how", ["cut", "close", "warning", "refresh_requested"])
async def test_a_lost_socket_is_opened_again(home: Home, how: Loss):
    lost = await home.stand_in.sockets.lose(how)
    await home.stand_in.wait_for(lambda: all(socket.ended.done() for socket in lost))
    await home.stand_in.sockets.is_connected()
    home.ada.says(home.general, "after quiet")
    await heard(home, "after quiet")
    assert home.stand_in.sockets.num_opened == 2


@pytest.mark.parametrize("how", ["cut", "close", "refresh_requested"])
async def test_what_happened_in_a_gap_comes_again_later(home: Home, how: Loss):
    async with home.stand_in.sockets.gap(how):
        home.ada.says(home.general, "missed quiet")
        await home.stand_in.wait_for(lambda: home.stand_in.sockets.outcomes["no_socket"] == 2)
    await home.stand_in.sockets.is_connected()
    assert home.bot.heard == []
    await later(home.stand_in, 60)
    await heard(home, "missed quiet")
    assert home.bot.events[0]["event"]["text"] == "missed quiet"
    assert home.stand_in.sockets.lost_events == []


async def test_without_redeliveries_a_gap_loses_everything(home: Home):
    home.stand_in.sockets.retry_delays_s = ()
    async with home.stand_in.sockets.gap():
        missed = home.ada.says(home.general, "missed quiet")
        await home.stand_in.wait_for(lambda: home.stand_in.sockets.lost_events)
    await home.stand_in.sockets.is_connected()
    history = await home.bot.client.conversations_history(channel=home.general.id, oldest="0")
    assert [message["ts"] for message in history["messages"]] == [missed.ts]
    assert home.bot.heard == []


async def test_a_silent_socket_is_noticed_by_its_missing_pongs(home: Home):
    (silent,) = await home.stand_in.sockets.lose("silent")
    home.ada.says(home.general, "lost for now quiet")
    await home.stand_in.wait_for(silent.ended.done)
    await home.stand_in.sockets.is_connected()
    await later(home.stand_in, 60)
    await heard(home, "lost for now quiet")
    assert home.stand_in.broken == []


async def test_a_deaf_socket_looks_alive(home: Home):
    home.stand_in.sockets.ack_timeout_s = 0.1
    home.stand_in.sockets.retry_delays_s = ()
    (deaf,) = await home.stand_in.sockets.lose("deaf")
    home.ada.says(home.general, "lost quiet")
    # Longer than the client waits for a pong.
    await asyncio.sleep(1.2)
    assert await home.bot.handler.client.is_connected()
    assert not deaf.ended.done()
    assert home.bot.heard == []
    assert home.stand_in.sockets.outcomes["silent"] == 1
    assert home.stand_in.broken == []


async def test_slack_goes_on_sending_into_a_black_hole(home: Home):
    sockets = home.stand_in.sockets
    sockets.ack_timeout_s, sockets.retry_delays_s = 0.5, (0.0,) * 20
    (hole,) = await sockets.lose("black_hole")
    await sockets.is_connected()
    assert hole in sockets.open
    said = {home.ada.says(home.general, f"{number} quiet").text for number in range(12)}
    await home.stand_in.wait_for(lambda: said == set(home.bot.heard), 20, "what was said")
    await sockets.is_idle()
    assert not hole.ended.done()
    assert sockets.outcomes["silent"] > 0


async def test_sockets_are_refused_for_a_time(home: Home):
    async with home.stand_in.sockets.gap():
        num_asked = len(home.stand_in.calls("apps.connections.open"))
        await home.stand_in.wait_for(lambda: len(home.stand_in.calls("apps.connections.open")) > num_asked)
        assert not home.stand_in.sockets.open
    await home.stand_in.sockets.is_connected()


async def test_the_client_alone_tries_an_expired_address_for_ever(home: Home):
    sockets = home.stand_in.sockets
    async with sockets.gap():
        await home.stand_in.wait_for(lambda: sockets.num_refused)
        num_asked, num_refused = len(home.stand_in.calls("apps.connections.open")), sockets.num_refused
        home.stand_in.clock.advance(TICKET_LIFE_S + 1)
    await home.stand_in.wait_for(lambda: sockets.num_refused >= num_refused + 3)
    assert len(home.stand_in.calls("apps.connections.open")) == num_asked
    assert sockets.open == []


async def test_the_oldest_of_too_many_sockets_is_closed(home: Home):
    (first,) = home.stand_in.sockets.open
    async with aiohttp.ClientSession() as session:
        sockets = [
            await session.ws_connect(home.stand_in.sockets.issue_url(home.stand_in.app)) for _ in range(MOST_SOCKETS)
        ]
        await home.stand_in.wait_for(first.ended.done)
        for socket in sockets:
            await socket.close()


async def test_an_address_of_a_socket_serves_once(home: Home):
    url = home.stand_in.sockets.issue_url(home.stand_in.app)
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as socket:
            hello = await socket.receive_json()
            assert (hello["type"], hello["num_connections"]) == ("hello", 2)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_the_server_pings(home: Home):
    home.stand_in.sockets.ping_interval_s = 0.05
    async with running(home.stand_in, make_bot(home.stand_in)):
        await home.stand_in.wait_for(lambda: home.stand_in.sockets.open[-1].last_pong_at)


# Events


async def test_acknowledged_events_come_again_with_the_same_id(home: Home):
    home.stand_in.sockets.redelivery_probability = 1.0
    home.ada.says(home.general, "twice quiet")
    await home.stand_in.wait_for(lambda: len(home.bot.events) == 2)
    assert len({body["event_id"] for body in home.bot.events}) == 1
    assert home.stand_in.broken == []


async def test_events_that_nobody_acknowledges_come_three_times_more():
    async with serve_slack() as stand_in:
        team = stand_in.add_team("Home")
        ada = stand_in.add_person(team, "ada")
        stand_in.sockets.ack_timeout_s = 0.05
        received = []
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(stand_in.sockets.issue_url(stand_in.app))
            await socket.receive_json()
            ada.says(stand_in.channel(team, "general"), "hello")
            for number in range(4):
                received.append(await socket.receive_json())
                if 1 <= number < 3:
                    await later(stand_in, 300)
            await stand_in.wait_for(lambda: stand_in.sockets.lost_events)
        assert [envelope["retry_attempt"] for envelope in received] == [0, 1, 2, 3]
        assert [envelope["retry_reason"] for envelope in received] == ["", "timeout", "timeout", "timeout"]
        assert len({envelope["payload"]["event_id"] for envelope in received}) == 1
        assert len({envelope["envelope_id"] for envelope in received}) == 4
        assert len(stand_in.broken) == 4


async def test_a_late_acknowledgement_is_recorded(home: Home):
    message = await home.stand_in.reply(home.ada.says(home.general, "hello"))
    await home.stand_in.sockets.is_idle()
    home.stand_in.sockets.ack_timeout_s = 0.1
    result = await home.ada.clicks(message, "Slow")
    assert result.failure == "operation_timeout"
    assert home.stand_in.broken == ["socket: block_actions was not acknowledged within 0.1 s"]


async def test_what_is_no_acknowledgement_is_recorded(home: Home):
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(home.stand_in.sockets.issue_url(home.stand_in.app))
        await socket.send_str("hello")
        await home.stand_in.wait_for(lambda: home.stand_in.broken)
    assert home.stand_in.broken == ["socket: 'hello' is no acknowledgement"]


# Calls


async def test_a_rate_limit_is_waited_for(home: Home):
    home.stand_in.faults.once("chat.postMessage", Fault("rate_limited", retry_after_s=1))
    started = time.monotonic()
    await post(home, client(home, AsyncRateLimitErrorRetryHandler(max_retry_count=1)))
    assert time.monotonic() - started >= 1
    assert [call.status for call in home.stand_in.calls("chat.postMessage")] == [429, 200]
    assert home.stand_in.broken == []


async def test_a_rate_limit_is_an_error_without_its_handler(home: Home):
    home.stand_in.faults.once("chat.postMessage", Fault("rate_limited", retry_after_s=7))
    with pytest.raises(SlackApiError) as raised:
        await post(home, client(home))
    assert (raised.value.response.status_code, raised.value.response["error"]) == (429, "ratelimited")
    assert raised.value.response.headers["Retry-After"] == "7"


@pytest.mark.parametrize(("kind", "num_posted"), [("error", 1), ("accepted_then_error", 2)])
async def test_a_server_error_comes_before_or_after_acceptance(home: Home, kind: Any, num_posted: int):
    home.stand_in.faults.once("chat.postMessage", Fault(kind, status=503))
    await post(home, client(home, AsyncServerErrorRetryHandler(max_retry_count=1)))
    assert len(home.general.messages) == num_posted


async def test_a_bad_gateway_is_no_json(home: Home):
    home.stand_in.faults.once("chat.postMessage", "accepted_then_error")
    with pytest.raises(SlackApiError) as raised:
        await post(home, client(home))
    assert raised.value.response.status_code == 502
    assert len(home.general.messages) == 1


@pytest.mark.parametrize(("kind", "num_accepted"), [("reset", 0), ("accepted_then_reset", 1)])
async def test_a_connection_is_cut(home: Home, kind: Any, num_accepted: int):
    home.stand_in.faults.once("chat.postMessage", kind)
    with pytest.raises(aiohttp.ClientError):
        await post(home, client(home))
    assert len(home.general.messages) == num_accepted
    assert home.stand_in.calls("chat.postMessage")[0].status == 0


async def test_the_default_retries_double_what_was_accepted_before_a_cut(home: Home):
    home.stand_in.faults.once("chat.postMessage", "accepted_then_reset")
    metadata = {"event_type": "answer", "event_payload": {"id": "1"}}
    await home.bot.client.chat_postMessage(channel=home.general.id, text="hello", metadata=metadata, **NO_PREVIEWS)
    assert len(home.general.messages) == 2
    assert home.stand_in.doubled() == [home.general.messages[1]]


async def test_answers_can_be_slow(home: Home):
    home.stand_in.faults.once("chat.postMessage", Fault("slow", delay_s=0.2))
    started = time.monotonic()
    await post(home, client(home))
    assert time.monotonic() - started >= 0.2


async def test_a_method_can_be_unknown(home: Home):
    home.stand_in.faults.always("chat.startStream", Fault("refused", reason="unknown_method"))
    asked = home.ada.says(home.general, "go quiet")
    for _ in range(2):
        with pytest.raises(SlackApiError, match="unknown_method"):
            await home.bot.client.chat_startStream(channel=home.general.id, thread_ts=asked.ts)
    home.stand_in.faults.clear()
    await home.bot.client.chat_startStream(
        channel=home.general.id, thread_ts=asked.ts, recipient_team_id=home.team.id, recipient_user_id=home.ada.id
    )
    assert home.stand_in.faults.num_injected["refused"] == 2
    home.stand_in.assert_clean()


async def test_a_stream_dies_after_five_minutes_and_is_continued_by_updates(home: Home):
    asked = home.ada.says(home.general, "go quiet")
    stream = await home.bot.client.chat_stream(
        channel=home.general.id,
        thread_ts=asked.ts,
        recipient_team_id=home.team.id,
        recipient_user_id=home.ada.id,
        buffer_size=1,
    )
    await stream.append(markdown_text="one ")
    home.stand_in.clock.advance(STREAM_LIFE_S - 1)
    await stream.append(markdown_text="two ")
    with pytest.raises(SlackApiError, match="streaming_state_conflict"):
        await home.bot.client.chat_update(channel=home.general.id, ts=str(stream.ts), text="no")
    home.stand_in.clock.advance(2)
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await stream.append(markdown_text="three")
    assert home.ada.reads(home.general, asked)[1:] == ["one two "]
    await home.bot.client.chat_update(channel=home.general.id, ts=str(stream.ts), text="one two three")
    assert home.ada.reads(home.general, asked)[1:] == ["one two three"]
    home.stand_in.assert_clean()


async def test_faults_come_by_probability_and_seed():
    def injected(seed: int) -> list[str | None]:
        plan = FaultPlan(seed)
        plan.sometimes("chat.postMessage", "reset", 0.2)
        plan.sometimes("any", "error", 0.1)
        faults = [plan.fault_of("chat.postMessage") for _ in range(1000)]
        assert 150 < plan.num_injected["reset"] < 250
        assert 60 < plan.num_injected["error"] < 140
        return [fault.kind if fault else None for fault in faults]

    assert injected(1) == injected(1)
    assert injected(1) != injected(2)


# Newcomers' mistakes


async def test_swapped_and_wrong_tokens_are_named():
    async with serve_slack() as stand_in:
        stand_in.add_team("Home")
        swapped = AsyncWebClient(token=stand_in.app.app_token, base_url=stand_in.api_url)
        with pytest.raises(SlackApiError, match="not_allowed_token_type"):
            await swapped.auth_test()
        with pytest.raises(SlackApiError, match="not_allowed_token_type"):
            await swapped.apps_connections_open(app_token=stand_in.bot_token)
        with pytest.raises(SlackApiError, match="invalid_auth"):
            await AsyncWebClient(token="xoxb-wrong", base_url=stand_in.api_url).auth_test()
        with pytest.raises(SlackApiError, match="not_authed"):
            await AsyncWebClient(base_url=stand_in.api_url).auth_test()
        stand_in.app.app_token_scopes = frozenset()
        with pytest.raises(SlackApiError, match=r"missing_scope.*connections:write"):
            await swapped.apps_connections_open(app_token=stand_in.app.app_token)


async def test_a_revoked_or_uninstalled_token_is_named():
    async with serve_slack() as stand_in:
        installation = stand_in.installation(stand_in.add_team("Home"))
        web_client = AsyncWebClient(token=stand_in.bot_token, base_url=stand_in.api_url)
        stand_in.world.revoke(installation)
        with pytest.raises(SlackApiError, match="token_revoked"):
            await web_client.auth_test()
        stand_in.world.uninstall(installation)
        with pytest.raises(SlackApiError, match="account_inactive"):
            await web_client.auth_test()


async def test_a_missing_scope_is_named(home: Home):
    installation = home.stand_in.installation(home.team)
    installation.scopes -= {"chat:write"}
    with pytest.raises(SlackApiError) as raised:
        await post(home, home.bot.client)
    assert raised.value.response["error"] == "missing_scope"
    assert raised.value.response["needed"] == "chat:write"
    assert "users:read" in raised.value.response["provided"].split(",")


async def test_connections_can_be_refused():
    async with serve_slack() as stand_in:
        stand_in.add_team("Home")
        stand_in.faults.once("apps.connections.open", Fault("refused", reason="internal_error"))
        bot = make_bot(stand_in)
        async with running(stand_in, bot):
            assert [call.error for call in stand_in.calls("apps.connections.open")] == ["internal_error", None]


async def test_with_socket_mode_off_every_socket_is_closed_at_once():
    async with serve_slack() as stand_in:
        stand_in.add_team("Home")
        stand_in.app.is_socket_mode_on = False
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(stand_in.sockets.issue_url(stand_in.app))
            assert await socket.receive_json() == {
                "type": "disconnect",
                "reason": "link_disabled",
                "debug_info": {"host": "applink-stand-in"},
            }
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_switching_socket_mode_off_ends_open_sockets(home: Home):
    home.stand_in.app.is_socket_mode_on = False
    (lost,) = await home.stand_in.sockets.lose("link_disabled")
    await home.stand_in.wait_for(lost.ended.done)
    result = await home.ada.slash(home.general, "/say", "hey")
    assert result.failure == "dispatch_failed"
    assert home.stand_in.broken == []
