"""make measure-neighbours: the sets are what they claim to be, and a tiny model gets a whole table."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from benchmarks.neighbours import _ASKED, measure_set, read_set, tell
from bot.core.templates.template import Example
from tests.bots import Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.mark.parametrize("name", _ASKED)
def test_each_set_has_enough_rows_of_each_label_and_no_test_among_its_examples(name: str) -> None:
    template = read_set(name)
    assert len(template.examples) >= 150
    assert len(template.tests) >= 100
    assert len(template.labels) >= 4
    for rows in (template.examples, template.tests):
        assert len(set(Counter(row.output for row in rows).values())) == 1, "each label as often as the others"
        assert {row.output for row in rows} == set(template.labels)
    inputs = [row.input.casefold() for row in (*template.examples, *template.tests)]
    assert len(set(inputs)) == len(inputs)
    quick = read_set(name, 12)
    assert (len(quick.examples), len(quick.tests)) == (48, 12)


async def test_a_tiny_model_gets_a_table_with_every_way(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        rows = tuple(
            Example(f"{word} {i}", label) for i in range(7) for word, label in (("yes", "good"), ("no", "bad"))
        )
        template = replace(
            read_set("question-type"), examples=rows, tests=(*rows[:3], Example("so", "bad")), labels=("good", "bad")
        )
        text = tell(await measure_set(talk.services.measuring, template, num_in_prompt=2))
        assert text.startswith("| question-type, 4 tests, 2 labels, 14 examples | right |")
        for way in ("calibrated likelihood, 2 examples", "nearest examples alone", "blend"):
            assert f"\n| {way}" in text
        assert "on the 12 examples outside the prompt: the" in text
        assert text.count("- blend against ") == 3
