"""Answers while they are written: no word is lost or doubled, and no second message appears, whatever fails."""

import asyncio

import pytest

from bot.errors import DeliveryFailed, MessageGone
from bot.platforms.slack.outgoing.outlets import AnswerOutlet
from bot.platforms.slack.outgoing.streamed import MAX_STREAM_S
from tests.platforms.slack.sending import open_sending, words
from tests.servers.slack.faults import Fault
from tests.servers.slack.objects import Message
from tests.servers.slack.reading import visible_text
from tests.servers.slack.server import Slack, serve_slack

PARTS = ("Once upon", "Once upon a time there", "Once upon a time there was a cat", "Once upon a time there was a cat.")


async def write(outlet: AnswerOutlet, *parts: str) -> None:
    """Show parts as snapshots; what fails is left to the next one, as in a delivery."""
    for part in parts:
        await outlet.wait_turn()
        try:
            await outlet.show_snapshot(words(part), stop_id="stop")
        except DeliveryFailed:
            continue


def the_answer(slack: Slack, question: Message) -> str:
    """Return the one finished answer to a question."""
    (answer,) = slack.answers_to(question)
    assert not answer.is_streaming
    return visible_text(answer)


async def test_an_answer_is_streamed_from_its_first_words_to_its_last():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, PARTS[0])
        (answer,) = slack.answers_to(question)
        assert answer.is_streaming
        assert answer.text == PARTS[0]
        await write(outlet, *PARTS[1:3])
        await outlet.show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        called = [request.method for request in slack.requests if request.method.startswith("chat.")]
        assert called == ["chat.startStream", "chat.appendStream", "chat.appendStream", "chat.stopStream"]
        assert answer.metadata is not None, "after a restart the answer is found by it"
        slack.assert_clean()


async def test_words_are_added_at_most_once_a_second():
    async with serve_slack() as slack, open_sending(slack) as sending:
        outlet = sending.outlet(sending.ask())
        began = slack.clock.now()
        await write(outlet, *("word " * number for number in range(1, 8)))
        assert slack.clock.now() - began >= 5, "of the stand-in's clock, which waiting moves"
        assert len(slack.calls("chat.appendStream")) == 6
        slack.assert_clean()


@pytest.mark.parametrize("last", ["Once upon a mat", "A cat", "Once upon a time there was"])
async def test_words_that_change_end_with_exactly_the_last_ones(last: str):
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, *PARTS[:3])
        await outlet.show_whole(words(last, is_final=True))
        assert the_answer(slack, question) == last
        slack.assert_clean()


async def test_a_stream_that_slack_ends_after_five_minutes_goes_on_as_updates():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, *PARTS[:2])
        sending.sender.streams._pace._clock = lambda: 0.0  # the bot's clock stands still, so Slack is first
        slack.clock.advance(301)
        await outlet.show_snapshot(words(PARTS[2]), stop_id="stop")
        await outlet.show_snapshot(words(PARTS[2]), stop_id="stop")
        (answer,) = slack.answers_to(question)
        assert PARTS[2] in visible_text(answer)
        await outlet.show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        slack.assert_clean()


async def test_a_stream_is_ended_before_slack_does_it():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, *PARTS[:2])
        slack.clock.advance(MAX_STREAM_S + 1)
        await write(outlet, PARTS[2])
        (answer,) = slack.answers_to(question)
        assert not answer.is_streaming
        assert PARTS[2] in visible_text(answer)
        await outlet.show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        assert all(request.error is None for request in slack.requests)
        slack.assert_clean()


async def test_where_slack_can_not_stream_the_answer_is_posted_and_updated():
    async with serve_slack() as slack, open_sending(slack) as sending:
        slack.faults.always("chat.startStream", Fault("refused", reason="unknown_method"))
        question = sending.ask()
        outlet = sending.outlet(question)
        began = slack.clock.now()
        await write(outlet, *PARTS[:3])
        await outlet.show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        assert len(slack.calls("chat.startStream")) == 1
        assert len(slack.calls("chat.update")) == 3
        assert slack.clock.now() - began >= 2 * 1.2
        slack.assert_clean()


