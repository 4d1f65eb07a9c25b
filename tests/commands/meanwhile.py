"""Waiting for what is to happen while a message is answered, and what is stored by then."""

import asyncio

from tests.bots import ScriptedEngine, Talk


async def stored(talk: Talk) -> str:
    """Return all rows that may hold words."""
    tables = ("messages", "replies", "open_cards", "inbox", "template_drafts")
    rows = [row for table in tables for row in await talk.store._database.read(f"SELECT * FROM {table}")]
    return str([dict(row) for row in rows])


async def until_read(engine: ScriptedEngine, num: int = 1) -> None:
    """Wait until the model has been given that many prompts."""
    async with asyncio.timeout(10):
        while len(engine.read) < num:
            await asyncio.sleep(0.01)


async def until_stored(talk: Talk, words: str) -> None:
    """Wait until a message with these words is stored."""
    async with asyncio.timeout(10):
        while words not in await stored(talk):
            await asyncio.sleep(0.01)
