import math

import pytest

from bot.core.classification import classify
from bot.core.perplexity import TextFigures
from bot.core.statistics import ClassifyFigures, CompleteFigures, CompleteOutcome
from bot.core.verdicts import judge_figures, judge_label, judge_next, judge_text, percent


def text_of(perplexity: float, num_tokens: int = 20) -> TextFigures:
    return TextFigures(perplexity, 1.0, 1.0, num_tokens, 0 if math.isnan(perplexity) else num_tokens, 30)


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        (text_of(9.5), "Predictable to the model: each token was as hard to guess as one of 10 equally likely ones."),
        (text_of(106, 5), "Ordinary to the model: each token was as hard to guess as one of 106 equally likely ones."),
        (
            text_of(1001),
            "Very surprising to the model: each token was as hard to guess as one of 1,001 equally likely ones.",
        ),
        (text_of(1.1), "Predictable to the model: nearly every token was what the model expected."),
        (text_of(60), "Ordinary to the model: each token was as hard to guess as one of 60 equally likely ones."),
        (text_of(300), "Surprising to the model: each token was as hard to guess as one of 300 equally likely ones."),
        (text_of(math.inf), "Very surprising to the model: each token was as good as impossible to guess."),
        (text_of(60, 4), "Too short to judge: a verdict needs at least 5 tokens."),
        (text_of(math.nan, 1), "Too short: this model can't score the first token of a text."),
    ],
)
def test_a_text_is_judged_in_words(figures: TextFigures, verdict: str) -> None:
    assert judge_text(figures) == verdict
    assert len(verdict) <= 120, "the title of a card"


@pytest.mark.parametrize(
    ("chance", "verdict"),
    [
        (0.62, "After “of” the model clearly expects “time”: 62%."),
        (0.352, "After “of” the model leans towards “time” (35%), but is not sure."),
        (0.08, "After “of” the model has no clear expectation; its first guess is “time” (8.0%)."),
    ],
)
def test_the_next_word_is_judged_by_its_probability(chance: float, verdict: str) -> None:
    assert judge_next("of", [("time", chance)]) == verdict
    assert judge_next("of", []) == "After “of” no word can be shown."
    by_name = judge_next("of", [("a line break", chance)])
    assert by_name == verdict.replace("“time”", "a line break")


def test_a_label_is_judged_by_its_lead() -> None:
    labels = ("Positive", "Negative")
    assert judge_label(classify(labels, [math.log(0.93), math.log(0.07)])) == "Positive, 93% sure"
    unsure = judge_label(classify(labels, [math.log(0.48), math.log(0.52)]))
    assert unsure == "Negative (unsure): 52%, and 48% for Positive"


def classified(num_right: int, num_wrong: int) -> ClassifyFigures:
    num = num_right + num_wrong
    right = tuple(i % 2 for i in range(num))
    answered = tuple(label if i < num_right else 1 - label for i, label in enumerate(right))
    return ClassifyFigures(("Good", "Bad"), right, answered, (1.0,) * num)


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        (classified(19, 1), "Useful: 19 of 20 right, clearly more than"),
        (classified(12, 8), "Not shown to be useful: 12 of 20 right, no clear difference from"),
        (classified(2, 18), "Worse than a fixed answer: 2 of 20 right, clearly fewer than"),
    ],
)
def test_tests_of_a_classifier_are_judged_against_a_fixed_answer(figures: ClassifyFigures, verdict: str) -> None:
    assert judge_figures(figures) == f"{verdict} always answering “Good” (50%)."


def test_tests_of_free_text_are_judged_by_exact_outputs_and_bits() -> None:
    outcomes = (CompleteOutcome(math.log(2) * 6, 4, True), CompleteOutcome(math.log(2) * 2, 4, False))
    verdict = "1 of 2 outputs are exactly as expected; the expected outputs take 1.00 bits per byte."
    assert judge_figures(CompleteFigures(outcomes)) == verdict
    unknown = CompleteFigures((CompleteOutcome(1.0, 4, None),))
    assert judge_figures(unknown).startswith("No output could be compared exactly; ")


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0.0, "0.0%"), (0.00004, "under 0.1%"), (0.014, "1.4%"), (0.35, "35%"), (0.999, "over 99%"), (1.0, "100%")],
)
def test_a_percentage_never_claims_more_than_it_knows(fraction: float, shown: str) -> None:
    assert percent(fraction) == shown
