"""A server that is lost, silent, restarted or another one: requests are answered once and the same, or told."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.core.engine import NOBODY, Asker, waited_too_long
from bot.core.engine_calls import (
    MAX_BEAT_S,
    PROTOCOL,
    Accepted,
    Beat,
    Frame,
    Generate,
    GenerateBatch,
    Wrote,
    beat_s,
    key_of,
)
from bot.core.prompt_parts import Prompt
from bot.core.results import Delta
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.errors import FewshotError, ModelChanged, ModelError, Unavailable
from bot.remote.own_server.connection import SILENT_S, Connection, NotOurs, ServerAway
from bot.remote.own_server.generation import ServedGeneration
from bot.remote.own_server.patience import Patience
from bot.remote.own_server.served_engine import ServedEngine, wait_for_server
from tests.remote.own_server.cable import Cable
from tests.remote.own_server.serving import KEY, asking, open_local, served
from tests.remote.own_server.test_served_engine import read
from tests.serving.served import held_model

CAT = Prompt.plain("The cat sat on the")
SEEDED = SamplingParams(seed=7, max_new_tokens=60, top_k=20)


@pytest.fixture
async def line(tiny_gpt2: Path) -> AsyncIterator[tuple[LocalEngine, Cable, ServedEngine]]:
    """Return an engine, a cable to its server, and the engine that asks through the cable."""
    async with (
        open_local(tiny_gpt2) as local,
        served(local) as base,
        Cable.laid(base) as cable,
        asking(cable.base) as apart,
    ):
        yield local, cable, apart


Line = tuple[LocalEngine, Cable, ServedEngine]


@pytest.mark.parametrize("resets", [True, False])
async def test_a_text_cut_anywhere_goes_on_where_it_was(line: Line, resets: bool) -> None:
    local, cable, apart = line
    cable.resets = resets
    rng = random.Random(1)
    for params in (SEEDED, replace(SEEDED, n=3)):
        whole = await read(local.generate(CAT, params))
        for _ in range(6):
            cable.cuts = [rng.randrange(1, 6000) for _ in range(rng.randint(1, 3))]
            assert await read(apart.generate(CAT, params)) == whole
            cable.cuts.clear()
    assert cable.num_cut >= 6


async def test_figures_that_were_cut_off_are_asked_for_again(line: Line) -> None:
    local, cable, apart = line
    for cut in (1, 100, 400, 900):
        cable.cuts = [cut]
        assert await apart.score("The cat sat on it.", num_expected=3) == await local.score(
            "The cat sat on it.", num_expected=3
        )
    cable.cuts = [1, 300]
    assert await apart.count_tokens([CAT]) == await local.count_tokens([CAT])


async def test_a_request_waits_for_a_server_that_comes_back(line: Line) -> None:
    local, cable, apart = line
    cable.lose()
    asked = [asyncio.create_task(read(apart.generate(CAT, SEEDED))), asyncio.create_task(apart.score("A cat."))]
    await apart._look()
    assert apart._is_away
    assert apart.info == local.info, "what is known of the model is still readable"
    assert apart.stats().num_running == 0
    cable.is_out = False
    assert await asked[0] == await read(local.generate(CAT, SEEDED))
    assert await asked[1] == await local.score("A cat.")
    await apart._look()
    assert not apart._is_away


async def test_a_request_whose_time_is_over_is_told(line: Line) -> None:
    _, cable, apart = line
    cable.lose()
    with pytest.raises(Unavailable, match=r"^The model's server is away\. Try again in a minute\.$"):
        await read(apart.generate(CAT, SEEDED, timeout_s=0.2))


async def test_a_stop_ends_a_request_that_waits_for_the_server(line: Line) -> None:
    _, cable, apart = line
    generation = apart.generate(CAT, SEEDED)
    cable.cuts = [2000]
    text = ""
    async with asyncio.timeout(30), generation:
        async for delta in generation:
            text += delta.text
            cable.is_out = True
            while not cable.num_cut:
                await asyncio.sleep(0.01)
            generation.cancel()
    assert text
    assert generation.completions[0].text == text
    assert generation.completions[0].finish_reason == "cancelled"


async def test_a_stop_ends_what_a_hanging_server_does_not_end() -> None:
    async def send(call: Generate | GenerateBatch, call_id: str) -> AsyncGenerator[Frame]:
        yield Accepted("run")
        yield Wrote(Delta(0, "Once", None))
        await asyncio.Event().wait()

    call = Generate(CAT, SEEDED, False, False, None, 0, 60.0, "chat", False)
    generation = ServedGeneration(send, lambda call_id: None, call, SEEDED, num_completions=1, asker=NOBODY)
    text = ""
    async with asyncio.timeout(10), generation:
        async for delta in generation:
            text += delta.text
            generation.cancel()
    (completion,) = generation.completions
    assert (text, completion.text, completion.finish_reason) == ("Once", "Once", "cancelled")


async def test_a_server_that_falls_silent_counts_as_away(line: Line) -> None:
    local, cable, _ = line
    cable.is_silent = True
    async with asking(cable.base, silent_s=2) as apart:
        cable.cuts = [1500]
        assert await read(apart.generate(CAT, SEEDED)) == await read(local.generate(CAT, SEEDED))
    assert cable.num_cut == 1


async def test_a_request_that_the_server_dies_of_each_time_is_given_up(line: Line) -> None:
    _, cable, apart = line
    cable.cuts = [400] * 20
    with pytest.raises(Unavailable, match=r"was lost 5 times while it worked on this"):
        await apart.score("A cat.", num_expected=5)
    assert len(cable.cuts) == 15
    cable.cuts.clear()
    await apart.score("A cat.")


class _Reseeded:
    """An engine that draws otherwise each time."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._num_asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, prompt: Prompt, params: SamplingParams, **how: Any) -> Any:
        self._num_asked += 1
        return self._engine.generate(prompt, params.shift_seed(self._num_asked), **how)


