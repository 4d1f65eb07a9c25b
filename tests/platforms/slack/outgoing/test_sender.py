"""Sending on Slack: each file once, no faster than Slack allows, and no longer than it makes sense to wait."""

import asyncio
import time
from collections import deque
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from yarl import URL

from bot.core.cards import Card, Text, TextFile
from bot.errors import DeliveryFailed, MessageGone, SendRefused
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.outgoing.calls import Calls, retry_after_s
from bot.platforms.slack.outgoing.outlets import AnswerOutlet
from bot.platforms.slack.outgoing.pace import MEDIUM, POSTS, UPDATES, Pace
from bot.platforms.slack.outgoing.rendering import Rendering
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.running import open_session
from bot.platforms.slack.workspaces import Workspaces
from tests.platforms.slack.sending import Sending, open_sending
from tests.servers.slack.faults import Fault
from tests.servers.slack.objects import Message
from tests.servers.slack.server import serve_slack

CARD = Card(blocks=(Text("Here it is."),), file=TextFile("export.txt", "words"))


def files_below(sending: Sending, question: Message) -> list[str]:
    return [file.name for one in sending.slack.answers_to(question) for file in one.files]


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("files.completeUploadExternal", "accepted_then_error"),
        ("files.completeUploadExternal", "accepted_then_reset"),
        ("files.completeUploadExternal", "error"),
        ("upload", "accepted_then_error"),
    ],
)
async def test_a_file_with_an_unknown_outcome_appears_once(place: str, fault: str):
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        slack.faults.once(place, fault)  # type: ignore[arg-type]
        await sending.outlet(question).show_whole(CARD)
        assert files_below(sending, question) == ["export.txt"]
        slack.assert_clean()


async def test_a_file_that_an_earlier_run_has_uploaded_is_not_uploaded_again():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await outlet.show_whole(CARD)
        (sent,) = outlet.sent_ids
        again = AnswerOutlet.for_message(sending.sender, sending.message(question), sent=SlackId.parse(sent))
        await again.show_whole(CARD)
        assert files_below(sending, question) == ["export.txt"]
        # One that the ended run did not come to is.
        other = replace(CARD, file=TextFile("other.txt", "words"))
        again = AnswerOutlet.for_message(sending.sender, sending.message(question), sent=SlackId.parse(sent))
        await again.show_whole(other)
        assert files_below(sending, question) == ["export.txt", "other.txt"]
        slack.assert_clean()


async def test_files_keep_to_the_pace_of_their_channel():
    async with serve_slack() as slack, open_sending(slack) as sending:
        slack.pacing.burst = 1
        question = sending.ask()
        await sending.outlet(question).show_whole(CARD)
        assert files_below(sending, question) == ["export.txt"]
        slack.assert_clean()


async def test_a_call_that_hangs_is_made_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bot.platforms.slack.outgoing.calls._TRY_S", 0.05)
    async with serve_slack() as slack, open_sending(slack) as sending:
        slack.faults.once("conversations.info", Fault("slow", delay_s=2.0))
        channel = slack.channel(sending.team, "general").id
        async with asyncio.timeout(1.9):
            answer = await sending.sender.call(sending.team.id, "conversations_info", channel=channel)
        assert answer["channel"]["id"] == channel


@pytest.mark.parametrize("status", [200, 502])
async def test_an_answer_that_is_no_json_is_an_outage(status: int):
    async with serve_slack() as slack, open_sending(slack, deadline_s=0.1) as sending:
        slack.faults.always("conversations.info", Fault("error", status=status, content_type="text/plain"))
        with pytest.raises(DeliveryFailed):
            await sending.sender.call(sending.team.id, "conversations_info", channel="C1")


def refused(status: int, **headers: str) -> aiohttp.ClientResponseError:
    """Return the error of an answer by a response address."""
    url = URL("https://hooks.slack.com/")
    request = aiohttp.RequestInfo(url, "POST", CIMultiDict(), url)  # type: ignore[arg-type]
    return aiohttp.ClientResponseError(request, (), status=status, headers=CIMultiDict(headers))


async def test_response_addresses_are_rationed_like_everything_else():
    assert retry_after_s(refused(429, **{"Retry-After": "7"})) == 7
    assert retry_after_s(refused(503)) is None
    calls = []

    async def call() -> None:
        calls.append(1)
        raise refused(429, **{"Retry-After": "30"})

    with pytest.raises(DeliveryFailed):
        await Calls(deadline_s=5.0).run(call)
    assert len(calls) == 1, "30 s are more than there is time"


async def test_what_was_asked_lately_is_remembered_among_thousands_of_posts():
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(clock=lambda: now, sleep=sleep)
    for _ in range(MEDIUM.num):
        await pace.wait("history", MEDIUM)
    now += 5.0
    for number in range(3_000):
        await pace.wait(number, POSTS)
    assert pace.wait_s("history", MEDIUM) > 20
    now += 60.0
    for number in range(3_000):
        await pace.wait(-number, POSTS)
        now += 0.01
    assert len(pace._turns) < 2_100
    assert set(pace._spans) == set(pace._turns)


async def test_streams_of_one_thread_are_started_one_after_another():
    async with serve_slack() as slack, open_sending(slack) as sending:
        root = sending.ask()
        address = Address(sending.team.id, root.channel.id, root.ts)

        async def start() -> float:
            await sending.sender.streams.start(address, root.user.id, "Once", after_ts=root.ts)
            return time.monotonic()

        slack.faults.always("chat.startStream", Fault("slow", delay_s=0.1))
        first, second = asyncio.create_task(start()), asyncio.create_task(start())
        await first
        # Now the second one is under way, and the third has to wait for it.
        began, third = time.monotonic(), asyncio.create_task(start())
        assert await third - began >= 0.19
        await second
        assert not sending.sender.streams._starting


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("ok", None),
        ('{"ok": true}', None),
        ('{"ok": false, "error": "invalid_blocks"}', SendRefused),
        ('{"ok": false, "error": "expired_url"}', MessageGone),
    ],
)
async def test_what_a_response_address_refuses_with_a_friendly_status_is_refused(
    answer: str, error: type[Exception] | None
):
    async def respond(_: web.Request) -> web.Response:
        return web.Response(text=answer)

    app = web.Application()
    app.router.add_post("/", respond)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        sending = Sender(Workspaces([]), session).respond("T1", str(server.make_url("/")), Rendering("Hello", ()))
        if error is None:
            await sending
        else:
            with pytest.raises(error):
                await sending


async def test_responses_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    seen = []

    async def relay(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", relay)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{runner.addresses[0][1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with open_session() as session:
            sender = Sender(Workspaces([]), session)
            await sender.respond("T1", "http://hooks.slack.example/commands/T1/1/x", Rendering("Hello", ()))
    finally:
        await runner.cleanup()
    assert seen == ["http://hooks.slack.example/commands/T1/1/x"]


async def test_no_answer_is_begun_that_would_have_to_wait_long_for_its_end():
    async with serve_slack() as slack, open_sending(slack) as sending:
        sender, question = sending.sender, sending.ask()
        address = Address(sending.team.id, question.channel.id)
        await sender.wait_turn(address, None, is_streamed=False)
        # Twenty ends wait for their turn.
        sender._pace._turns["update", sending.team.id] = deque([slack.clock.now() + 20 * UPDATES.span_s])
        before = slack.clock.now()
        await sender.wait_turn(address, None, is_streamed=False)
        assert slack.clock.now() - before >= 16 * UPDATES.span_s
