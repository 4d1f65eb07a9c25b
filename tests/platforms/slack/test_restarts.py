"""The program ends at any moment: the next run finishes what the last one began, and nothing is said twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.platforms.slack.traits import SLACK
from bot.services.ledger import Delivery
from tests.platforms.slack.evenings import Evening, an_evening
from tests.servers.slack.objects import Message
from tests.servers.slack.reading import labels, visible_text

LONG = " ".join(f"word{number}" for number in range(60))


@asynccontextmanager
async def never_noting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """End the program before it can store which message answers."""

    async def hang(*_: Any) -> None:
        await asyncio.sleep(3600)

    with monkeypatch.context() as patched:
        patched.setattr(Delivery, "note_sent", hang)
        yield


async def check_answered_once(evening: Evening, asked: Message, text: str) -> None:
    """Wait for the whole answer to a message, and for a second one in vain."""
    await evening.slack.wait_for(
        lambda: any(visible_text(one) == text and labels(one) for one in evening.slack.answers_to(asked)),
        20,
        f"the answer; there is {[visible_text(one) for one in evening.slack.answers_to(asked)]}",
    )
    await evening.is_quiet()
    (answer,) = evening.slack.answers_to(asked)
    assert visible_text(answer) == text
    assert "Stop" not in labels(answer)
    assert not answer.is_streaming
    assert not await Delivery(evening.running.store, SLACK).unfinished()


async def test_what_was_accepted_and_not_answered_is_answered_by_the_next_run(tmp_path: Path):
    async with an_evening(tmp_path, LONG, pause_s=0.2) as evening:
        async with evening.run():
            asked = [evening.ann.asks(evening.general, "Tell me much"), evening.bob.dm("Tell me too")]
            await evening.slack.wait_for(lambda: len(evening.engine.generations) == 2, what="the generations")
        assert not evening.said_by_bot()
        evening.engine.pause_s = 0.0
        async with evening.run():
            for one in asked:
                await check_answered_once(evening, one, LONG)


async def test_a_slash_command_where_the_bot_is_no_member_is_answered_by_the_next_run(tmp_path: Path):
    async with an_evening(tmp_path, LONG, pause_s=0.2) as evening:
        club = evening.slack.world.add_channel(evening.team, "club", [evening.ann.user])
        async with evening.run():
            await evening.ann.slash(club, "/fewshot", "complete --n 1 Once upon")
            await evening.slack.wait_for(lambda: evening.engine.generations, what="the generation")
        evening.engine.pause_s = 0.0
        async with evening.run():
            answer = await evening.slack.wait_for_message(club)
            assert "word59" in visible_text(answer)
            await evening.is_quiet()
            assert len(evening.said_by_bot(club)) == 1
            assert not await Delivery(evening.running.store, SLACK).unfinished()


async def test_a_word_for_the_card_above_a_thread_acts_on_that_card_in_the_next_run(tmp_path: Path):
    async with an_evening(tmp_path, "cats.", "dogs and mice.") as evening:
        async with evening.run():
            await evening.ann.slash(evening.general, "/fewshot", "complete --n 1 Once upon")
            card = await evening.slack.settled(await evening.slack.wait_for_message(evening.general))
            evening.engine.pause_s = 0.5
            evening.ann.says(evening.general, "more", thread=card)
            await evening.slack.wait_for(lambda: len(evening.engine.generations) == 2, what="the generation")
        evening.engine.pause_s = 0.0
        async with evening.run():
            await evening.slack.wait_for(lambda: "dogs and mice" in visible_text(card), what="the card's change")
            await evening.is_quiet()
            assert evening.said_by_bot() == [card]


@pytest.mark.parametrize("place", ["thread", "direct"])
async def test_an_answer_whose_message_was_not_noted_is_not_posted_again(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with an_evening(tmp_path, "Hello there.") as evening:
        async with never_noting(monkeypatch), evening.run():
            asked = evening.ann.asks(evening.general, "Hello") if place == "thread" else evening.ann.dm("Hello")
            await evening.slack.reply(asked)
        async with evening.run():
            await check_answered_once(evening, asked, "Hello there.")


@pytest.mark.parametrize("place", ["thread", "direct"])
@pytest.mark.parametrize("is_noted", [True, False])
async def test_an_answer_that_was_being_written_is_written_to_its_end(
    place: str, is_noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with an_evening(tmp_path, LONG, pause_s=0.1) as evening:
        asked = None
        if is_noted:
            async with evening.run():
                asked = evening.ann.asks(evening.general, "Tell me") if place == "thread" else evening.ann.dm("Tell me")
                await evening.slack.wait_for_reply(asked)
        else:
            async with never_noting(monkeypatch), evening.run():
                asked = evening.ann.asks(evening.general, "Tell me") if place == "thread" else evening.ann.dm("Tell me")
                await evening.slack.wait_for_reply(asked)
        (begun,) = evening.slack.answers_to(asked)
        assert begun.is_streaming == (place == "thread")
        assert visible_text(begun) != LONG
        evening.engine.pause_s = 0.0
        async with evening.run():
            await check_answered_once(evening, asked, LONG)


async def test_a_lone_stream_is_taken_for_the_answer_to_its_own_question_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with an_evening(tmp_path, LONG, pause_s=0.1) as evening:
        async with never_noting(monkeypatch), evening.run():
            first = evening.ann.asks(evening.general, "Tell me")
            await evening.slack.wait_for_reply(first)
            second = evening.bob.says(evening.general, "Me too", thread=first)
            await evening.is_quiet()
        evening.engine.pause_s = 0.0
        async with evening.run():
            await evening.slack.wait_for(
                lambda: [visible_text(one) for one in evening.slack.answers_to(first)] == [LONG, LONG], 20, "answers"
            )
            await evening.is_quiet()
            assert len(evening.slack.answers_to(second)) == 1


async def test_a_long_stream_that_looks_whole_at_its_start_is_finished(tmp_path: Path):
    """The whole answer is stored, and only a part of it is shown when the program ends."""
    async with an_evening(tmp_path, LONG, pause_s=0.05) as evening:
        async with evening.run():
            asked = evening.ann.asks(evening.general, "Tell me")
            answer = await evening.slack.wait_for_reply(asked)
            await evening.slack.wait_for(lambda: len(answer.text) > 210, what="a long part")
            evening.slack.faults.always("chat.stopStream", "error")
            evening.slack.faults.always("chat.update", "error")
            await evening.slack.wait_for(lambda: evening.slack.calls("chat.stopStream"), 20, "the end of the text")
        assert answer.is_streaming
        evening.slack.faults.clear()
        async with evening.run():
            await check_answered_once(evening, asked, LONG)


async def test_what_is_said_between_two_runs_is_answered_in_threads_of_any_age(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        old = evening.ann.says(evening.general, "An old thread of others")
        evening.bob.says(evening.general, "Yes, it is", thread=old)
        async with evening.run():
            known = evening.ann.asks(evening.other, "Hello")
            await evening.reply(known)
        said = [
            evening.ann.says(evening.other, "In a known thread", thread=known),
            evening.ann.asks(evening.general, "In an old thread", thread=old),
            evening.bob.says(evening.general, "and in it again", thread=old),
            evening.bob.asks(evening.general, "In a new one"),
        ]
        said.append(evening.bob.says(evening.general, "and again there", thread=said[-1]))
        async with evening.run():
            await evening.slack.wait_for(lambda: len(evening.said_by_bot(evening.general)) == 4, 30, "the answers")
            await evening.is_quiet()
            assert all(evening.slack.answers_to(one) for one in said)
            assert len(evening.said_by_bot(evening.general)) == 4
            assert len(evening.said_by_bot(evening.other)) == 2
        async with evening.run():
            await evening.is_quiet()
            assert len(evening.said_by_bot(evening.general)) == 4


async def test_messages_that_are_too_old_are_told_once_in_their_conversation(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        async with evening.run():
            root = evening.ann.asks(evening.general, "Hello")
            await evening.reply(root)
        missed = [evening.ann.says(evening.general, f"{number}", thread=root) for number in range(2)]
        for run in range(2):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("bot.platforms.slack.incoming.intake.ANSWERABLE_S", 0.0)
                async with evening.run():
                    await evening.slack.wait_for(lambda: evening.slack.answers_to(missed[1]), what="the notice")
                    await evening.is_quiet()
            (notice,) = evening.slack.answers_to(missed[1])
            assert "missed 2 messages" in visible_text(notice), run
