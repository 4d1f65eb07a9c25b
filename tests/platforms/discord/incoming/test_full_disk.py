"""A full disk on Discord: who needs storing is told why, the rest works, and the operator reads one line."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bots import ScriptedEngine, empty_disk, fill_disk, open_scripted_bot
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord import visible_text

FULL = "The bot's disk is full or failing, so nothing new can be stored; try again later."


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    engine = ScriptedEngine(["Hello there."])
    async with an_evening(lambda: open_scripted_bot(engine, tmp_path)) as opened, opened.run():
        yield opened


async def test_the_bot_goes_on_where_nothing_is_stored_and_the_operator_reads_it_once(
    evening: Evening, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    answer = await evening.discord.reply(evening.ada.says(evening.general, "Hello", mention_bot=True))
    await fill_disk(evening.running.store)
    for text in ("!prompt list", "!prompt show sentiment"):
        told = await evening.discord.reply(evening.ada.says(evening.general, text))
        assert FULL not in visible_text(told)
    asked = await (await evening.ada.slash(evening.general, "help")).finished()
    assert FULL not in visible_text(asked.message)
    refused = await evening.discord.reply(evening.ada.says(evening.general, "And you?", reply_to=answer))
    assert FULL in visible_text(refused)
    asked = await (await evening.bob.slash(evening.general, "complete", text="The cat")).finished()
    assert FULL in visible_text(asked.message)
    path = evening.running.store._database.path
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"The database {path} can't be written: the disk is full or failing. Nothing new is stored until then."
    ]
    await empty_disk(evening.running.store)
    again = await evening.discord.reply(evening.ada.says(evening.general, "Hello again", mention_bot=True))
    assert visible_text(again) == "Hello there."
