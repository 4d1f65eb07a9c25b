import difflib
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.templates.body import Kind
from bot.core.templates.checks import MIN_TESTS, NEAR_PERCENT, compared_tokens, find_warnings
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import Example, PromptTemplate

LABELS = ("Positive", "Negative")
# Enough different, balanced tests and examples that nothing is wrong with them.
TESTS = tuple(Example(f"test case number {i} of its own", LABELS[i % 2]) for i in range(MIN_TESTS))
EXAMPLES = tuple(Example(f"shown {word}", LABELS[i % 2]) for i, word in enumerate(["red", "green", "blue", "black"]))
LONG = "this is a long row of many words that says one thing after another"


def warnings_for(
    examples: tuple[Example, ...] = EXAMPLES,
    tests: tuple[Example, ...] = TESTS,
    *,
    kind: Kind = "classify",
    labels: tuple[str, ...] = LABELS,
) -> tuple[str, ...]:
    labels = labels if kind == "classify" else ()
    return find_warnings(
        PromptTemplate("x", kind, "d", "", "$input", True, examples=examples, tests=tests, labels=labels)
    )


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert warnings_for() == ()
    assert warnings_for(()) == ()


@pytest.mark.parametrize("input", ["shown red", "Shown  RED!", " “Shown”, red…", "ｓｈｏｗｎ red"])
def test_a_test_that_repeats_an_example_is_named_whatever_its_case_marks_and_spaces(input: str) -> None:
    assert warnings_for(tests=(*TESTS, Example(input, "Positive"))) == (
        "A test that repeats an example shows only that the model can copy: test 11 (example 1).",
    )


def test_a_test_that_nearly_repeats_an_example_is_named() -> None:
    assert warnings_for((*EXAMPLES, Example(LONG, "Positive")), (*TESTS, Example(f"oh {LONG}", "Positive")))[0] == (
        "A test that nearly repeats an example shows only that the model can copy: test 11 (example 5)."
    )


def test_a_test_near_an_example_with_another_answer_is_a_hard_test_and_no_leak() -> None:
    examples = (*EXAMPLES[:3], Example(LONG, "Positive"), Example(LONG.upper() + " too", "Positive"))
    assert not any(
        "copy" in warning for warning in warnings_for(examples, (*TESTS, Example(f"not {LONG}", "Negative")))
    )
    free = (Example(LONG, "something else"),)
    assert not any(
        "copy" in w for w in warnings_for(free, (*TESTS, Example(f"not {LONG}", "quite other")), kind="complete")
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("3 - 4", "3 * 4"), ("I passed :)", "I passed :("), ("nice 😀", "nice 😡"), ("!!!", "???"), ("吃饭了", "吃饭吗")],
)
def test_signs_that_change_the_meaning_part_rows(one: str, other: str) -> None:
    assert compared_tokens(one) != compared_tokens(other)
    assert not any("same input" in w for w in warnings_for((Example(one, "Positive"), Example(other, "Negative"))))


def test_scripts_without_spaces_are_compared_sign_by_sign() -> None:
    assert compared_tokens("今天天气很好。") == tuple("今天天气很好")
    assert compared_tokens("ไป") == tuple("ไป")
    assert compared_tokens("It's 5 o'clock") == ("it", "s", "5", "o", "clock")


def test_one_input_with_two_outputs_is_a_contradiction_in_and_between_the_tables() -> None:
    examples = (*EXAMPLES, Example("so so", "Positive"), Example("So so.", "Negative"))
    tests = (*TESTS, Example("well", "Positive"), Example("Well!", "Negative"), Example("shown RED", "Negative"))
    assert warnings_for(examples, tests) == (
        "The same input has different outputs, so one must be wrong: example 1 and test 13; examples 5 and 6; "
        "tests 11 and 12.",
    )


def test_outputs_that_differ_only_in_case_contradict_as_labels_and_not_as_texts() -> None:
    rows = (Example("one", "a"), Example("One", "A"))
    assert any("different outputs" in warning for warning in warnings_for(rows, labels=("a", "A")))
    assert not any("different outputs" in warning for warning in warnings_for(rows, kind="complete"))
    greetings = (Example("Hi", "Hello!"), Example("Hi", "Good to see you."))
    assert not any("different outputs" in warning for warning in warnings_for(greetings, kind="chat"))


def test_rows_that_stand_twice_are_named() -> None:
    examples = (*EXAMPLES, Example("SHOWN red", "Positive"), Example("shown green", "Negative"))
    tests = (*TESTS, TESTS[0], TESTS[0], TESTS[1], TESTS[1])
    assert warnings_for(examples, tests) == (
        "Repeated rows count several times and add nothing new: examples 1 and 5; examples 2 and 6; "
        "tests 1, 11 and 12; tests 2, 13 and 14.",
    )


def test_labels_are_unbalanced_from_more_than_twice_as_many_on() -> None:
    def with_positive(num: int) -> tuple[Example, ...]:
        return (*[Example(f"good {'x' * i}", "Positive") for i in range(num)], Example("bad thing", "Negative"))

    assert not any("unbalanced" in warning for warning in warnings_for(with_positive(2)))
    assert warnings_for(with_positive(3)) == (
        "The examples are unbalanced, 3 × Positive but 1 × Negative, so the model prefers the frequent one.",
    )
    assert warnings_for(tests=with_positive(12)) == (
        "The tests are unbalanced, 12 × Positive but 1 × Negative, so the rare one hardly counts.",
    )


