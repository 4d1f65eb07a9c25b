"""Labels from the nearest examples, and the choice of how much they count."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.classification import calibrate_logprobs
from bot.core.figures import measure_template
from bot.core.neighbours import NUMS_NEAREST, WEIGHTS, KeptRows
from bot.core.statistics import ClassifyFigures, ClassifyOutcome, measure_classify
from bot.core.templates.template import Example, Neighbours, PromptTemplate

LABELS = ("a", "b", "c")
PRIOR = (0.5, 0.3, 0.2)
numbers = st.floats(-5, 5, allow_nan=False)


@st.composite
def kept_rows(draw: Any, *, min_rows: int = 1) -> tuple[list[Example], list[ClassifyOutcome]]:
    num = draw(st.integers(min_rows, 12))
    rows = [Example(f"text {draw(st.integers(0, 9))}", draw(st.sampled_from(LABELS))) for _ in range(num)]
    return rows, [draw(outcomes()) for _ in rows]


def outcomes() -> st.SearchStrategy[ClassifyOutcome]:
    return st.builds(ClassifyOutcome, st.tuples(*[numbers] * 3), st.tuples(*[numbers] * 4))


def clusters(num: int = 12, *, lean: float = 0.0) -> tuple[list[Example], list[ClassifyOutcome]]:
    """Rows whose sketches say their labels, while the model's own probabilities are alike for all but `lean`."""
    rows = [Example(f"text {i}", LABELS[i % 3]) for i in range(num)]
    found = []
    for i in range(num):
        sketch = [0.1 * math.sin(i), 0.1 * math.cos(i), 0.0, 0.0]
        sketch[i % 3] += 3.0
        logprobs = tuple(-1.0 - lean * (j != i % 3) for j in range(3))
        found.append(ClassifyOutcome(logprobs, tuple(sketch)))
    return rows, found


@given(kept_rows(), outcomes(), st.sampled_from(WEIGHTS), st.integers(1, 20))
def test_a_blend_is_a_distribution_between_the_model_and_the_nearest_rows(
    kept: tuple[list[Example], list[ClassifyOutcome]], asked: ClassifyOutcome, weight: float, num: int
) -> None:
    others = KeptRows(LABELS, *kept, PRIOR)
    blended = np.exp(others.blend(asked, Neighbours(0, num, weight)))
    own = np.exp(calibrate_logprobs(asked.logprobs, PRIOR))
    near = np.exp(others.blend(asked, Neighbours(0, num, 1.0)))
    assert blended.sum() == pytest.approx(1)
    assert blended == pytest.approx((1 - weight) * own + weight * near)
    assert near.min() > 0, "no label is ever impossible"


@given(kept_rows(), outcomes())
def test_without_weight_it_is_the_calibrated_model_to_the_bit(
    kept: tuple[list[Example], list[ClassifyOutcome]], asked: ClassifyOutcome
) -> None:
    others = KeptRows(LABELS, *kept, PRIOR)
    assert others.blend(asked, Neighbours(0, 3, 0.0)) == calibrate_logprobs(asked.logprobs, PRIOR)


@given(kept_rows(), outcomes(), st.floats(0.1, 10))
def test_the_nearest_come_first_and_the_size_of_a_sketch_does_not_matter(
    kept: tuple[list[Example], list[ClassifyOutcome]], asked: ClassifyOutcome, size: float
) -> None:
    rows, found = kept
    near = KeptRows(LABELS, rows, found, PRIOR).nearest(asked, 99)
    assert sorted(one.index for one in near) == list(range(len(rows)))
    assert [one.likeness for one in near] == sorted((one.likeness for one in near), reverse=True)
    assert all(-1.001 <= one.likeness <= 1.001 for one in near)
    grown = [ClassifyOutcome(one.logprobs, tuple(size * value for value in one.sketch)) for one in (*found, asked)]
    again = KeptRows(LABELS, rows, grown[:-1], PRIOR).nearest(grown[-1], 99)
    assert [one.likeness for one in again] == pytest.approx([one.likeness for one in near], abs=1e-6)


@settings(max_examples=50)
@given(kept_rows())
def test_the_choice_never_costs_bits_and_is_one_of_those_tried(
    kept: tuple[list[Example], list[ClassifyOutcome]],
) -> None:
    rows, _ = kept
    choice = KeptRows(LABELS, *kept, PRIOR).choose()
    assert choice.weight in WEIGHTS
    assert choice.num_nearest in NUMS_NEAREST
    assert sum(choice.bits_after) <= sum(choice.bits_before)
    assert (choice.weight == 0) == (choice.bits_after == choice.bits_before)
    assert len(choice.bits_before) == len(choice.bits_after) == len(rows)


