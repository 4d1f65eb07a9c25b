"""Messages that come while the database can't be read: told, or answered when it can be read again; none is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord import visible_text


@pytest.fixture
async def evening(tmp_path) -> AsyncIterator[Evening]:
    engine = ScriptedEngine(["Hello there."])
    async with an_evening(lambda: open_scripted_bot(engine, tmp_path)) as opened, opened.run():
        yield opened


@contextmanager
def unavailable(evening: Evening) -> Iterator[None]:
    """Let every read and write of the store raise Unavailable while the block runs."""
    database = evening.running.store._database
    database._is_closed = True
    try:
        yield
    finally:
        database._is_closed = False


def watermark(evening: Evening) -> int:
    assert evening.client is not None
    return max(int(gaps.seen.value or 0) for gaps in evening.client.intake._gaps.values())


@pytest.mark.parametrize("said", ["!help", "!status", "mention", "reply"])
async def test_who_certainly_means_the_bot_is_told(evening: Evening, said: str):
    answer = await evening.discord.reply(evening.ada.says(evening.general, "Hello", mention_bot=True))
    with unavailable(evening):
        asked = evening.ada.says(
            evening.general,
            said if said.startswith("!") else "Well?",
            mention_bot=said == "mention",
            reply_to=answer if said == "reply" else None,
        )
        told = visible_text(await evening.discord.reply(asked))
    assert "try again when it is back" in told


async def test_a_message_that_may_be_for_the_bot_is_answered_when_the_database_is_back(evening: Evening):
    await evening.running.store.set_setting(evening.here, "channel", "answer_when", "every")
    with unavailable(evening):
        asked = evening.ada.says(evening.general, "Hello everyone")
        await asyncio.sleep(0.5)
        assert evening.discord.answers_to(asked) == []
        assert watermark(evening) < asked.id, "the next start would read it"
    assert visible_text(await evening.discord.reply(asked)) == "Hello there."
    await evening.discord.world.wait_until(lambda: watermark(evening) >= asked.id, 5, "the watermark to pass it")


async def test_a_message_that_is_deleted_before_the_database_is_back_is_not_answered(evening: Evening):
    await evening.running.store.set_setting(evening.here, "channel", "answer_when", "every")
    with unavailable(evening):
        asked = evening.ada.says(evening.general, "Hello everyone")
        await asyncio.sleep(0.3)
        evening.ada.deletes(asked)
        await asyncio.sleep(0.3)
    await asyncio.sleep(1.5)
    assert evening.engine.read == []
    assert watermark(evening) >= asked.id


async def test_an_edit_and_a_deletion_are_stored_when_the_database_is_back(evening: Evening):
    first = evening.ada.says(evening.general, "abracadabra", mention_bot=True)
    await evening.discord.reply(first)
    second = evening.ada.says(evening.general, "hocus pocus", mention_bot=True)
    await evening.discord.reply(second)
    with unavailable(evening):
        evening.ada.edits(first, "simsalabim")
        evening.ada.deletes(second)
        await asyncio.sleep(0.3)
    store = evening.running.store

    async def texts() -> list[str]:
        return [one.text for one in await store.load_messages(evening.here, [str(first.id), str(second.id)])]

    for _ in range(100):
        if await texts() == ["simsalabim"]:
            break
        await asyncio.sleep(0.1)
    assert await texts() == ["simsalabim"]


async def test_a_channel_that_is_deleted_meanwhile_is_erased_when_the_database_is_back(evening: Evening):
    asked = evening.ada.says(evening.general, "abracadabra", mention_bot=True)
    await evening.discord.reply(asked)
    assert evening.client is not None
    servers = evening.client._servers
    with unavailable(evening):
        gone = asyncio.create_task(servers.channel_gone(int(evening.here.server), int(evening.here.channel)))
        await asyncio.sleep(0.3)
    await asyncio.wait_for(gone, 10)
    assert await evening.running.store.load_messages(evening.here, [str(asked.id)]) == []
