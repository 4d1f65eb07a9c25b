"""make measure-healing: its beginnings, what it counts, and a short run on the real model."""

import os
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.healing import Beginning, Finished, is_word, measure, read_beginnings, table

MODEL = os.environ.get("FEWSHOT_TEST_MODEL", "")


def test_there_are_two_hundred_different_beginnings_of_five_kinds() -> None:
    beginnings = read_beginnings()
    assert len({beginning.text for beginning in beginnings}) == len(beginnings) == 200
    assert Counter(beginning.kind for beginning in beginnings) == {
        "mid-word": 110,
        "whole words": 30,
        "whole words that begin others": 30,
        "digits": 20,
        "German": 10,
    }


@pytest.mark.parametrize("word", ["sky", "sky's", "Gesellschaft", "1984", "19th", "don't", "", "3pm"])
def test_words_and_numbers_are_words(word: str) -> None:
    assert is_word(word)


@pytest.mark.parametrize("word", ["skyla's", "thenged", "wegeless", "anutritionally"])
def test_what_no_list_has_is_not_a_word(word: str) -> None:
    assert not is_word(word)


def test_only_what_is_written_right_after_the_last_word_counts() -> None:
    sky, name = Beginning("whole", "The sky"), Beginning("whole", "My friend Xqzt")
    finished = [Finished(sky, text) for text in ("la's", "line is", " la's", ", la's", "")] + [Finished(name, " is")]
    assert [one.is_glued for one in finished] == [True, False, False, False, False, False]
    assert [one.word for one in finished[:2]] == ["skyla's", "skyline"]
    lines = table(finished)
    assert lines[2].startswith("| whole | 6 | 2 | 1 | 16.7% |")
    assert lines[-1] == "Not words: skyla's (sky)."


@pytest.mark.real_model
@pytest.mark.skipif(not MODEL, reason="FEWSHOT_TEST_MODEL names no folder of smollm2-135m; make oracle does")
async def test_at_most_one_word_in_twenty_is_none_on_the_real_model() -> None:
    chosen = [*read_beginnings()[::10], Beginning("whole words", "The sky")]
    finished = await measure("smollm2-135m", Path(MODEL), chosen, "float32")
    assert len(finished) == 105
    assert sum(one.is_glued for one in finished) <= 5
    assert not any(one.is_glued for one in finished if one.beginning.text == "The sky")
