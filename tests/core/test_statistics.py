import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.statistics import (
    MIN_DIFFERING_ROWS,
    ClassifyFigures,
    ClassifyOutcome,
    CompleteFigures,
    CompleteOutcome,
    compare,
    measure_classify,
    measure_complete,
    paired_bootstrap,
    wilson_interval,
)
from bot.core.templates.template import Example

LABELS = ("Positive", "Negative", "Neutral")
PAIRS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=30)


def outcome(*probabilities: float) -> ClassifyOutcome:
    return ClassifyOutcome(tuple(math.log(probability) for probability in probabilities))


def row(label: str) -> Example:
    return Example("x", label)


def with_answers(*is_right: bool) -> ClassifyFigures:
    """Return the figures of rows whose right label is the first, answered right or wrong."""
    outcomes = [outcome(0.9, 0.1) if right else outcome(0.2, 0.8) for right in is_right]
    return measure_classify(outcomes, [row("a")] * len(outcomes), ["a", "b"])


def with_bits(*bits: float, num_bytes: Sequence[int] | None = None) -> CompleteFigures:
    sizes = num_bytes or [10] * len(bits)
    return measure_complete([CompleteOutcome(bit * math.log(2), size) for bit, size in zip(bits, sizes, strict=True)])


def test_figures_of_a_classify_template_by_hand() -> None:
    outcomes = [outcome(0.5, 0.25, 0.25), outcome(0.25, 0.5, 0.25), outcome(0.5, 0.25, 0.25), outcome(0.1, 0.1, 0.8)]
    rows = [row("Positive"), row("Negative"), row("Negative"), row("Neutral")]
    figures = measure_classify(outcomes, rows, LABELS)
    assert figures.num_rows == 4
    assert figures.is_right == (True, True, False, True)
    assert figures.accuracy == 0.75
    assert figures.right_bits == pytest.approx((1, 1, 2, -math.log2(0.8)))
    assert figures.mean_bits == pytest.approx((1 + 1 + 2 - math.log2(0.8)) / 4)
    assert figures.confusion == ((1, 0, 0), (1, 1, 0), (0, 0, 1))


@given(st.data())
def test_figures_equal_numpys_with_and_without_a_prior(data: st.DataObject) -> None:
    num_rows, num_labels = data.draw(st.integers(1, 20)), data.draw(st.integers(2, 5))
    logprobs = np.array(data.draw(st.lists(st.floats(-20, 0), min_size=num_rows * num_labels, max_size=200)))
    logprobs = logprobs[: num_rows * num_labels].reshape(num_rows, num_labels)
    right = np.array(data.draw(st.lists(st.integers(0, num_labels - 1), min_size=num_rows, max_size=num_rows)))
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=num_labels, max_size=num_labels)))
    labels = [f"label {i}" for i in range(num_labels)]
    for prior in (None, weights / weights.sum()):
        scores = np.exp(logprobs) / (1 if prior is None else prior)
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        figures = measure_classify(
            [ClassifyOutcome(tuple(line)) for line in logprobs.tolist()],
            [row(labels[i]) for i in right],
            labels,
            None if prior is None else prior.tolist(),
        )
        of_right = probabilities[np.arange(num_rows), right]
        assert figures.mean_bits == pytest.approx(float(-np.log2(of_right).mean()), abs=1e-9)
        # What was answered is the likeliest label, of equals any one.
        of_answered = probabilities[np.arange(num_rows), np.array(figures.answered)]
        assert of_answered == pytest.approx(probabilities.max(axis=1))
        confusion = np.zeros((num_labels, num_labels), dtype=int)
        np.add.at(confusion, (right, np.array(figures.answered)), 1)
        assert figures.confusion == tuple(tuple(line) for line in confusion.tolist())
        assert figures.accuracy == pytest.approx(np.trace(confusion) / num_rows)


def test_a_prior_can_turn_an_answer() -> None:
    figures = [measure_classify([outcome(0.6, 0.4)], [row("b")], ["a", "b"], prior) for prior in (None, (0.8, 0.2))]
    assert [one.is_right for one in figures] == [(False,), (True,)]
    assert figures[1].mean_bits == pytest.approx(-math.log2(8 / 11))


def test_a_right_label_that_the_template_lacks_is_never_answered_right() -> None:
    figures = measure_classify([outcome(0.6, 0.4), outcome(0.6, 0.4)], [row("a"), row("c")], ["a", "b"])
    assert figures.is_right == (True, False)
    assert figures.mean_bits == math.inf
    assert figures.confusion == ((1, 0), (0, 0))


def test_bits_of_a_label_too_unlikely_for_a_float_are_still_counted() -> None:
    figures = measure_classify([ClassifyOutcome((0.0, -2000.0))], [row("b")], ["a", "b"])
    assert figures.mean_bits == pytest.approx(2000 / math.log(2))


def test_certainty_costs_no_bits_and_shows_no_minus() -> None:
    assert str(measure_classify([ClassifyOutcome((0.0, -2000.0))], [row("a")], ["a", "b"]).mean_bits) == "0.0"