@settings(max_examples=50)
@given(kept_rows(min_rows=3), st.data())
def test_a_row_is_answered_as_if_it_were_not_there(
    kept: tuple[list[Example], list[ClassifyOutcome]], data: st.DataObject
) -> None:
    rows, found = kept
    rows = [Example(f"text {i}", row.output) for i, row in enumerate(rows)]
    left = data.draw(st.integers(0, len(rows) - 1))
    # Its own label must not reach its answer.
    shares = KeptRows(LABELS, rows, found, PRIOR)._left_out_shares(2)[left]
    relabelled = [Example(row.input, "a" if i == left else row.output) for i, row in enumerate(rows)]
    again = KeptRows(LABELS, relabelled, found, PRIOR)._left_out_shares(2)[left]
    assert list(shares) == list(again)


def test_rows_with_the_same_input_do_not_answer_each_other() -> None:
    rows, found = clusters(6)
    twins = [*rows, *(Example(f" {row.input} ", row.output) for row in rows)]
    twice = KeptRows(LABELS, twins, [*found, *found], PRIOR)._left_out_shares(2)
    once = KeptRows(LABELS, rows, found, PRIOR)._left_out_shares(1)
    # Both copies of the nearest other row say what the one row says.
    assert twice[:6].argmax(axis=1).tolist() == once.argmax(axis=1).tolist() == [0, 1, 2, 0, 1, 2]
    torn = KeptRows(LABELS, [Example("x", "a"), Example("x", "b")], found[:2], PRIOR)
    assert torn._left_out_shares(1) == pytest.approx(np.full((2, 3), 1 / 3)), "nobody is left to ask"


def test_rows_that_lie_together_are_trusted_and_noise_is_not() -> None:
    rows, found = clusters(24)
    choice = KeptRows(LABELS, rows, found, (1 / 3,) * 3).choose()
    assert choice.weight == 1.0
    assert sum(choice.bits_after) < 0.5 * sum(choice.bits_before)
    wrong = [Example(row.input, LABELS[(i * 7 // 3) % 3]) for i, row in enumerate(rows)]
    sure = [
        ClassifyOutcome(tuple(-0.01 if label == row.output else -9.0 for label in LABELS), one.sketch)
        for row, one in zip(wrong, found, strict=True)
    ]
    assert KeptRows(LABELS, wrong, sure, (1 / 3,) * 3).choose().weight == 0, "the model alone is sure and right"


def test_of_equal_settings_the_smaller_weight_and_then_the_fewer_rows_win() -> None:
    # The model is as unsure as the votes: every mixture of the two costs the same.
    rows = [Example("p", "a"), Example("q", "b")]
    level = ClassifyOutcome((-1.0, -1.0), (0.0, 0.0))
    assert KeptRows(("a", "b"), [*rows[:1]], [level], (0.5, 0.5)).choose().weight == 0


def test_figures_of_a_template_are_blended_only_with_neighbours() -> None:
    rows, found = clusters(12)
    tests = [Example("new", "b"), Example("old", "c")]
    asked = [
        ClassifyOutcome((-1.0, -1.5, -2.0), (0.0, 3.0, 0.0, 0.0)),
        ClassifyOutcome((-1.0, -2.0, -2.0), (0, 0, 3, 0)),
    ]
    template = PromptTemplate("t", "classify", "d", "", "$input ->", True, tuple(rows), labels=LABELS)
    plain = measure_template(template, tests, asked, PRIOR)
    assert plain == measure_classify(asked, tests, LABELS, PRIOR)
    near = PromptTemplate(
        "t", "classify", "d", "", "$input ->", True, tuple(rows), labels=LABELS, neighbours=Neighbours(0, 3, 0.9)
    )
    blended = measure_template(near, tests, [*found, *asked], PRIOR)
    assert isinstance(plain, ClassifyFigures)
    assert isinstance(blended, ClassifyFigures)
    assert (plain.accuracy, blended.accuracy) == (0.5, 1.0)


def test_rows_and_outcomes_must_belong_together() -> None:
    with pytest.raises(ValueError, match="an outcome for each"):
        KeptRows(LABELS, [], [], PRIOR)
    with pytest.raises(ValueError, match="an outcome for each"):
        KeptRows(LABELS, [Example("a", "a")], [], PRIOR)


def test_the_first_examples_of_each_label_are_in_the_prompt() -> None:
    outputs = "aaabbbcabc"
    rows = tuple(Example(str(i), label) for i, label in enumerate(outputs))
    for num, shown in ((0, []), (3, [0, 3, 6]), (4, [0, 1, 3, 6]), (99, list(range(10)))):
        template = PromptTemplate(
            "t", "classify", "d", "", "$input", True, rows, labels=LABELS, neighbours=Neighbours(num, 1, 0.5)
        )
        assert [int(row.input) for row in template.prompt_examples] == shown
        assert {*template.prompt_examples, *template.kept_examples} == set(rows)
        assert len(template.kept_examples) == len(rows) - len(shown)
    alone = PromptTemplate("t", "classify", "d", "", "$input", True, rows, labels=LABELS)
    assert (alone.prompt_examples, alone.kept_examples) == (rows, ())
