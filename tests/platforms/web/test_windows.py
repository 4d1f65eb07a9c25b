"""What is on its way to a window: a browser that takes its time gets everything, one that reads nothing is cut off."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from bot.core.stopping import Stopper
from bot.platforms.web.windows import Window
from bot.platforms.web.workbench import WorkbenchSession
from bot.services.hosted_places import HostedPerson
from tests.platforms.web.conftest import Served

NUM_STEPS = 10_000


async def steps() -> AsyncGenerator[dict[str, Any]]:
    """Yield what a run tells of which all results are stored: everything at once."""
    for number in range(NUM_STEPS):
        yield {"progress": [number, NUM_STEPS]}
    yield {"figures": []}


async def test_a_long_run_waits_for_its_window_and_loses_nothing(served: Served) -> None:
    window = Window(served.page.places.first_person)
    session = WorkbenchSession(served.page.bot, served.page.stage, served.page.workbenches, window)
    running = asyncio.ensure_future(session._follow({"n": 1}, steps(), "figures", Stopper()))
    for number in range(NUM_STEPS):
        frame = await window.next_frame()
        assert frame is not None
        assert f'"progress": [{number},' in frame
        if number % 10 == 0:
            await asyncio.sleep(0)
    assert await running == []
    assert not window.is_closed


async def test_a_run_ends_when_its_window_is_closed_while_it_waits() -> None:
    window = Window(HostedPerson("p1", "Ada", is_moderator=True))
    put = 0

    async def run() -> None:
        nonlocal put
        async for step in steps():
            await window.put_soon(step)
            put += 1

    running = asyncio.ensure_future(run())
    while put < 100:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not running.done()
    window.close()
    await running


async def test_a_window_that_reads_nothing_is_closed() -> None:
    window = Window(HostedPerson("p1", "Ada", is_moderator=True))
    for number in range(5_000):
        window.put({"op": "message", "number": number})
    assert window.is_closed
    assert await window.next_frame() is None
