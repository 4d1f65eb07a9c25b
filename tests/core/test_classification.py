"""Label log-probabilities as probabilities."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.classification import UNSURE_MARGIN, classify


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
