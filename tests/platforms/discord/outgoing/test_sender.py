"""The real discord.py client against the stand-in: every message once and without pings, whatever fails."""

import asyncio
import time
from collections.abc import AsyncIterator

import discord
import pytest

from bot.core.cards import Card, Facts, Text, Verbatim
from bot.errors import DeliveryFailed, MessageGone, MissingPermission, SendRefused
from bot.platforms.discord.outgoing.invalid_requests import WINDOW_S as REFUSALS_S
from bot.platforms.discord.outgoing.invalid_requests import InvalidRequests
from bot.platforms.discord.outgoing.pace import WINDOW_S, ChannelPace
from bot.platforms.discord.outgoing.rendering import Rendering, render
from bot.platforms.discord.outgoing.sender import Sender, nonce_of
from tests.platforms.discord.channels import Place, open_place
from tests.servers.discord.faults import Fault
from tests.servers.discord.permissions import Permission

WORDS = render(Card(blocks=(Text("Hello https://example.com there", is_model_text=True),)))
LAYOUT = render(Card(blocks=(Facts((("tokens", "14"),)), Verbatim("x" * 5000))))
LONG = render(Card(blocks=(Text("Some words of it. " * 200, is_model_text=True),)))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place() as opened:
        yield opened
        opened.stand_in.assert_clean()


def _deny(place: Place, permission: Permission) -> None:
    role_id = place.guild.members[place.stand_in.world.bot.id].role_ids[0]
    place.stand_in.world.set_overwrite(place.general, place.guild.roles[role_id], deny=permission)


async def test_a_reply_pings_nobody_and_unfurls_nothing(place: Place):
    asked = place.ada.says(place.general, "hi")
    (sent,) = await place.sender.send(place.channel, WORDS, request_id="123", reply_to=place.partial(asked))
    (message,) = place.said
    assert sent.id == message.id
    assert message.replies_to is asked
    assert message.content == "Hello https\\:\\/\\/example\\.com there"
    assert message.nonce == "123.0"
    request = place.stand_in.requests[-1]
    assert request.body["enforce_nonce"] is True
    assert request.body["flags"] == 4
    assert request.body["allowed_mentions"]["parse"] == []
    assert request.body["allowed_mentions"]["replied_user"] is False


async def test_a_reply_to_a_deleted_message_is_still_sent(place: Place):
    asked = place.ada.says(place.general, "hi")
    place.ada.deletes(asked)
    await place.sender.send(place.channel, WORDS, request_id="123", reply_to=place.partial(asked))
    assert len(place.said) == 1


async def test_without_the_permission_to_reply_it_sends_an_ordinary_message(place: Place):
    _deny(place, Permission.READ_MESSAGE_HISTORY)
    asked = place.ada.says(place.general, "hi")
    await place.sender.send(place.channel, LAYOUT, request_id="123", reply_to=place.partial(asked))
    await place.sender.send(place.channel, WORDS, request_id="124", reply_to=place.partial(asked))
    assert [message.replies_to for message in place.said] == [None, None]
    assert place.sender.requests.invalid.num_recent == 1


async def test_a_long_answer_is_several_messages_in_order(place: Place):
    seen: list[tuple[int, int]] = []

    async def note(message: discord.Message, chunk: int) -> None:
        seen.append((message.id, chunk))

    sent = await place.sender.send(place.channel, LONG, request_id="9", on_sent=note)
    assert [message.content for message in place.said] == list(LONG.content)
    assert [message.nonce for message in place.said] == ["9.0", "9.1"]
    assert seen == [(message.id, chunk) for chunk, message in enumerate(sent)]


async def test_a_layout_with_its_file_is_sent_and_takes_the_place_of_a_text(place: Place):
    (sent,) = await place.sender.send(place.channel, WORDS, request_id="1")
    await place.sender.edit(sent, LAYOUT)
    (message,) = place.said
    assert message.content == ""
    assert message.flags & 1 << 15
    assert [file.filename for file in message.attachments] == ["whole.txt"]
    await place.sender.send(place.channel, LAYOUT, request_id="2")
    assert len(place.said) == 2
    assert place.said[1].attachments[0].size == message.attachments[0].size


async def test_an_edit_keeps_previews_away_and_takes_buttons_and_files_off(place: Place):
    stoppable = render(Card(blocks=(Text("par"),), is_final=False), stop_id="5")
    (sent,) = await place.sender.send(place.channel, stoppable, request_id="1")
    assert place.said[0].components
    await place.sender.edit(sent, WORDS)
    (message,) = place.said
    assert message.content == WORDS.content[0]
    assert message.components == []
    assert message.flags & 4


@pytest.mark.parametrize(
    "fault",
    [
        Fault("banned", retry_after_s=0.05),
        Fault("rate_limited", retry_after_s=0.05),
        Fault("error", status=503),
        Fault("accepted_then_error", status=503),
        "reset",
        "accepted_then_reset",
    ],
)
async def test_a_message_is_shown_exactly_once_whatever_happens_to_the_request(place: Place, fault: Fault):
    place.stand_in.faults.once("send", fault, times=2)
    (sent,) = await place.sender.send(place.channel, LAYOUT, request_id="123")
    assert [message.id for message in place.said] == [sent.id]
    await place.sender.edit(sent, LAYOUT)
    place.stand_in.faults.once("edit", fault, times=2)
    await place.sender.edit(sent, render(Card(blocks=(Facts((("a", "b"),)),))))
    assert place.texts == ["a\u00a0**b**"]


async def test_retry_after_is_respected(place: Place):
    place.stand_in.faults.once("send", Fault("banned", retry_after_s=1.0))
    start = time.monotonic()
    await place.sender.send(place.channel, WORDS, request_id="123")
    assert time.monotonic() - start >= 0.9
    assert place.sender.figures.num_retried == 1


