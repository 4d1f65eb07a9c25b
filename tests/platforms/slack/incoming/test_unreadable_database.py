"""What is said, edited and deleted while the database can't be read: told once, or stored when it is back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.platforms.slack.evenings import Evening, an_evening
from tests.servers.slack.reading import visible_text


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with an_evening(tmp_path) as opened, opened.run():
        yield opened


@pytest.fixture(autouse=True)
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between two tries be short."""
    monkeypatch.setattr("bot.platforms.shared.trying.FIRST_PAUSE_S", 0.05)


@contextmanager
def unavailable(evening: Evening) -> Iterator[None]:
    """Let every read and write of the store raise Unavailable while the block runs."""
    database = evening.running.store._database
    database._is_closed = True
    try:
        yield
    finally:
        database._is_closed = False


async def test_a_mention_which_is_two_events_is_told_once(evening: Evening):
    with unavailable(evening):
        asked = evening.ann.asks(evening.general, "Hello")
        told = await evening.slack.wait_for_whisper(evening.ann)
        await evening.is_quiet()
        assert "try again when it is back" in visible_text(told)
    # It is read back with what was missed, and was told all the same.
    await evening.slack.sockets.lose("cut")
    await evening.slack.sockets.is_connected(2)
    await evening.is_quiet()
    assert evening.slack.answers_to(asked) == []
    assert len(evening.slack.world.ephemerals) == 1


async def test_an_edit_and_a_deletion_are_stored_when_the_database_is_back(evening: Evening):
    edited = evening.ann.asks(evening.general, "abracadabra")
    deleted = evening.ann.dm("hocus pocus")
    await evening.reply(edited)
    await evening.reply(deleted)
    with unavailable(evening):
        evening.ann.edits(edited, edited.text.replace("abracadabra", "mumbo"))
        evening.ann.deletes(deleted)
        await evening.is_quiet()
        evening.ann.edits(edited, edited.text.replace("mumbo", "simsalabim"))
        await evening.is_quiet()
    await evening.slack.wait_for(lambda: not waiting(), 5, "the end of the tries")
    await evening.reply(evening.ann.says(evening.general, "What was it?", thread=edited))
    assert "simsalabim" in evening.read
    assert "abracadabra" not in evening.read
    assert "mumbo" not in evening.read
    await evening.reply(evening.ann.dm("And that?"))
    assert "hocus" not in evening.read


def waiting() -> list[str]:
    """Return the coroutines of the tasks that wait to store something."""
    tasks = [str(task.get_coro()) for task in asyncio.all_tasks() if not task.done()]
    return [one for one in tasks if "run_ack_function" in one]


async def test_a_channel_and_a_workspace_that_are_gone_are_erased_when_the_database_is_back(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        away = evening.slack.add_team("Globex")
        eve = evening.slack.add_person(away, "Eve")
        async with evening.run():
            await evening.reply(evening.ann.asks(evening.other, "abracadabra"))
            await evening.reply(evening.ann.dm("I stay"))
            await evening.reply(eve.asks(evening.slack.channel(away, "general"), "hocus pocus"))
            await evening.reply(eve.dm("simsalabim"))
            with unavailable(evening):
                evening.slack.world.delete_channel(evening.other)
                evening.slack.world.uninstall(evening.slack.installation(away))
                await evening.is_quiet()
            await evening.slack.wait_for(lambda: not waiting(), 5, "the end of the tries")
            assert await evening.running.num_stored() == 2, "what stays, and its answer"
            await evening.reply(evening.ann.dm("What stays?"))
            assert "I stay" in evening.read


async def test_what_is_deleted_while_the_last_answers_are_written_is_erased(evening: Evening):
    deleted = evening.ann.dm("hocus pocus")
    await evening.reply(deleted)
    assert evening.client is not None
    await evening.client.drain(0)
    evening.ann.deletes(deleted)
    await evening.is_quiet()
    assert await evening.running.num_stored() == 1, "the bot's answer"
