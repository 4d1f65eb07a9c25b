"""Edits on Slack: while an answer is written, after that, and while the bot is away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platforms.slack.evenings import Evening, an_evening
from tests.servers.slack.objects import Event
from tests.servers.slack.reading import labels, visible_text

LONG = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with an_evening(tmp_path) as opened, opened.run():
        yield opened


@pytest.fixture
async def slow_evening(tmp_path: Path) -> AsyncIterator[Evening]:
    """An evening on which an answer takes about four seconds."""
    async with an_evening(tmp_path, LONG, pause_s=0.05) as opened, opened.run():
        yield opened


async def test_a_preview_of_a_link_changes_nothing(evening: Evening):
    asked = evening.ann.asks(evening.general, "Look at <https://example.com/>")
    await evening.reply(asked)
    evening.slack.world.unfurl(asked)
    await evening.is_quiet()
    assert len(evening.slack.answers_to(asked)) == 1
    assert len(evening.engine.read) == 1


async def test_an_edit_during_the_answer_starts_it_again_in_the_same_place(slow_evening: Evening):
    asked = slow_evening.ann.asks(slow_evening.general, "Tell me mch")
    answer = await slow_evening.slack.wait_for_reply(asked)
    slow_evening.ann.edits(asked, asked.text.replace("mch", "much"))
    await slow_evening.slack.wait_for(lambda: len(slow_evening.engine.read) == 2, what="another try")
    await slow_evening.slack.wait_for(lambda: visible_text(answer) == LONG and labels(answer), 20)
    assert len(slow_evening.slack.answers_to(asked)) == 1
    assert "Tell me much" in slow_evening.read


async def test_an_edit_that_removes_the_mention_takes_the_question_back(slow_evening: Evening):
    asked = slow_evening.ann.asks(slow_evening.general, "Tell me all")
    answer = await slow_evening.slack.wait_for_reply(asked)
    slow_evening.ann.edits(asked, "Bob, tell me all")
    await slow_evening.slack.wait_for(lambda: answer.is_deleted, what="the answer to go")
    await slow_evening.is_quiet()
    assert not slow_evening.slack.answers_to(asked)
    assert await slow_evening.running.num_stored() == 0


async def test_a_mention_that_an_edit_adds_is_answered(evening: Evening):
    said = evening.ann.says(evening.general, "Hello")
    await evening.is_quiet()
    evening.ann.edits(said, f"{evening.slack.bot_of(evening.team).mention} Hello")
    assert await evening.reply(said) == "Hello there."


async def test_the_last_of_two_edits_counts_in_whichever_order_they_come(evening: Evening):
    asked = evening.ann.asks(evening.general, "I like tea")
    await evening.reply(asked)
    events: list[Event] = []
    tell, evening.slack.world.tell = evening.slack.world.tell, events.append
    evening.ann.edits(asked, asked.text.replace("tea", "coffee"))
    evening.ann.edits(asked, asked.text.replace("coffee", "cocoa"))
    evening.slack.world.tell = tell
    for event in reversed(events):
        tell(event)
        await evening.is_quiet()
    await evening.reply(evening.ann.says(evening.general, "What do I like?", thread=asked))
    assert "cocoa" in evening.read


async def test_a_question_that_was_taken_back_is_asked_again_as_a_new_message(slow_evening: Evening):
    asked = slow_evening.ann.asks(slow_evening.general, "Tell me all")
    answer = await slow_evening.slack.wait_for_reply(asked)
    text = asked.text
    slow_evening.ann.edits(asked, "Bob, tell me all")
    await slow_evening.slack.wait_for(lambda: answer.is_deleted, what="the answer to go")
    await slow_evening.is_quiet()
    slow_evening.ann.edits(asked, text)
    told = await slow_evening.slack.wait_for_whisper(slow_evening.ann)
    assert visible_text(told).endswith("Send it as a new message.")


async def test_a_refused_command_is_answered_when_it_is_fixed(evening: Evening):
    asked = evening.ann.says(evening.general, "!complete --temperature 9 It was")
    refusal = await evening.slack.wait_for_whisper(evening.ann)
    assert "temperature" in visible_text(refusal)
    evening.ann.edits(asked, "!complete --temperature 0.5 --n 1 It was")
    assert "Hello there." in await evening.reply(asked)
    # Reading back tells of the edit once more.
    await evening.slack.sockets.lose("cut")
    await evening.slack.sockets.is_connected(2)
    await evening.is_quiet()
    assert len(evening.slack.answers_to(asked)) == 1
    assert len(evening.slack.world.ephemerals) == 1


async def test_a_refusal_is_not_told_again_when_its_edit_is_read_back(evening: Evening):
    asked = evening.ann.says(evening.general, "!complete --temperature 9 It was")
    first = await evening.slack.wait_for_whisper(evening.ann)
    evening.ann.edits(asked, "!complete --temperature 8 It was")
    await evening.slack.wait_for_whisper(evening.ann, [first])
    await evening.slack.sockets.lose("cut")
    await evening.slack.sockets.is_connected(2)
    await evening.is_quiet()
    assert len(evening.slack.world.ephemerals) == 2


async def test_what_is_edited_and_deleted_while_the_bot_is_away_is_noticed(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        async with evening.run():
            edited = evening.ann.asks(evening.general, "The password is swordfish")
            deleted = evening.ann.asks(evening.other, "My birthday is in May")
            kept = evening.ann.dm("I like tea")
            for one in (edited, deleted, kept):
                await evening.reply(one)
        evening.ann.edits(edited, edited.text.replace("swordfish", "secret"))
        evening.ann.deletes(deleted)
        async with evening.run():
            await evening.is_quiet()
            await evening.reply(evening.ann.says(evening.general, "What is it?", thread=edited))
            assert "password is secret" in evening.read
            await evening.reply(evening.ann.says(evening.other, "When?", thread=deleted))
            assert "May" not in evening.read
            await evening.reply(evening.ann.dm("What do I like?"))
            assert "I like tea" in evening.read


async def test_a_long_thread_is_not_taken_for_deleted(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        async with evening.run():
            root = evening.ann.asks(evening.general, "Remember the start")
            await evening.reply(root)
        for number in range(260):
            evening.bob.says(evening.general, f"word {number}", thread=root).user = evening.slack.bot_of(evening.team)
        async with evening.run():
            await evening.reply(evening.ann.says(evening.general, "Remember the end", thread=root))
        async with evening.run():
            await evening.reply(evening.ann.says(evening.general, "What do you remember?", thread=root))
            assert "Remember the start" in evening.read
            assert "Remember the end" in evening.read
