import pytest

from bot.core.statistics import ClassifyFigures, CompleteFigures, CompleteOutcome
from bot.core.templates.template import Example
from bot.core.templates.worth import Worth, fit_of, swap_inputs


def labelled(num_right: int, num: int = 20) -> ClassifyFigures:
    right = tuple(i % 2 for i in range(num))
    answered = tuple(label if i < num_right else 1 - label for i, label in enumerate(right))
    return ClassifyFigures(("good", "bad"), right, answered, (0.5,) * num)


def written(*nats: float, is_exact: bool | None = False) -> CompleteFigures:
    return CompleteFigures(tuple(CompleteOutcome(one, 4, is_exact) for one in nats))


@pytest.mark.parametrize(("num_right", "is_enough"), [(19, True), (13, False), (9, False)])
def test_labels_are_worth_what_guessing_does_not_get(num_right: int, is_enough: bool) -> None:
    worth = Worth(labelled(num_right))
    assert worth.is_enough is is_enough
    assert worth.verdict.startswith("Useful" if is_enough else "Not shown to be useful")
    assert worth.words == f"{num_right} of 20 right"


def test_a_label_that_most_rows_have_is_no_merit() -> None:
    figures = ClassifyFigures(("good", "bad"), (0,) * 19 + (1,), (0,) * 20, (0.5,) * 20)
    assert figures.guessed_share == 0.95
    assert not Worth(figures).is_enough


def test_free_text_is_worth_the_bits_that_its_own_message_saves() -> None:
    assert fit_of(written(1, 2), written(10, 20)) == pytest.approx(0.9)
    assert fit_of(written(3), written(3)) == pytest.approx(0)
    knows, guesses = Worth(written(1, 2), 0.9), Worth(written(3, 4), 0.1)
    assert (knows.is_enough, guesses.is_enough) == (True, False)
    assert knows.words == "fit 90%, 0 of 2 exact"
    assert knows.verdict.startswith("This model mostly knows the right answers: reading the message saves 90%")
    assert guesses.verdict.startswith("This model hardly knows the right answers")
    assert Worth(written(1, is_exact=None)).words == "0.361 bits per byte", "nothing to compare with"


def test_each_output_is_put_to_another_input_that_wants_another_output() -> None:
    tests = (Example("a", "1"), Example("b", "1"), Example("c", "2"))
    assert swap_inputs(tests) == ((0, Example("c", "1")), (1, Example("c", "1")), (2, Example("a", "2")))
    assert swap_inputs(tests[:2]) == ()
