"""The worth of built-in templates: measured while nobody asks, listed, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from bot.core.cards import Table, Text
from bot.core.engine import Asker
from bot.core.prompt_parts import Prompt
from bot.core.templates.template import PromptTemplate
from bot.services.worth import known_worth, measure_when_idle, measure_worth
from tests.bots import MOOD, PROMPTS, Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
TESTED = {
    **PROMPTS,
    "mood": MOOD,
    "echo": '+++\ndescription = "Echo."\n[sampling]\nmax_new_tokens = 4\n'
    + "".join(f'[[tests]]\ninput = "{word}"\noutput = "{word}"\n' for word in ("ab", "cd", "ef"))
    + "+++\nSay $input:\n",
}


@asynccontextmanager
async def measuring_when_idle(talk: Talk, *, idle_s: float = 0.05) -> AsyncIterator[None]:
    services = talk.services
    work = measure_when_idle(services.measuring, services.engine, services.templates.shipped, idle_s=idle_s)
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_known(talk: Talk, name: str) -> None:
    while await known_worth(talk.services.measuring, shipped(talk, name)) is None:
        await asyncio.sleep(0.01)


def shipped(talk: Talk, name: str) -> PromptTemplate:
    return talk.services.templates.shipped.get(name)


async def test_the_list_says_what_each_template_is_worth_once_nobody_asks(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=TESTED) as talk:
        (table,) = (block for block in (await talk.card("!prompt list")).blocks if isinstance(block, Table))
        scores = {row[0]: row[table.columns.index("score")] for row in table.rows}
        assert (scores["mood"], scores["echo"], scores["story"]) == ("not measured yet", "not measured yet", "")
        async with measuring_when_idle(talk):
            await until_known(talk, "mood")
            await until_known(talk, "echo")
        card = await talk.card("!prompt list")
        usable, poor = (block for block in card.blocks if isinstance(block, Table))
        assert {row[0] for row in poor.rows} == {"mood", "echo"}, "a random model knows nothing"
        assert "mood" not in {row[0] for row in usable.rows}
        listed = {one["name"]: one for one in card.data["templates"]}
        assert listed["mood"]["needs_larger_model"]
        assert listed["mood"]["score"]["num_rows"] == 6
        assert listed["echo"]["score"]["fit"] < 0.5
        texts = [block.text for block in card.blocks if isinstance(block, Text)]
        assert texts[0] == "On their own tests tiny mostly answers wrong. These need a larger model:"
        assert "needs a larger model" in str((await talk.card("!prompt show mood")).blocks)


async def test_a_test_by_hand_gives_the_same_as_the_idle_measurement(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=TESTED) as talk:
        for name in ("mood", "echo"):
            data = await talk.ask(f"!prompt test {name}")
            worth = await known_worth(talk.services.measuring, shipped(talk, name))
            assert worth is not None
            assert data["fit"] == worth.fit
            again = await measure_worth(talk.services.measuring, shipped(talk, name), asker=Asker())
            assert again == worth


async def test_nothing_is_measured_while_somebody_asks(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=TESTED) as talk, measuring_when_idle(talk, idle_s=0.2):
        engine = talk.services.engine
        for _ in range(30):
            await engine.score_continuations(Prompt.plain("a"), [" b"])
            assert await known_worth(talk.services.measuring, shipped(talk, "echo")) is None
            await asyncio.sleep(0.01)
        await until_known(talk, "echo")