@pytest.mark.parametrize("method", ["chat.startStream", "chat.appendStream", "chat.stopStream"])
@pytest.mark.parametrize(
    ("fault", "times"),
    [
        ("accepted_then_error", 1),
        ("accepted_then_error", 2),
        ("accepted_then_reset", 1),
        ("error", 1),
        ("reset", 2),
        ("rate_limited", 1),
    ],
)
async def test_a_call_with_an_unknown_outcome_doubles_and_loses_nothing(method: str, fault: str, times: int):
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        slack.faults.once(method, fault, times)  # type: ignore[arg-type]
        await write(outlet, *PARTS[:3])
        await outlet.show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        slack.assert_clean()


@pytest.mark.parametrize("fault", ["accepted_then_error", "accepted_then_reset", "error", "reset", "rate_limited"])
async def test_a_post_with_an_unknown_outcome_appears_once(fault: str):
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        slack.faults.once("chat.postMessage", fault)  # type: ignore[arg-type]
        await outlet.show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        slack.assert_clean()


async def test_an_answer_whose_start_failed_until_the_deadline_is_found_at_its_end():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        slack.faults.once("chat.startStream", "accepted_then_error")
        slack.faults.always("conversations.replies", "error")
        starting = asyncio.create_task(outlet.show_snapshot(words(PARTS[0]), stop_id="stop"))
        await slack.wait_for(lambda: slack.answers_to(question), what="the lost stream")
        starting.cancel()
        await asyncio.wait({starting})
        slack.faults.clear()
        await outlet.show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        slack.assert_clean()


async def test_a_thread_of_hundreds_of_messages_is_read_to_its_end_before_anything_is_repeated():
    async with serve_slack() as slack, open_sending(slack) as sending:
        root = sending.ask()
        bob = slack.add_person(sending.team, "Bob")
        for number in range(250):
            bob.says(root.channel, f"word {number}", thread=root)
        question = bob.asks(root.channel, "and now?", thread=root)
        slack.faults.once("chat.postMessage", "accepted_then_error")
        await sending.outlet(question).show_whole(words(PARTS[3], is_final=True))
        assert the_answer(slack, question) == PARTS[3]
        slack.assert_clean()


async def test_slacks_own_stop_leaves_what_the_bot_says_in_the_end():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, *PARTS[:2])
        (answer,) = slack.answers_to(question)
        answer.is_streaming = False
        await outlet.show_whole(words(PARTS[2], is_final=True))
        assert the_answer(slack, question) == PARTS[2]
        slack.assert_clean()


async def test_a_streamed_answer_that_somebody_deletes_does_not_come_back():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, *PARTS[:2])
        (answer,) = slack.answers_to(question)
        slack.world.delete(answer)
        with pytest.raises(MessageGone):
            await write(outlet, PARTS[2])
        with pytest.raises(MessageGone):
            await outlet.show_whole(words(PARTS[3], is_final=True))
        assert not slack.answers_to(question)
        slack.assert_clean()


async def test_many_streams_keep_to_the_limits_of_a_workspace():
    rooms = [f"room-{number}" for number in range(30)]
    async with serve_slack() as slack, open_sending(slack, channels=rooms) as sending:
        ann = slack.add_person(sending.team, "Ann")
        for room in rooms:
            question = ann.asks(slack.channel(sending.team, room), "tell me")
            outlet = sending.outlet(question)
            await write(outlet, *PARTS[:3])
            await outlet.show_whole(words(PARTS[3], is_final=True))
            assert the_answer(slack, question) == PARTS[3]
        slack.assert_clean()


async def test_words_that_grow_too_long_when_they_are_escaped_end_in_a_file():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, "&", "&" * 3_000)
        await outlet.show_whole(words("&" * 3_000, is_final=True))
        answers = [one for one in slack.answers_to(question) if not one.files]
        assert len(answers) == 1
        assert [file.name for one in slack.answers_to(question) for file in one.files] == ["whole.txt"]
        assert max(len(call.arguments["markdown_text"]) for call in slack.calls("chat.startStream")) < 12_000
        assert not slack.calls("chat.appendStream")
        slack.assert_clean()


async def test_an_answer_that_slack_still_takes_for_a_stream_is_deleted_all_the_same():
    async with serve_slack() as slack, open_sending(slack) as sending:
        question = sending.ask()
        outlet = sending.outlet(question)
        await write(outlet, PARTS[0])
        slack.faults.once("chat.delete", Fault("refused", reason="streaming_state_conflict"))
        await outlet.remove()
        assert not slack.answers_to(question)
        slack.assert_clean()
