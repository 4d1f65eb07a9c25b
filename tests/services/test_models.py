"""Models that are opened when they are first asked for, and closed when others need their memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bot.core.request_counts import RequestCounts
from bot.core.results import EngineStats
from bot.errors import ModelError, RequestError, Unavailable
from bot.services.models import ModelOffer, Models, Offers
from tests.bots import ScriptedEngine


class Shelf:
    """Offers engines, and notes what was opened and closed; opening waits while it `is_held`."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.failure: Exception | None = None

    def offer(self, name: str, num_bytes: int = 1) -> ModelOffer:
        @asynccontextmanager
        async def opened() -> AsyncIterator[ScriptedEngine]:
            self.events.append(f"opening {name}")
            await self.may_open.wait()
            if self.failure is not None:
                raise self.failure
            self.events.append(f"opened {name}")
            yield _engine(name)
            self.events.append(f"closed {name}")

        return ModelOffer(name, opened, num_bytes)

    def models(self, *names: str, max_bytes: int = 1) -> Models:
        return Models(_engine("first"), Offers(tuple(map(self.offer, names)), max_bytes=max_bytes))


class _Engine(ScriptedEngine):
    """One whose figures can be read."""

    def stats(self) -> EngineStats:
        return RequestCounts(0.0).snapshot(num_waiting=0, num_running=0, num_restarts=0, now=1.0)


def _engine(name: str) -> _Engine:
    return _Engine(["a"], name=name)


async def _use(models: Models, name: str) -> None:
    async with models.lease(name, wait_s=0) as engine:
        assert engine.info.name == name


async def test_a_model_is_opened_once_and_stays_open() -> None:
    shelf = Shelf()
    models = shelf.models("b")
    assert not models.is_ready("b")
    await asyncio.gather(*(_use(models, "b") for _ in range(3)))
    await _use(models, "first")
    assert models.is_ready("b")
    assert shelf.events == ["opening b", "opened b"]
    await models.close()
    assert shelf.events[-1] == "closed b"


async def test_the_one_that_was_idle_longest_makes_room() -> None:
    shelf = Shelf()
    models = shelf.models("b", "c", "d", max_bytes=2)
    for name in "bcbd":
        await _use(models, name)
    assert shelf.events[-3:] == ["closed c", "opening d", "opened d"]
    assert [state.is_loaded for state in models.states() if state.name != "first"] == [True, False, True]
    await models.close()


async def test_a_model_in_use_is_not_closed() -> None:
    shelf = Shelf()
    models = shelf.models("b", "c")
    async with models.lease("b"):
        with pytest.raises(Unavailable, match=r"The models in use leave no memory for c now; try again in a minute."):
            await _use(models, "c")
        waiting = asyncio.create_task(_use_soon(models, "c"))
        await asyncio.sleep(0)
        assert "closed b" not in shelf.events
    await waiting
    assert shelf.events[-3:] == ["closed b", "opening c", "opened c"]
    await models.close()


async def _use_soon(models: Models, name: str) -> None:
    async with models.lease(name):
        pass


async def test_two_are_never_opened_at_the_same_time_though_the_first_asker_has_gone() -> None:
    shelf = Shelf()
    models = shelf.models("b", "c", max_bytes=2)
    shelf.may_open.clear()
    gone = asyncio.create_task(_use(models, "b"))
    while "opening b" not in shelf.events:
        await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    other = asyncio.create_task(_use(models, "c"))
    for _ in range(5):
        await asyncio.sleep(0)
    await _use(models, "first")  # what is open answers meanwhile
    assert shelf.events == ["opening b"]
    shelf.may_open.set()
    await other
    assert shelf.events == ["opening b", "opened b", "opening c", "opened c"]
    await models.close()


async def test_a_model_that_could_not_be_opened_is_tried_again() -> None:
    shelf = Shelf()
    models = shelf.models("b")
    shelf.failure = ModelError("It is broken.")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"It is broken."):
            await _use(models, "b")
    shelf.failure = None
    await _use(models, "b")
    await models.close()


async def test_a_model_of_a_server_takes_no_memory() -> None:
    shelf = Shelf()
    models = Models(_engine("first"), Offers((shelf.offer("b"), shelf.offer("far", 0)), max_bytes=1))
    async with models.lease("b"):
        await _use(models, "far")
    assert models.is_ready("b")
    await models.close()


async def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    models = Shelf().models("b")
    assert models.check("B") == "b"
    with pytest.raises(RequestError, match=r"There is no model 'x' here; the models are first and b."):
        await _use(models, "x")


async def test_a_model_is_found_by_what_it_calls_itself() -> None:
    far = replace(Shelf().offer("openai:far", 0), own_name="far")
    models = Models(_engine("near"), Offers((far,), default_name="openai:near"))
    assert [models.find(name) for name in ("near", "far", "openai:far", "x")] == [
        "openai:near",
        "openai:far",
        "openai:far",
        None,
    ]
    assert models.names == ("openai:near", "openai:far")
