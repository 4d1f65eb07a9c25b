"""Examples outside the prompt: read once, kept as numbers, and compared with what is asked."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from bot.core.engine import Asker
from bot.core.statistics import ClassifyFigures
from bot.core.stopping import Stopper
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import Example, Neighbours, PromptTemplate
from bot.errors import RequestError
from bot.services.measuring import Measuring
from bot.services.neighbours import answer_label, find_neighbours, known_nearest, load_kept, with_room
from bot.services.tuning import tune
from bot.services.worth import measure_worth, num_asked
from tests.bots import HERE, MANY, Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ME = Asker("here", "me")


def many(**changes: Any) -> PromptTemplate:
    template = replace(parse_template(MANY, name="many", source="many"), **changes)
    return parse_template(format_template(template), name="many", source="many")


def num_read(talk: Talk) -> int:
    return talk.services.engine.stats().num_done


async def test_each_example_is_read_once_and_new_ones_alone_later(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring = talk.services.measuring
        await measuring.prior(many(), asker=ME)
        before = num_read(talk)
        steps: list[tuple[int, int]] = []
        kept = await load_kept(measuring, many(), asker=ME, on_progress=lambda *step: steps.append(step))
        assert kept is not None
        assert num_read(talk) - before == len(kept.rows) == 10
        assert steps[0] == (0, 10)
        assert steps[-1] == (10, 10)
        assert await load_kept(measuring, many(), asker=ME)
        # As after a restart, with the same store.
        again = Measuring(talk.services.engine, talk.store)
        assert await load_kept(again, many(), asker=ME)
        assert num_read(talk) - before == 10
        # A new row at the end leaves the prompt as it is, and so does another setting of the neighbours.
        more = many(examples=(*many().examples, Example("wow", "good")), neighbours=Neighbours(2, 1, 1.0))
        assert await load_kept(again, more, asker=ME)
        assert num_read(talk) - before == 11
        # Another prompt is another question.
        assert await load_kept(again, many(neighbours=Neighbours(1, 1, 1.0)), asker=ME)
        assert num_read(talk) - before == 11 + 3 + 11


async def test_what_is_stored_has_no_words(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        assert await load_kept(talk.services.measuring, many(), asker=ME)
        rows = await talk.store._database.read("SELECT * FROM row_outcomes")
        assert len(rows) == 10 + 1
        for row in rows:
            assert not any(example.input in str(tuple(row)) for example in many().examples)
            assert len(row["numbers"]) < 2000, "a few hundred examples stay below a megabyte"


async def test_a_stopped_reading_goes_on_where_it_was(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring, stopper = talk.services.measuring, Stopper()
        await measuring.prior(many(), asker=ME)
        before = num_read(talk)

        def on_progress(num_done: int, _: int) -> None:
            if num_done == 4:
                stopper.stop()

        assert await load_kept(measuring, many(), asker=ME, on_progress=on_progress, stopper=stopper) is None
        assert num_read(talk) - before == 4
        assert await load_kept(measuring, many(), asker=ME)
        assert num_read(talk) - before == 10


async def test_an_answer_is_the_blend_that_the_tests_measure(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring, template = talk.services.measuring, many()
        figures = await measuring.measure(template, template.tests, asker=ME)
        assert isinstance(figures, ClassifyFigures)
        kept = await load_kept(measuring, template, asker=ME)
        for i, test in enumerate(template.tests):
            answer = await answer_label(measuring, template, test.input, kept, asker=ME)
            assert answer.result.label == template.labels[figures.answered[i]]
            assert len(answer.nearest) == 2
            assert {near.example for near in answer.nearest} <= set(template.kept_examples)
            assert answer.nearest == await known_nearest(measuring, template, test.input, asker=ME)
        assert await measuring.cached(template, template.tests) == figures
        alone = replace(template, examples=template.prompt_examples, neighbours=None)
        model = await measuring.measure(alone, template.tests, asker=ME)
        weightless = await measuring.measure(
            replace(template, neighbours=Neighbours(2, 1, 0.0)), template.tests, asker=ME
        )
        assert weightless == model, "a weight of 0 is the prompt without the other examples"


async def test_without_sketches_rows_are_read_again(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring, template = talk.services.measuring, many()
        alone = replace(template, examples=template.prompt_examples, neighbours=None)
        assert await measuring.measure(alone, template.tests, asker=ME)
        assert await measuring.cached(template, template.tests) is None
        assert await measuring.measure(template, template.tests, asker=ME)
        assert await measuring.cached(template, template.tests) is not None
        assert await measuring.cached(alone, template.tests) is not None


async def test_the_nearest_are_not_looked_up_while_an_example_is_unread(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring = talk.services.measuring
        await measuring.prior(many(), asker=ME)
        before = num_read(talk)
        assert await known_nearest(measuring, many(), "hey", asker=ME) == ()
        assert num_read(talk) == before


async def test_the_search_compares_before_and_after_on_the_tests(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring, steps = talk.services.measuring, list[tuple[int, int]]()
        plain = many(neighbours=None)
        found = await find_neighbours(
            measuring, plain, num_in_prompt=2, asker=ME, on_progress=lambda *step: steps.append(step)
        )
        assert found is not None
        assert found.proposal == replace(plain, neighbours=found.setting)
        assert (found.setting.num_in_prompt, len(found.choice.bits_before)) == (2, 10)
        assert found.before == await measuring.measure(plain, plain.tests, asker=ME)
        assert found.after == await measuring.measure(found.proposal, plain.tests, asker=ME)
        assert [num for num, _ in steps] == sorted(num for num, _ in steps)
        assert steps[-1] == (22, 22)
        again = await find_neighbours(measuring, plain, num_in_prompt=2, asker=ME)
        assert again == found, "the same rows give the same setting"
        without = await find_neighbours(measuring, many(tests=(), neighbours=None), num_in_prompt=2, asker=ME)
        assert without is not None
        assert (without.before, without.comparison, without.is_sure) == (None, None, False)
        stopper = Stopper()
        stopper.stop()
        other = many(neighbours=Neighbours(1, 1, 0.5))
        assert await find_neighbours(measuring, other, asker=ME, stopper=stopper) is None


async def test_examples_that_do_not_fit_the_prompt_stay_outside_of_it(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring = talk.services.measuring
        rows = tuple(Example(f"{i} " + "zxqj" * 8, "good" if i % 2 else "bad") for i in range(60))
        long = many(examples=rows, neighbours=None)
        with pytest.raises(RequestError, match="prompt neighbours --take yes on many"):
            await measuring.count_tokens(long)
        room = await with_room(measuring, long, None)
        assert 0 < len(room.prompt_examples) < 16
        assert len(room.kept_examples) == 60 - len(room.prompt_examples)
        found = await find_neighbours(measuring, long, asker=ME)
        assert found is not None
        assert not found.fits_before
        assert found.before == await measuring.measure(room, long.tests, asker=ME)
        with pytest.raises(RequestError, match="no message fits"):
            await with_room(measuring, long, 40)


async def test_impossible_searches_say_why(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        measuring = talk.services.measuring
        few = many(examples=many().examples[:6], neighbours=None)
        with pytest.raises(
            RequestError, match=r"many has 6 examples, which leaves 3 outside a prompt of 3\. At least 10"
        ):
            await find_neighbours(measuring, few, asker=ME)
        with pytest.raises(RequestError, match="many has 12 examples, which leaves 0 outside a prompt of 40"):
            await find_neighbours(measuring, many(), num_in_prompt=40, asker=ME)
        story = await talk.services.templates.get(HERE, "story")
        with pytest.raises(RequestError, match="story has no labels"):
            await find_neighbours(measuring, story, asker=ME)
        with pytest.raises(RequestError, match=r"many uses examples outside its prompt\. Tune it after"):
            await tune(measuring, many(), asker=ME)
        endless = many(examples=(*many().examples, Example("much " * 200, "bad")))
        with pytest.raises(RequestError, match=r"^Example 13 is too long to measure"):
            await load_kept(measuring, endless, asker=ME)


async def test_the_progress_of_a_test_counts_the_examples_too(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        steps: list[tuple[int, int]] = []
        await measure_worth(talk.services.measuring, many(), asker=ME, on_progress=lambda *step: steps.append(step))
        assert num_asked(many()) == 16
        assert steps[-1] == (16, 16)
