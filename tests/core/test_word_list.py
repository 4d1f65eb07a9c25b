"""Words that are not allowed: found whole, in any case, and held back while a text grows."""

import pytest

from bot.core.word_list import WordList, fold_word

LIST = WordList().with_words(map(fold_word, ("cunt", "Damn", "Straße", "café", "馬鹿", "f-word", "f-words-here")))


@pytest.mark.parametrize(
    "text",
    [
        "damn",
        "DAMN!",
        "well, (damn) it",
        "_damn_",
        "**Damn**.",
        "ｄａｍｎ it",  # full width
        "da\u200bmn it",  # what nobody sees is no way around
        "STRASSE",
        "Cafe\u0301 noir",
        "この馬鹿が",
        "an f-word there",
        "f-words-here",
        "a damn\nline",
    ],
)
def test_a_word_is_found_in_any_case_and_form(text: str) -> None:
    assert LIST.is_in(text)


@pytest.mark.parametrize(
    "text", ["Scunthorpe", "damned", "goddamn", "cafe", "f-wordy", "dam n", "", "damn\u0301", "d4mn"]
)
def test_a_part_of_a_word_is_not_found(text: str) -> None:
    assert not LIST.is_in(text)


def test_only_what_was_written_behind_a_text_counts() -> None:
    assert not LIST.is_in(" it is", before="well damn")
    assert LIST.is_in("mn it", before="well da")
    assert LIST.is_in(" damn", before="x" * 5000)
    assert not LIST.is_in("mned", before="well da")
    assert not LIST.is_in("thorpe", before="S" + "cun")


def test_a_growing_text_is_held_back_from_its_last_word_on() -> None:
    assert LIST.completed("well da") == "well"
    assert LIST.completed("well dam") == "well"
    assert LIST.completed("well damn ") == "well damn"
    assert LIST.completed("we") == ""
    assert 0 < len(LIST.completed("馬" * 400)) < 400, "a script without spaces still streams"
    assert WordList().completed("well da") == "well da"


def test_without_words_nothing_is_found_and_the_list_is_off() -> None:
    assert not WordList()
    assert not WordList().is_in("damn")
    assert WordList.stored(LIST.to_stored()) == LIST
    assert "damn" not in LIST.without(["damn"]).words