async def test_a_limit_that_lasts_longer_than_the_deadline_is_not_waited_out():
    async with open_place(deadline_s=0.5) as place:
        place.stand_in.faults.once("send", "banned")
        start = time.monotonic()
        with pytest.raises(DeliveryFailed, match="in time"):
            await place.sender.send(place.channel, WORDS, request_id="1")
        assert time.monotonic() - start < 0.4
        assert place.sender.figures.num_failed == 1


async def test_a_server_without_a_response_is_given_up_at_the_deadline_and_other_requests_continue():
    async with open_place(deadline_s=0.5) as place:
        place.stand_in.faults.once("send", Fault("slow", delay_s=3))
        with pytest.raises(DeliveryFailed):
            await place.sender.send(place.channel, WORDS, request_id="1")
        # discord.py holds every other request back while one sleeps out a global limit; that one is cancelled here.
        gate = place.client.http._global_over
        gate.clear()
        with pytest.raises(DeliveryFailed):
            await place.sender.send(place.channel, WORDS, request_id="2")
        await asyncio.wait_for(gate.wait(), 3)
        await place.sender.send(place.channel, WORDS, request_id="3")
        assert place.said[-1].nonce == "3.0"


async def test_a_cancelled_send_is_given_up_at_once(place: Place):
    place.stand_in.faults.once("send", Fault("slow", delay_s=2))
    task = asyncio.create_task(place.sender.send(place.channel, WORDS, request_id="1"))
    await asyncio.sleep(0.1)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.5)
    assert done
    assert task.cancelled()


async def test_a_missing_permission_is_reported_once_per_channel(place: Place):
    _deny(place, Permission.SEND_MESSAGES)
    for number in range(3):
        with pytest.raises(MissingPermission):
            await place.sender.send(place.channel, WORDS, request_id=str(number))
    assert place.told == [place.general.id]
    assert place.sender.requests.invalid.num_recent == 3


async def test_a_missing_message_is_reported_as_gone(place: Place):
    (sent,) = await place.sender.send(place.channel, WORDS, request_id="1")
    await place.sender.delete(sent)
    await place.sender.delete(sent)
    assert place.said == []
    with pytest.raises(MessageGone):
        await place.sender.edit(sent, LAYOUT)
    assert await place.sender.react(sent, "🐢") is False


async def test_what_discord_refuses_is_not_sent_again():
    async with open_place() as place:
        with pytest.raises(SendRefused):
            await place.sender.send(place.channel, Rendering(content=("",)), request_id="1")
        assert place.sender.figures.num_retried == 0


async def test_reactions_and_typing_are_shown(place: Place):
    asked = place.ada.says(place.general, "hi")
    assert await place.sender.react(place.partial(asked), "🐢")
    await place.sender.show_typing(place.channel)
    assert list(asked.reactions) == ["🐢"]
    assert len(place.stand_in.world.typings) == 1


async def test_typing_that_fails_disturbs_nothing(place: Place):
    for fault in ("banned", "reset", Fault("error", status=503)):
        place.stand_in.faults.once("typing", fault)
        await place.sender.show_typing(place.channel)
    assert place.stand_in.world.typings == []


async def test_near_discord_s_limit_on_refusals_only_answers_are_sent():
    async with open_place(max_invalid=5) as place:
        for _ in range(4):
            place.sender.requests.invalid.note(403)
        assert place.sender.skips_edits()
        await place.sender.show_typing(place.channel)
        asked = place.ada.says(place.general, "hi")
        assert await place.sender.react(place.partial(asked), "🐢") is False
        await place.sender.send(place.channel, WORDS, request_id="1")
        assert len(place.said) == 1
        assert place.stand_in.world.typings == []
        assert place.sender.figures.num_skipped == 3


def test_refusals_are_forgotten_after_ten_minutes_and_shared_limits_are_not_counted():
    now = 0.0
    invalid = InvalidRequests(max_requests=10, clock=lambda: now)
    for _ in range(8):
        invalid.note(429)
    invalid.note(200)
    invalid.note(429, scope="shared")
    assert invalid.num_recent == 8
    assert invalid.is_near_limit
    now = REFUSALS_S + 1
    assert not invalid.is_near_limit


def test_a_nonce_is_at_most_25_characters_and_another_for_each_request():
    assert nonce_of("1234567890123456789", 0) == "1234567890123456789.0"
    long = [nonce_of("reply-" + "a" * 32 + end, 1) for end in "xy"]
    assert all(len(nonce) <= 25 for nonce in long)
    assert len(set(long)) == 2


async def test_snapshots_wait_for_their_turn_and_finished_answers_only_for_room():
    now = 0.0
    slept: list[float] = []

    async def sleep(duration_s: float) -> None:
        nonlocal now
        slept.append(duration_s)
        now += duration_s

    pace = ChannelPace(every_s=1.0, clock=lambda: now, sleep=sleep)
    for channel_id in (1, 2, 1, 1):
        await pace.wait_turn(channel_id)
        assert pace.take_turn(channel_id)
        assert not pace.take_turn(channel_id)
    assert slept == [1.0, 1.0]
    await pace.wait_room(1)
    await pace.wait_room(1)
    assert slept == [1.0, 1.0]
    # Five edits since 0; the sixth waits until the first is long enough ago.
    await pace.wait_room(1)
    assert slept == [1.0, 1.0, WINDOW_S - 2.0]
    now = 20.0
    await pace.wait_turn(1)
    assert len(slept) == 3


async def test_a_closed_client_is_a_failed_delivery():
    async with open_place(deadline_s=1.0) as place:
        await place.client.close()
        with pytest.raises(DeliveryFailed):
            await Sender(deadline_s=1.0).send(place.channel, WORDS, request_id="1")
