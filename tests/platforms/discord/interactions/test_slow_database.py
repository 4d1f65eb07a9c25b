"""Forms while the database is slow: Discord accepts one within 3 s and only as the first response."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.background import run_in_background
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord import visible_text


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    engine = ScriptedEngine(["Hello there."])
    async with an_evening(lambda: open_scripted_bot(engine, tmp_path)) as opened, opened.run():
        yield opened


async def occupy(evening: Evening, seconds: float) -> None:
    """Let SQLite be busy with a query: every other read waits for its end."""
    reader = evening.running.store._database._reader
    await reader.create_function("sleep", 1, time.sleep)

    async def ask() -> None:
        await reader.execute_fetchall("SELECT sleep(?)", (seconds,))

    run_in_background(ask(), "a slow query")
    await asyncio.sleep(0)


async def test_a_form_opens_when_the_database_is_slow(evening: Evening) -> None:
    await occupy(evening, 1.0)
    result = await evening.mod.slash(evening.general, "prompt-edit edit", name="sentiment")
    assert result.modal is not None
    saved = await (await evening.mod.submits(result.modal, {"Description": "Nice or not?"})).finished()
    await occupy(evening, 1.0)
    clicked = await evening.mod.clicks(saved.message, "Edit again")
    assert clicked.modal is not None
    assert "Nice or not?" in str(clicked.modal.payload)


async def test_a_form_that_is_too_late_says_so(evening: Evening) -> None:
    await occupy(evening, 3.0)
    result = await (await evening.mod.slash(evening.general, "prompt-edit edit", name="sentiment")).finished()
    assert result.is_ephemeral
    assert visible_text(result.message) == "⚠️ The form took too long to open. Try again."
