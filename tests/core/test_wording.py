import pytest

from bot.core.wording import MAX_QUOTED, list_words, quote, shorten


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("", 0, ""),
        ("ab", 1, "…"),
        ("👍🏽👍🏽", 4, "👍🏽👍🏽"),
        ("a👍🏽b", 3, "a…"),
    ],
)
def test_a_text_that_does_not_fit_is_cut_between_characters(text: str, limit: int, shown: str) -> None:
    assert shorten(text, limit) == shown


def test_a_quotation_is_one_short_line() -> None:
    assert quote("a\nb") == r"'a\nb'"
    assert quote("x" * 40) == f"'{'x' * 40}'"
    assert quote("x" * 1_000_000) == f"'{'x' * 40}…'"
    assert len(quote("x" * 50, 10)) == 12
    assert len(quote("y" * 99)) == MAX_QUOTED + 2


@pytest.mark.parametrize(
    ("words", "last", "listed"),
    [(["a"], "and", "a"), (["a", "b"], "and", "a and b"), (["a", "b", "c"], "or", "a, b or c")],
)
def test_words_are_listed_as_a_sentence_does(words: list[str], last: str, listed: str) -> None:
    assert list_words(words, last) == listed