async def test_a_text_that_would_go_on_as_another_one_is_told(tiny_gpt2: Path) -> None:
    async with (
        open_local(tiny_gpt2) as local,
        served(_Reseeded(local)) as base,  # type: ignore[arg-type]
        Cable.laid(base) as cable,
        asking(cable.base) as apart,
    ):
        cable.cuts = [2500]
        with pytest.raises(Unavailable, match="was lost while it wrote, and then wrote another text"):
            await read(apart.generate(CAT, SEEDED))


async def test_another_model_is_noticed_and_what_was_meant_for_the_first_is_told(
    tiny_gpt2: Path, tiny_llama: Path
) -> None:
    async with (
        open_local(tiny_gpt2, name="first") as first,
        open_local(tiny_llama, name="second") as second,
        served(first) as base,
        served(second) as other,
        Cable.laid(base) as cable,
        asking(cable.base) as apart,
    ):
        cable.target, cable.cuts = other, [1]  # the connection that is kept open leads to the first
        sentence = r"^The model changed: it is second now\. Ask again\.$"
        with pytest.raises(Unavailable, match=sentence):
            await read(apart.generate(CAT, SEEDED))
        assert apart.info == second.info
        assert await read(apart.generate(CAT, SEEDED)) == await read(second.generate(CAT, SEEDED))
        assert await apart.count_tokens([CAT]) == await second.count_tokens([CAT])


