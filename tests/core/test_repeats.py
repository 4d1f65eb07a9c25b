"""Answers that say again what was said: equal or nearly equal ones, and how soon another one is told apart."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.repeats import find_said_again, may_repeat, repeats_one, sentences_of, words_of

SAID = (
    "I am sorry to hear that. What can I do to help you feel better today?",
    "Yes.",
    "The capital of Spain is Madrid.",
)
EARLIER = [words_of(text) for text in SAID]


@pytest.mark.parametrize(
    "text",
    [
        *SAID,
        "yes!",
        "the capital of spain is **Madrid**",
        "I am so sorry to hear that, what can I do to help you feel better today?",
    ],
)
def test_the_same_words_and_nearly_the_same_are_a_repeat(text: str) -> None:
    assert repeats_one(text, EARLIER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "No.",
        "Yes, it is.",
        "The capital of Italy is Rome.",
        "I am sorry to hear that.",
        "What can I do to help you?",
    ],
)
def test_other_words_are_none(text: str) -> None:
    assert not repeats_one(text, EARLIER)


@given(st.sampled_from(SAID), st.integers(0, 80))
def test_a_repeat_may_become_one_at_every_moment_before(text: str, end: int) -> None:
    assert may_repeat(text[:end], EARLIER)


def test_another_answer_is_told_apart_after_a_few_words() -> None:
    assert not may_repeat("I am glad to see you", EARLIER[:1])
    assert may_repeat("I am glad", EARLIER[:1])
    assert not may_repeat("Anything", [])


def test_long_answers_take_no_longer() -> None:
    started = time.process_time()
    for text in ("no " * 5_000, "a b c d " * 2_000):
        repeats_one(text, [words_of(text), words_of("x " + text)] * 4)
        may_repeat(text, [words_of(text + "y")] * 8)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("text", "last", "start"),
    [
        ("I see. The capital of Spain is Madrid. Yes.", "whole", 6),
        ("I see. the capital of Spain is Madrid", "whole", 6),
        ("I see. The capital of", "open", 6),
        ("I see. The cap", "open", 6),
        ("I see. The cow", "open", None),
        ("I see. The capital of Spain is Madrid", "ignored", None),
        ("I see. The capital of Spain is Madrid now.", "whole", None),
        ("Yes. Yes.", "whole", None),
        ("See:\n```\nThe capital of Spain is Madrid.\n```", "whole", None),
        ("The capital of Spain is Madrid: see", "whole", None),
        ("The capital of Spain is Madrid:\n- yes", "whole", None),
    ],
)
def test_a_sentence_that_was_said_is_found_where_it_begins(text: str, last: Any, start: int | None) -> None:
    assert find_said_again(text, sentences_of(SAID), last=last) == start


def test_a_sentence_may_be_looked_for_from_a_place_on() -> None:
    text = "The capital of Spain is Madrid. The capital of Spain is Madrid."
    assert find_said_again(text, sentences_of(SAID)) == 0
    assert find_said_again(text, sentences_of(SAID), start=1) == 31