def test_missing_labels_are_named() -> None:
    assert warnings_for(labels=(*LABELS, "Neutral", "x" * 60)) == (
        f"No example has the label Neutral or {'x' * 40}….",
        f"No test has the label Neutral or {'x' * 40}….",
    )


def test_an_example_longer_than_all_others_together_is_named() -> None:
    assert warnings_for((*EXAMPLES[:2], Example(LONG * 3, "Positive"), EXAMPLES[3])) == (
        "Example 3 is longer than all the others together, so it outweighs them.",
    )
    # One of two is nearly always the longer one.
    assert warnings_for((Example(LONG, "Positive"), Example("bad", "Negative"))) == ()


@pytest.mark.parametrize(
    ("num", "warning"),
    [
        (0, "There are no tests, so nothing can be measured."),
        (1, "There is only 1 test; fewer than 10 tests tell little."),
        (9, "There are only 9 tests; fewer than 10 tests tell little."),
    ],
)
def test_too_few_tests_are_counted(num: int, warning: str) -> None:
    assert warnings_for(tests=TESTS[:num])[-1] == warning


def test_of_many_rows_the_first_are_named_and_the_rest_counted() -> None:
    rows = tuple(Example(f"row number {i}", LABELS[i % 2]) for i in range(20))
    assert warnings_for(rows, rows) == (
        "A test that repeats an example shows only that the model can copy: test 1 (example 1); test 2 (example 2); "
        "test 3 (example 3); test 4 (example 4); test 5 (example 5); test 6 (example 6); test 7 (example 7) "
        "and 13 more.",
    )
    assert "examples 1, 2, 3, 4, 5, 6, 7 and 13 more" in warnings_for((rows[0],) * 20)[0]


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=14)


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=4))
def test_near_is_what_difflib_calls_so(ours: list[list[str]], theirs: list[list[str]]) -> None:
    # Enough copies of each that frequent words are counted another way than rare ones.
    for copies in (1, 8):
        tests = tuple(Example(" ".join(words), "same") for words in ours for _ in range(copies))
        examples = tuple(Example(" ".join(words), "same") for words in theirs for _ in range(copies))
        expected = any(
            mine != other and difflib.SequenceMatcher(None, mine, other, False).quick_ratio() >= NEAR_PERCENT / 100
            for mine in ours
            if mine not in theirs
            for other in theirs
        )
        warnings = warnings_for(examples, tests, kind="complete")
        assert any("nearly repeats" in warning for warning in warnings) == expected


@given(
    st.lists(st.builds(Example, st.text(min_size=1), st.sampled_from(LABELS)), max_size=12),
    st.lists(st.builds(Example, st.text(min_size=1), st.sampled_from(LABELS)), max_size=12),
    st.sampled_from(["classify", "complete", "chat"]),
)
def test_any_rows_get_warnings_of_one_sentence(examples: list[Example], tests: list[Example], kind: Kind) -> None:
    for warning in warnings_for(tuple(examples), tuple(tests), kind=kind):
        assert warning.endswith(".")
        assert "\n" not in warning
        assert warning[0].isupper()


@pytest.mark.parametrize("vocabulary", [1, 12, 300, 5000])
@pytest.mark.parametrize("kind", ["classify", "complete"])
def test_five_hundred_examples_and_tests_take_no_time(vocabulary: int, kind: Kind) -> None:
    draw = random.Random(0)

    def rows() -> tuple[Example, ...]:
        words = [[f"w{draw.randrange(vocabulary)}" for _ in range(12)] for _ in range(500)]
        return tuple(Example(" ".join(line), draw.choice(LABELS)) for line in words)

    examples, tests = rows(), rows()
    warnings_for(examples[:3], tests[:3], kind=kind)
    assert min(_seconds_for(examples, tests, kind=kind) for _ in range(3)) < 0.2


def test_the_longest_texts_take_no_time() -> None:
    examples, tests = (Example("a " * 16_000, "x"), Example("b a " * 8000, "x")), (Example("a b " * 8000, "x"),)
    assert min(_seconds_for(examples, tests) for _ in range(3)) < 0.5


def _seconds_for(examples: tuple[Example, ...], tests: tuple[Example, ...], *, kind: Kind = "classify") -> float:
    """Return the processor time of the checks; on a busy machine one run of several is undisturbed."""
    started = time.thread_time()
    warnings_for(examples, tests, kind=kind)
    return time.thread_time() - started


@pytest.mark.parametrize("path", sorted(Path("prompts").glob("*.prompt")), ids=lambda path: path.stem)
def test_the_shipped_templates_have_no_more_than_few_tests(path: Path) -> None:
    template = parse_template(path.read_text(encoding="utf-8"), name=path.stem, source=path.name)
    assert all("test" in warning and "There " in warning for warning in find_warnings(template))


def test_labels_of_which_one_begins_another_are_warned_of() -> None:
    (warning, *_) = warnings_for((), (), labels=("good", "bad", "goodness", "good day", "badly"))
    assert warning == (
        "One label is the beginning of another, so the shorter one is always at least as likely: bad and badly; good"
        " and good day; good and goodness. Choose labels that begin differently."
    )
    assert "begin" not in str(warnings_for((), (), labels=("good", "bad", "Goodness")))
