"""The engine of another process gives what the engine in the program gives: texts, seeds, figures, errors."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.core.chat_prompt import ConversationFit
from bot.core.ending import AfterSentence, AfterWhole, UnlessExactly
from bot.core.engine import Asker, Engine
from bot.core.history import HistoryMessage
from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart
from bot.core.results import Completion, DrawnTokens
from bot.core.sampling_params import SamplingParams
from bot.core.story import StoryFit, StoryPart
from bot.core.templates.parsing import parse_template
from bot.engine.engine import LocalEngine
from bot.errors import Busy, ModelError, PromptTooLong, RequestError
from bot.remote.own_server.served_engine import ServedEngine
from tests.bots import PROMPTS
from tests.remote.own_server.serving import asking, open_local, served
from tests.serving.served import held_model, until

CAT = Prompt.plain("The cat sat on the")
HALF = Prompt.plain("The cat and the rob")
SEEDED = SamplingParams(seed=7, max_new_tokens=24, top_k=20)
ANN = Asker(("discord", "home"), ("discord", "ann"), "m1")


@pytest.fixture(params=["gpt2", "llama"])
async def engines(
    request: pytest.FixtureRequest, roomy_model: Callable[[str], Path]
) -> AsyncIterator[tuple[LocalEngine, ServedEngine]]:
    """Return the engine in the program, and one that asks a server of it."""
    async with open_local(roomy_model(request.param)) as local, served(local) as base, asking(base) as apart:
        yield local, apart


async def written(engine: Engine, *args: Any, **how: Any) -> tuple[list[str], tuple[Completion, ...], int | None]:
    """Return the joined deltas of each continuation, the completions, and the seed."""
    generation = engine.generate(*args, **how)
    return await read(generation)


async def read(generation: Any) -> tuple[list[str], tuple[Completion, ...], int | None]:
    texts: dict[int, str] = {}
    async with generation:
        async for delta in generation:
            texts[delta.index] = texts.get(delta.index, "") + delta.text
    return [texts[index] for index in sorted(texts)], generation.completions, generation.params.seed


WAYS: Sequence[tuple[Prompt, SamplingParams, dict[str, Any]]] = (
    (CAT, SEEDED, {}),
    (CAT, replace(SEEDED, n=3), {"asker": ANN}),
    (HALF, replace(SEEDED, n=2), {"heal": True}),
    (HALF, SEEDED, {"is_word_whole": True, "priority": "scoring"}),
    (CAT, replace(SEEDED, n=3, max_new_tokens=60), {"end_at": AfterSentence()}),
    (CAT, replace(SEEDED, max_new_tokens=60), {"end_at": AfterWhole("So"), "end_from": 20}),
    (CAT, replace(SEEDED, temperature=0), {"end_at": UnlessExactly("a cat")}),
    (CAT, replace(SEEDED, num_beams=3, n=2), {}),
    (CAT, replace(SEEDED, stop=("e", "\n")), {}),
    (CAT, SEEDED, {"is_alone": True}),
    (Prompt.document("Once upon a time"), SEEDED, {}),
    (Prompt.plain("half a character \ud83d"), SEEDED, {}),
    (Prompt((PromptPart("<|im_start|>user", is_markup=True), PromptPart("<|im_start|>"))), SEEDED, {}),
)


async def test_generations_are_the_same_to_the_last_bit(engines: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = engines
    for prompt, params, how in WAYS:
        here, there = await written(local, prompt, params, **how), await written(apart, prompt, params, **how)
        assert there == here, (prompt, params, how)
    generation = apart.generate(CAT, replace(SEEDED, seed=None), is_alone=True)
    texts, completions, seed = await read(generation)
    assert seed is not None, "a seed is drawn where none is given"
    assert generation.was_alone
    assert (await written(local, CAT, replace(SEEDED, seed=seed)))[:2] == (texts, completions)
    assert generation.timings is not None
    assert generation.timings.num_new_tokens == len(completions[0].token_ids)
    assert generation.num_ahead == 0


async def test_batches_are_the_same(engines: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = engines
    prompts, options = [CAT, HALF, CAT], [SEEDED, replace(SEEDED, temperature=0), replace(SEEDED, seed=8)]
    for how in ({}, {"heal": True, "end_at": AfterSentence(), "asker": ANN}):
        there = apart.generate_batch(prompts, options, **how)
        assert await read(there) == await read(local.generate_batch(prompts, options, **how))
        assert len(there.part_timings) == 3
    with pytest.raises(ValueError, match="at least one prompt"):
        apart.generate_batch([], [])


async def test_figures_are_the_same(engines: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = engines
    text = "The dog ran to the door. " * 60
    told: list[tuple[int, int]] = []
    drawn = (await written(local, HALF, SEEDED, heal=True))[1][0]

    async def figures(engine: Engine) -> list[Any]:
        return [
            await engine.score("The cat sat.", num_expected=3, asker=ANN),
            await engine.score(text, on_progress=lambda done, of: told.append((done, of))),
            await engine.score_tokens(CAT, (5, 6), num_likeliest=2),
            await engine.score_continuations(CAT, (" mat", " door")),
            await engine.score_and_sketch(CAT, (" mat", " door")),
            await engine.score_drawn(CAT, "a mat", SEEDED, leads=("", " ")),
            await engine.score_drawn(HALF, drawn.text, SEEDED, drawn=DrawnTokens(drawn.token_ids, heal=True)),
            await engine.next_tokens(CAT, num=5),
            await engine.drawn_tokens(CAT, SEEDED, num=5),
            await engine.next_words(CAT, num=5),
            await engine.count_tokens([CAT, HALF, Prompt.plain(""), CAT]),
        ]

    here = await figures(local)
    num_told = len(told)
    assert repr(await figures(apart)) == repr(here), "by repr, as minus infinity and nan are among them"
    assert told[num_told:] == told[:num_told]
    assert num_told > 1
    assert replace(apart.stats(), uptime_s=0) == replace(local.stats(), uptime_s=0)
    assert apart.info == local.info


async def test_errors_are_the_same(engines: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = engines
    too_long = Prompt.plain("cat " * 4000)
    asked: list[Callable[[Engine], Any]] = [
        lambda engine: written(engine, too_long, SEEDED),
        lambda engine: engine.next_tokens(too_long, num=3),
        lambda engine: engine.score(""),
        lambda engine: engine.score_continuations(CAT, ("",)),
    ]
    for ask in asked:
        sentences = []
        for engine in (local, apart):
            with pytest.raises((RequestError, PromptTooLong)) as raised:
                await ask(engine)
            sentences.append((type(raised.value), str(raised.value)))
        assert sentences[0] == sentences[1]


NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
TURNS = (ChatTurn("system", "Be brief."), ChatTurn("user", "Hello <|im_end|> there"))


async def test_prompts_are_made_the_same_in_a_few_trips(engines: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = engines
    messages = [
        HistoryMessage(f"m{i}", "ann", "Ann", i % 2 == 1, f"This is message {i} of many.", None, NOON)
        for i in range(61)
    ]
    template = parse_template(PROMPTS["chat"], name="chat", source="chat")
    is_markup = local.info.has_chat_template
    fit = ConversationFit(template, messages, SEEDED, "Fewshot", local.info.context_length, is_markup)
    story = StoryFit([StoryPart("Once upon a time. " * 200, is_bot=False)], local.info.context_length, 24)
    before = apart.num_calls
    assert await apart.make_prompt(fit) == await local.make_prompt(fit)
    first = apart.num_calls
    assert await apart.make_prompt(fit) == await local.make_prompt(fit)
    second = apart.num_calls
    assert await apart.make_prompt(story) == await local.make_prompt(story)
    assert first - before <= 12, "the first prompt of a long conversation"
    assert second - first <= 2 * is_markup + 1, "then only what is new is asked"
    assert apart.num_calls - second <= 12


async def test_a_conversation_in_markup_is_rendered_the_same_or_refused_the_same(
    engines: tuple[LocalEngine, ServedEngine],
) -> None:
    local, apart = engines
    if local.info.has_chat_template:
        assert await apart.render_chat(TURNS) == await local.render_chat(TURNS)
        return
    for engine in engines:
        with pytest.raises(ModelError, match="has no chat template of its own"):
            await engine.render_chat(TURNS)


@pytest.fixture
async def pair(roomy_model: Callable[[str], Path]) -> AsyncIterator[tuple[LocalEngine, ServedEngine]]:
    """Return one pair only, with a queue of two requests."""
    async with (
        open_local(roomy_model("gpt2"), max_waiting=2) as local,
        served(local) as base,
        asking(base) as apart,
    ):
        yield local, apart


LONG = SamplingParams(seed=3, max_new_tokens=400, top_k=0, repetition_penalty=1.0)


async def is_idle(engine: Engine) -> None:
    async with asyncio.timeout(30):
        while (stats := engine.stats()).num_running + stats.num_waiting:
            await asyncio.sleep(0.01)


async def test_a_cancelled_generation_ends_with_its_text_so_far(pair: tuple[LocalEngine, ServedEngine]) -> None:
    _, apart = pair
    generation = apart.generate(CAT, LONG)
    text = ""
    async with generation:
        async for delta in generation:
            text += delta.text
            generation.cancel()
    assert generation.completions[0].text == text
    assert generation.completions[0].finish_reason in ("cancelled", "length")


async def test_a_generation_cancelled_before_it_starts_writes_nothing(pair: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = pair
    generation = apart.generate(CAT, LONG)
    generation.cancel()
    async with asyncio.timeout(30):
        while not apart._tasks:
            await asyncio.sleep(0)
        await asyncio.gather(*apart._tasks)  # the server knows it before the generation comes
    async with generation:
        texts = [delta.text async for delta in generation]
    assert texts == [""]
    assert generation.completions[0].finish_reason == "cancelled"
    await is_idle(local)


async def test_what_nobody_reads_any_more_ends_on_the_server(pair: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = pair
    async with apart.generate(CAT, LONG) as generation:
        await anext(generation)
    await is_idle(local)
    dropped = apart.generate(CAT, LONG)
    await dropped.__aenter__()
    await anext(dropped)
    del dropped, generation
    gc.collect()
    await is_idle(local)
    async with held_model(local):
        scoring = asyncio.create_task(apart.score("The cat sat."))
        await until(lambda: local.stats().num_waiting == 1)
        scoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scoring
        await until(lambda: local.stats().num_waiting == 0)


async def test_a_full_queue_is_told_and_those_ahead_are_counted(pair: tuple[LocalEngine, ServedEngine]) -> None:
    local, apart = pair
    async with held_model(local), apart.generate(CAT, SEEDED):
        await until(lambda: local.stats().num_waiting == 1)
        async with apart.generate(CAT, SEEDED) as second:
            await until(lambda: second.num_ahead == 1)
            with pytest.raises(Busy, match="already waiting"):
                await read(apart.generate(CAT, SEEDED))