class _Crowded:
    """A server that writes `text` and is lost; asked again, it lets the request wait for all the time that is left."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.left_s: list[float] = []

    async def send(self, call: Generate | GenerateBatch, call_id: str) -> AsyncGenerator[Frame]:
        self.left_s.append(call.timeout_s)
        if len(self.left_s) == 1:
            yield Accepted("first")
            if self._text:
                yield Wrote(Delta(0, self._text))
            await asyncio.sleep(1.2)
            raise ServerAway("lost", was_accepted=True)
        await asyncio.sleep(call.timeout_s)
        raise waited_too_long(call.timeout_s)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"your request waited 2 s without a turn"),
        ("The cat", r"The model's server was lost while it wrote, and no time was left to write as much again"),
    ],
)
async def test_a_server_that_was_asked_again_does_not_tell_its_part_of_the_wait_as_all(
    text: str, sentence: str
) -> None:
    server = _Crowded(text)
    call = Generate(CAT, SEEDED, False, False, None, 0, 2.0, "chat", False)
    generation = ServedGeneration(server.send, lambda _: None, call, SEEDED, num_completions=1, asker=NOBODY)
    with pytest.raises(Unavailable, match=sentence):
        await read(generation)
    assert server.left_s[-1] < 1


async def test_a_prompt_is_never_read_by_another_model_than_it_was_made_for(tiny_gpt2: Path, tiny_llama: Path) -> None:
    async with (
        open_local(tiny_gpt2, name="first") as first,
        open_local(tiny_llama, name="second") as second,
        served(first) as base,
        served(second) as other,
        Cable.laid(base) as cable,
        asking(cable.base) as apart,
    ):
        answering = apart.pinned()
        assert await answering.count_tokens([CAT]) == await first.count_tokens([CAT])
        cable.target, cable.cuts = other, [1]
        await apart._look()
        await apart._look()
        assert apart.info == second.info
        assert answering.info == first.info
        for _ in range(2):
            with pytest.raises(ModelChanged, match="it is second now"):
                await read(answering.generate(CAT, SEEDED))
            with pytest.raises(ModelChanged, match="it is second now"):
                await answering.score_continuations(CAT, [" mat"])
        assert await apart.count_tokens([CAT]) == await second.count_tokens([CAT])
        assert await apart.pinned().count_tokens([CAT]) == await second.count_tokens([CAT])


async def test_a_wrong_key_and_another_server_are_told_apart_from_one_that_is_away(tiny_gpt2: Path) -> None:
    async with open_local(tiny_gpt2) as local, served(local) as base:
        async with Connection.open(base, "wrong") as connection:
            assert await wait_for_server(connection, _is_not_told, limit_s=5) is None
            hello = await _hello_with_key(base)
            async with ServedEngine.open(connection, hello) as apart:
                with pytest.raises(Unavailable, match="refuses the bot's key") as raised:
                    await apart.count_tokens([CAT])
                assert "wrong" not in str(raised.value)
        async with Connection.open(base.replace("/v1", "/elsewhere"), KEY) as connection:
            assert await wait_for_server(connection, _is_not_told, limit_s=5) is None


def _is_not_told(sentence: str) -> None:
    raise AssertionError(sentence)


async def _hello_with_key(base: str) -> Any:
    async with Connection.open(base, KEY) as connection:
        return await connection.hello()


async def test_the_start_waits_for_the_server_and_says_so_once(tiny_gpt2: Path) -> None:
    told: list[str] = []
    async with open_local(tiny_gpt2) as local, served(local) as base, Cable.laid(base) as cable:
        cable.lose()
        async with Connection.open(cable.base, KEY) as connection:
            with pytest.raises(Unavailable, match="is away"):
                await wait_for_server(connection, told.append, limit_s=0.2)
            assert len(told) == 1
            waiting = asyncio.create_task(wait_for_server(connection, told.append, limit_s=60))
            async with asyncio.timeout(30):
                while len(told) < 2:
                    await asyncio.sleep(0.01)
            cable.is_out = False
            hello = await waiting
    assert hello is not None
    assert hello.info == local.info
    assert told[0].startswith("Waiting for the model's server at 127.0.0.1:")
    assert len(told) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"protocol": PROTOCOL + 1, "new": "field"}, ModelError),
        ({"protocol": PROTOCOL, "instance": "a"}, FewshotError),
        ({"object": "list"}, None),
    ],
)
async def test_a_server_of_another_version_is_told_in_one_sentence(answer: Any, error: Any) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_get("/fewshot/v1/engine", say)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with Connection.open(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", "") as connection:
            if error is None:
                assert await wait_for_server(connection, _is_not_told, limit_s=5) is None
                return
            with pytest.raises(error) as raised:
                await wait_for_server(connection, _is_not_told, limit_s=5)
            assert str(raised.value).count("\n") == 0
            assert "version" in str(raised.value)
    finally:
        await runner.cleanup()


async def test_patience_ends_with_its_time_and_starts_again_when_the_server_is_heard() -> None:
    patience = Patience(0.0)
    with pytest.raises(Unavailable):
        await patience.wait(ServerAway("refused"))
    patience = Patience(3600)
    await patience.wait(ServerAway("refused"))
    assert patience.left_s > 3500
    given_up = asyncio.Event()
    given_up.set()
    for _ in range(20):
        await patience.wait(ServerAway("refused"), given_up)  # waits for nothing


async def test_a_crowd_that_waits_is_told_so_no_more_often_than_the_server_can_say_it(tiny_gpt2: Path) -> None:
    async with (
        open_local(tiny_gpt2, max_waiting=200) as local,
        held_model(local),
        served(local) as base,
        Connection.open(base, KEY) as connection,
    ):
        model, num_beats = key_of(local.info), 0
        call = Generate(CAT, SEEDED, False, False, None, 0, 60.0, "chat", False)

        async def wait(number: int) -> None:
            nonlocal num_beats
            async with aclosing(connection.ask(call, Asker(number, number), model=model)) as frames:
                async for frame in frames:
                    num_beats += isinstance(frame, Beat)

        waiting = [asyncio.create_task(wait(number)) for number in range(150)]
        await asyncio.sleep(4)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert 0 < num_beats <= 4 * 50


@pytest.mark.parametrize(("num_open", "expected_s"), [(1, 0.5), (25, 0.5), (100, 2.0), (10_000, MAX_BEAT_S)])
def test_beats_come_less_often_the_more_calls_are_open(num_open: int, expected_s: float) -> None:
    assert beat_s(num_open) == expected_s
    assert beat_s(num_open) < SILENT_S


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (b"no gzip", {"Content-Encoding": "gzip"}, ServerAway),
        (b"[" * 100_000, {}, NotOurs),
        (b'{"protocol": %d}' % PROTOCOL, {}, FewshotError),
    ],
)
async def test_an_answer_that_can_t_be_read_is_never_an_error_of_another_kind(
    body: bytes, headers: dict[str, str], error: type[Exception]
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server, Connection.open(f"http://127.0.0.1:{server.port}/v1", KEY) as connection:
        with pytest.raises(error):
            await connection.hello()