def test_figures_of_free_text_by_hand() -> None:
    outcomes = [CompleteOutcome(8 * math.log(2), 4, True), CompleteOutcome(2 * math.log(2), 16, False)]
    figures = measure_complete([*outcomes, CompleteOutcome(10 * math.log(2), 20)])
    # Sum of bits over sum of bytes: no mean of the rows' own figures (2, 0.125 and 0.5).
    assert figures.bits_per_byte == pytest.approx(20 / 40)
    assert (figures.num_rows, figures.num_exact, figures.exact_share) == (3, 1, 0.5)
    assert with_bits(1, 2).exact_share is None


@pytest.mark.parametrize(
    ("outcomes", "rows", "labels"),
    [
        ([], [], ["a", "b"]),
        ([outcome(0.5, 0.5)], [], ["a", "b"]),
        ([outcome(0.5, 0.5)], [row("a")], ["a"]),
    ],
)
def test_numbers_that_do_not_agree_are_a_mistake(
    outcomes: list[ClassifyOutcome], rows: list[Example], labels: list[str]
) -> None:
    with pytest.raises(ValueError, match="need"):
        measure_classify(outcomes, rows, labels)


def test_free_text_needs_rows_that_cost_something() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        measure_complete([])
    for nats, num_bytes in ((math.inf, 1), (math.nan, 1), (1.0, 0)):
        with pytest.raises(ValueError, match="finite cost"):
            CompleteOutcome(nats, num_bytes)


def exact_interval(gains: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """Return the percentile interval over every possible resample, each as likely as any other."""
    every = np.array(np.meshgrid(*[range(len(gains))] * len(gains))).reshape(len(gains), -1)
    sums = np.array(gains)[every].sum(axis=0) / np.array(weights)[every].sum(axis=0)
    low, high = np.quantile(sums, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1, 1], [3, 10, 1, 7, 20, 4]])
def test_the_interval_is_near_that_of_all_possible_resamples(weights: list[float]) -> None:
    a, b = [5.0, 3.0, 9.0, 1.0, 6.5, 2.0], [4.0, 3.5, 2.0, 1.5, 6.0, 0.5]
    interval = paired_bootstrap(a, b, weights=weights, num_resamples=200_000)
    gains = [x - y for x, y in zip(a, b, strict=True)]
    assert (interval.low, interval.high) == pytest.approx(exact_interval(gains, weights), abs=0.03)
    assert interval.mean == pytest.approx(sum(gains) / sum(weights))


def test_the_interval_equals_a_loop_over_the_same_draws() -> None:
    random = np.random.default_rng(5)
    bits, other, sizes = random.random(17) * 50, random.random(17) * 50, random.integers(1, 40, 17)
    drawn = np.random.default_rng(3).integers(0, 17, size=(1000, 17), dtype=np.int32)
    ratios = sorted(sum(bits[i] - other[i] for i in line) / sum(sizes[i] for i in line) for line in drawn)
    interval = paired_bootstrap(bits.tolist(), other.tolist(), weights=sizes.tolist(), num_resamples=1000, seed=3)
    # The 2.5 % point of 1,000 sorted values lies between the 25th and the 26th.
    assert ratios[24] <= interval.low <= ratios[25]
    assert ratios[974] <= interval.high <= ratios[975]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        a, b = random.normal(0.3, 1, 80), random.normal(0, 1, 80)
        interval = paired_bootstrap(a.tolist(), b.tolist(), num_resamples=1000)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.9 <= hits / 300 <= 0.99


@given(PAIRS, st.booleans())
def test_swapping_the_two_turns_the_interval_round(pairs: list[tuple[float, float]], is_weighted: bool) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    weights = [float(i % 3 + 1) for i in range(len(a))] if is_weighted else None
    forth = paired_bootstrap(a, b, weights=weights, num_resamples=200)
    back = paired_bootstrap(b, a, weights=weights, num_resamples=200)
    assert (forth.low, forth.high, forth.mean) == pytest.approx((-back.high, -back.low, -back.mean), abs=1e-9)
    assert forth == paired_bootstrap(a, b, weights=weights, num_resamples=200)
    assert forth.low <= forth.high


