"""Label log-probabilities as probabilities."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.classification import (
    CONTENT_FREE_INPUTS,
    MIN_PRIOR,
    UNSURE_MARGIN,
    calibrate_logprobs,
    classify,
    content_free_prior,
    normalise_logprobs,
)


def calibrate(logprobs: Sequence[float], prior: Sequence[float]) -> tuple[float, ...]:
    return tuple(math.exp(logprob) for logprob in calibrate_logprobs(logprobs, prior))


@given(st.lists(st.floats(-1e6, 0), min_size=1, max_size=20))
def test_probabilities_are_the_softmax_and_sum_to_one(logprobs: list[float]) -> None:
    result = classify([str(i) for i in range(len(logprobs))], logprobs)
    assert math.isclose(math.fsum(result.probabilities), 1, abs_tol=1e-9)
    assert math.isclose(logprobs[int(result.label)], max(logprobs), abs_tol=1e-9)
    best = max(logprobs)
    for logprob, probability in zip(logprobs, result.probabilities, strict=True):
        assert math.isclose(probability / max(result.probabilities), math.exp(logprob - best), abs_tol=1e-9)


def test_known_odds_give_known_probabilities() -> None:
    result = classify(["a", "b", "c"], [math.log(0.1), math.log(0.3), -math.inf])
    assert result.labels == ("a", "b", "c")
    assert result.probabilities == pytest.approx((0.25, 0.75, 0))
    assert result.label == "b"
    assert result.margin == pytest.approx(0.5)


def test_a_small_margin_is_unsure() -> None:
    def with_margin(margin: float) -> bool:
        return classify(["a", "b"], [math.log(0.5 + margin / 2), math.log(0.5 - margin / 2)]).is_sure

    assert with_margin(UNSURE_MARGIN + 0.01)
    assert not with_margin(UNSURE_MARGIN - 0.01)
    assert classify(["only"], [-5.0]).is_sure


def test_log_probabilities_far_below_zero_do_not_vanish() -> None:
    assert classify(["a", "b"], [-5000.0, -5001.0]).probabilities[0] == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize(
    ("labels", "logprobs"), [([], []), (["a"], []), (["a"], [1.0, 2.0]), (["a"], [-math.inf]), (["a"], [math.nan])]
)
def test_what_can_not_be_classified_is_a_mistake(labels: list[str], logprobs: list[float]) -> None:
    with pytest.raises(ValueError, match="classify needs"):
        classify(labels, logprobs)


LOGPROBS = st.lists(st.floats(-200, 0), min_size=1, max_size=12)


def logs(*probabilities: float) -> list[float]:
    return [math.log(probability) if probability else -math.inf for probability in probabilities]


def test_the_content_free_inputs_are_those_of_the_paper() -> None:
    assert set(CONTENT_FREE_INPUTS) == {"N/A", "[MASK]", ""}


def test_a_label_that_the_prompt_alone_makes_likely_loses_its_lead() -> None:
    # 0.6 / 0.8 = 0.75 against 0.4 / 0.2 = 2: 3/11 and 8/11.
    assert calibrate(logs(0.6, 0.4), (0.8, 0.2)) == pytest.approx((3 / 11, 8 / 11))
    # The same odds where the labels are only a small part of all that could follow.
    assert calibrate(logs(6e-9, 4e-9), (0.8, 0.2)) == pytest.approx((3 / 11, 8 / 11))


def test_the_prior_is_the_mean_of_each_inputs_own_probabilities() -> None:
    # The second input makes labels a thousand times less likely, and still weighs as much as the first.
    prior = content_free_prior([logs(0.6, 0.2), logs(0.0002, 0.0006)])
    assert prior == pytest.approx((0.5, 0.5))
    assert content_free_prior([logs(0.3, 0.1)]) == pytest.approx((0.75, 0.25))


@given(st.data(), st.integers(1, 8), st.integers(1, 4))
def test_calibration_equals_the_papers_matrix(data: st.DataObject, num_labels: int, num_inputs: int) -> None:
    row = st.lists(st.floats(-15, 0), min_size=num_labels, max_size=num_labels)
    per_input = data.draw(st.lists(row, min_size=num_inputs, max_size=num_inputs))
    logprobs = data.draw(row)
    free = np.exp(np.array(per_input))
    prior = (free / free.sum(axis=1, keepdims=True)).mean(axis=0)
    scores = np.diag(1 / prior) @ np.exp(np.array(logprobs))
    assert content_free_prior(per_input) == pytest.approx(prior.tolist())
    assert calibrate(logprobs, prior.tolist()) == pytest.approx((scores / scores.sum()).tolist())


@given(LOGPROBS)
def test_probabilities_sum_to_one_and_an_even_prior_changes_nothing(logprobs: list[float]) -> None:
    even = [1 / len(logprobs)] * len(logprobs)
    calibrated = calibrate(logprobs, even)
    assert math.isclose(math.fsum(calibrated), 1, abs_tol=1e-9)
    plain = classify([str(i) for i in range(len(logprobs))], logprobs).probabilities
    assert calibrated == pytest.approx(plain, abs=1e-12)


@given(LOGPROBS)
def test_a_case_no_different_from_a_content_free_one_leaves_all_labels_even(logprobs: list[float]) -> None:
    logprobs = [max(logprob, max(logprobs) - 20) for logprob in logprobs]
    even = 1 / len(logprobs)
    assert calibrate(logprobs, content_free_prior([logprobs])) == pytest.approx([even] * len(logprobs))


def test_probabilities_too_small_for_a_float_still_count() -> None:
    assert calibrate([-5000.0, -5001.0], (0.5, 0.5))[1] == pytest.approx(1 / (1 + math.e))
    # exp(-3000) is 0 as a float, its logarithm is not.
    assert calibrate_logprobs([0.0, -3000.0], (0.5, 0.5))[1] == pytest.approx(-3000)
    assert content_free_prior([[-4000.0, -4000.0]]) == pytest.approx((0.5, 0.5))


def test_a_prior_of_zero_counts_as_the_least_prior() -> None:
    assert calibrate(logs(0.5, 0.5), (1.0, 0.0)) == calibrate(logs(0.5, 0.5), (1.0, MIN_PRIOR))
    assert calibrate(logs(1, 0), (1.0, 0.0)) == (1, 0)
    assert all(math.isfinite(share) for share in calibrate([-1.0, -900.0], (0.0, 1.0)))


def test_classify_calibrates_with_a_prior() -> None:
    plain = classify(["Positive", "Negative"], logs(0.6, 0.4))
    calibrated = classify(["Positive", "Negative"], logs(0.6, 0.4), (0.8, 0.2))
    assert (plain.label, calibrated.label) == ("Positive", "Negative")
    assert calibrated.probabilities == pytest.approx((3 / 11, 8 / 11))


@pytest.mark.parametrize(
    ("logprobs", "prior"),
    [
        ([-1.0], (0.5, 0.5)),
        ([-1.0, -2.0], ()),
        ([], ()),
        ([-1.0, -2.0], (0.0, 0.0)),
        ([-1.0, -2.0], (-0.5, 1.5)),
        ([-1.0, -2.0], (math.nan, 1.0)),
        ([-math.inf, -math.inf], (0.5, 0.5)),
        ([-1.0, math.nan], (0.5, 0.5)),
        ([math.nan, -1.0], (0.5, 0.5)),
        ([math.inf, -1.0], (0.5, 0.5)),
    ],
)
def test_what_can_not_be_calibrated_is_a_mistake(logprobs: list[float], prior: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"prior|finite"):
        calibrate(logprobs, prior)


@pytest.mark.parametrize("per_input", [[], [[]], [[-1.0], [-1.0, -2.0]], [[-math.inf]]])
def test_a_prior_needs_inputs_with_the_same_labels(per_input: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"prior|finite"):
        content_free_prior(per_input)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=10), st.floats(-500, 500))
def test_normalising_does_not_care_where_the_scale_begins(logprobs: list[float], shift: float) -> None:
    moved = [logprob + shift for logprob in logprobs]
    assert normalise_logprobs(moved) == pytest.approx(normalise_logprobs(logprobs), abs=1e-9)
