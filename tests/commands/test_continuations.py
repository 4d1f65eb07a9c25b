"""Continuations of a text while it is typed: quick or partial, one request a person, and nothing kept of the words."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import replace

import pytest

from bot.commands import continuations
from bot.commands.continuations import Continuations
from bot.core.messages import Author
from bot.errors import Unavailable
from bot.services.models import Models
from tests.bots import HERE, ScriptedEngine, Talk

ANN, BOB = ("discord", "ann"), ("discord", "bob")
LONG = " on and" * 100


class Typing(Continuations):
    """Continuations by the only model that there is."""

    async def suggest(self, person: Hashable, typed: str, model: str = "scripted") -> tuple[str, ...]:
        return await super().suggest(person, typed, model)


def suggesting(*scripts: str | Exception, pause_s: float = 0.0) -> tuple[Typing, ScriptedEngine]:
    engine = ScriptedEngine(scripts, pause_s=pause_s)
    return Typing(Models(engine), max_characters=100), engine  # type: ignore[arg-type]


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


async def test_a_suggestion_is_the_typed_text_with_what_the_model_writes() -> None:
    suggest, engine = suggesting(" sat on the mat.")
    assert await suggest.suggest(ANN, "The cat") == ("The cat sat on the mat.",)
    assert engine.read[0].text == "The cat"
    assert engine.how[0]["heal"]


async def test_the_last_results_are_found_by_their_text_without_the_model() -> None:
    suggest, engine = suggesting(" sat.")
    for person in (ANN, ANN, BOB):
        assert await suggest.suggest(person, "The cat") == ("The cat sat.",)
    assert len(engine.generations) == 1
    for number in range(40):
        await suggest.suggest(ANN, f"The cat {number}")
    assert len(suggest._cached) == 32


async def test_somebody_else_s_server_is_asked_only_once_a_person_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    suggest, engine = suggesting(" sat.")
    engine.info = replace(engine.info, server="api.example.com")
    monkeypatch.setattr(continuations, "PAUSE_S", 0.1)
    keys = [asyncio.create_task(suggest.suggest(ANN, "The cat"[:num])) for num in range(1, 8)]
    other = asyncio.create_task(suggest.suggest(BOB, "A dog"))
    assert await asyncio.gather(*keys) == [()] * 6 + [("The cat sat.",)]
    assert await other == ("A dog sat.",)
    assert len(engine.generations) == 2
    assert await suggest.suggest(ANN, "The cat") == ("The cat sat.",)
    assert len(suggest._newest) == 0


async def test_a_slow_model_is_not_waited_for_and_what_it_wrote_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuations, "WAIT_S", 0.5)
    suggest, engine = suggesting(LONG, pause_s=0.1)
    begun = time.monotonic()
    (partial,) = await suggest.suggest(ANN, "The cat")
    assert time.monotonic() - begun < 5
    assert partial.startswith("The cat on and")
    assert engine.generations[0].is_cancelled
    # What is not whole is asked for again.
    await suggest.suggest(ANN, "The cat")
    assert len(engine.generations) == 2


def test_the_model_is_waited_for_a_second_at_most() -> None:
    assert continuations.WAIT_S == 1.0


async def test_the_next_key_ends_the_work_for_the_last_one_and_nobody_elses() -> None:
    suggest, engine = suggesting(LONG, pause_s=0.02)
    others = asyncio.create_task(suggest.suggest(BOB, "The dog"))
    await until(lambda: len(engine.generations) == 1)
    typing = []
    for number, text in enumerate(["T", "Th", "The", "The cat"]):
        typing.append(asyncio.create_task(suggest.suggest(ANN, text)))
        await until(lambda number=number: len(engine.generations) == number + 2)
        running = [one for one in engine.generations[1:] if not one.is_cancelled]
        assert running == [engine.generations[-1]]
    shown = await asyncio.gather(*typing)
    assert shown[:3] == [(), (), ()]
    assert shown[3][0].startswith("The cat on")
    assert (await others)[0].startswith("The dog on")
    assert suggest._running == {}


async def test_a_suggestion_fits_into_a_choice_and_ends_at_a_word() -> None:
    suggest, engine = suggesting(" and so on it goes")
    typed = "x" * 90
    assert await suggest.suggest(ANN, typed) == (f"{typed} and so on",)
    assert await suggest.suggest(ANN, "x" * 97) == ()
    num = len(engine.generations)
    assert await suggest.suggest(ANN, "x" * 99) == ()
    assert await suggest.suggest(ANN, "x" * 6000) == ()
    assert await suggest.suggest(ANN, "  ") == ()
    assert len(engine.generations) == num, "the model is not asked where nothing fits"


async def test_where_the_model_can_not_answer_nothing_is_suggested() -> None:
    suggest, _ = suggesting(Unavailable("The queue is full."))
    assert await suggest.suggest(ANN, "The cat") == ()
    assert suggest._running == {}


async def test_what_is_typed_is_neither_stored_nor_logged(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = await talk.bot.suggest_values(HERE, "complete", "TEXT", "canarywords are", who=Author("ann", "Ann"))
    assert all(one.startswith("canarywords are") for one in found)
    assert await talk.num_stored() == 0
    assert "canary" not in caplog.text
    kept = talk.bot._continuations
    assert "canary" not in repr([kept._cached, kept._running])


async def test_without_a_person_and_for_other_commands_the_model_is_not_asked(talk: Talk) -> None:
    before = talk.services.engine.stats().num_done
    assert await talk.bot.suggest_values(HERE, "complete", "TEXT", "The cat") == ()
    assert talk.services.engine.stats().num_done == before