def test_the_seed_decides_the_draws_and_their_number_the_memory() -> None:
    a, b = list(range(1500)), [0] * 1500
    first, again, other = (paired_bootstrap(a, b, num_resamples=2000, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_ten_thousand_resamples_of_a_hundred_rows_take_no_time() -> None:
    a, b = [float(i % 2) for i in range(100)], [float(i % 3 == 0) for i in range(100)]
    paired_bootstrap(a, b)
    started = time.thread_time()
    paired_bootstrap(a, b, weights=[float(i + 1) for i in range(100)])
    assert time.thread_time() - started < 0.1


@pytest.mark.parametrize(
    ("a", "b", "weights", "num_resamples"),
    [
        ([], [], None, 10),
        ([1.0], [], None, 10),
        ([1.0], [1.0], [1.0, 2.0], 10),
        ([math.inf], [1.0], None, 10),
        ([1.0], [math.nan], None, 10),
        ([1.0], [1.0], [0.0], 10),
        ([1.0], [1.0], None, 0),
    ],
)
def test_what_can_not_be_resampled_is_a_mistake(
    a: list[float], b: list[float], weights: list[float] | None, num_resamples: int
) -> None:
    with pytest.raises(ValueError, match="paired bootstrap"):
        paired_bootstrap(a, b, weights=weights, num_resamples=num_resamples)


def test_wilsons_interval_of_known_cases() -> None:
    # 81 of 263: the example of Newcombe 1998, Statistics in Medicine 17.
    interval = wilson_interval(81, 263)
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert interval.mean == 81 / 263
    # 0 of 20 and 20 of 20 are no certainty: z^2 / (n + z^2).
    z2 = 1.959963984540054**2
    assert (wilson_interval(0, 20).low, wilson_interval(0, 20).high) == pytest.approx((0, z2 / (20 + z2)))
    assert wilson_interval(20, 20).high == 1


@given(st.integers(1, 500), st.data())
def test_wilsons_bounds_are_where_the_share_is_just_not_refused(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    interval = wilson_interval(successes, n)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    for bound in (interval.low, interval.high):
        # The score test's own equation: |share - bound| = z * sqrt(bound (1 - bound) / n).
        distance = 1.959963984540054 * math.sqrt(bound * (1 - bound) / n)
        assert abs(interval.mean - bound) == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_a_share_needs_rows(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, n)


def test_an_identical_pair_shows_no_clear_difference() -> None:
    for figures in (with_answers(*[True, False] * 20), with_bits(*range(1, 41))):
        comparison = compare(figures, figures)
        assert comparison.verdict == "no clear difference"
        assert (comparison.interval.low, comparison.interval.high, comparison.interval.mean) == (0, 0, 0)
        assert comparison.fixed == comparison.broken == ()
        assert comparison.num_differing == 0


def test_a_draft_that_answers_more_rows_right_is_better_and_the_other_way_round_worse() -> None:
    poor = with_answers(*[False] * 30, *[True] * 70)
    good = with_answers(True, *[False] * 4, *[True] * 94, False)
    comparison = compare(good, poor)
    assert comparison.verdict == "better"
    assert comparison.interval.mean == pytest.approx(0.25)
    assert 0 < comparison.interval.low < 0.25 < comparison.interval.high
    assert comparison.fixed == (0, *range(5, 30))
    assert comparison.broken == (99,)
    assert comparison.num_differing == 27
    back = compare(poor, good)
    assert (back.verdict, back.fixed, back.broken) == ("worse", comparison.broken, comparison.fixed)


def test_as_many_rows_broken_as_fixed_are_no_clear_difference() -> None:
    comparison = compare(with_answers(*[True, False] * 20), with_answers(*[False, True] * 20))
    assert comparison.verdict == "no clear difference"
    assert len(comparison.fixed) == len(comparison.broken) == 20


def test_fewer_bits_per_byte_are_better() -> None:
    published = [20.0 + i % 7 for i in range(40)]
    comparison = compare(with_bits(*[bits - 3 - i % 2 for i, bits in enumerate(published)]), with_bits(*published))
    assert comparison.verdict == "better"
    assert comparison.interval.mean == pytest.approx(0.35)
    assert compare(with_bits(*published), with_bits(*[bits - 3 for bits in published])).verdict == "worse"


def test_exact_answers_are_fixed_and_broken_where_both_were_asked() -> None:
    def figures(*is_exact: bool | None) -> CompleteFigures:
        return measure_complete([CompleteOutcome(1, 1, one) for one in is_exact])

    comparison = compare(figures(True, False, True, None, True, True), figures(False, True, True, False, None, False))
    assert (comparison.fixed, comparison.broken) == ((0, 5), (1,))


@pytest.mark.parametrize("num_rows", range(1, MIN_DIFFERING_ROWS + 1))
def test_a_handful_of_rows_can_not_make_a_draft_better(num_rows: int) -> None:
    verdict = "better" if num_rows >= MIN_DIFFERING_ROWS else "no clear difference"
    assert compare(with_answers(*[True] * num_rows), with_answers(*[False] * num_rows)).verdict == verdict
    assert compare(with_bits(*[1] * num_rows), with_bits(*[9] * num_rows)).verdict == verdict


def test_figures_of_different_rows_or_kinds_can_not_be_compared() -> None:
    with pytest.raises(ValueError, match="same rows"):
        compare(with_answers(True), with_answers(True, False))
    with pytest.raises(ValueError, match="same reference outputs"):
        compare(with_bits(1, 2), with_bits(1, 2, num_bytes=[10, 11]))
    with pytest.raises(ValueError, match="one kind"):
        compare(with_answers(True), with_bits(1))
