import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.perplexity import WordSurprisal
from bot.core.word_differences import MAX_WORDS, difference_pieces, own_pieces


def words_of(text: str, *bits: float | None) -> tuple[WordSurprisal, ...]:
    words, at = [], 0
    for i, word in enumerate(text.split()):
        start = text.index(word, at)
        at = start + len(word)
        words.append(WordSurprisal(word, start, at, bits[i] if bits else 1.0))
    return tuple(words)


def test_the_pieces_of_a_text_are_its_words_with_their_bits_and_the_gaps() -> None:
    text = " Can\n it "
    pieces = ((" ", None), ("Can", 2.0), ("\n ", None), ("it", 3.0), (" ", None))
    assert own_pieces(text, words_of(text, 2.0, 3.0)) == pieces


def test_each_word_has_the_bits_that_it_takes_more_than_its_counterpart() -> None:
    base = words_of("Can it do that", 2.0, 3.0, 4.0, 5.0)
    text = "Can it does what"
    pieces = difference_pieces(text, words_of(text, 2.0, 3.5, 9.0, 4.0), base)
    assert [piece for piece in pieces if piece[0].strip()] == [("Can", 0.0), ("it", 0.5), ("does", 5.0), ("what", -1.0)]


@pytest.mark.parametrize(
    ("text", "base", "shown"),
    [
        ("the cat", "the big cat", "the [big] cat"),
        ("cat", "the cat", "[the] cat"),
        ("the", "the cat sat", "the [cat] [sat]"),
        ("the very big cat", "the cat", "the very big cat"),
        ("a b", "c d e", "a b [e]"),
    ],
)
def test_a_missing_word_stands_in_brackets_with_fewer_bits(text: str, base: str, shown: str) -> None:
    pieces = difference_pieces(text, words_of(text), words_of(base))
    assert "".join(piece for piece, _ in pieces) == shown
    assert all(bits is not None and bits < 0 for piece, bits in pieces if piece.startswith("["))


def test_a_word_without_a_score_has_no_difference() -> None:
    pieces = difference_pieces("a b", words_of("a b", None, 2.0), words_of("a b", 1.0, 1.5))
    assert pieces == (("a", None), (" ", None), ("b", 0.5))


TEXTS = st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join)


@given(TEXTS, TEXTS)
def test_the_differences_add_up(text: str, base: str) -> None:
    ours = words_of(text, *(float(i) for i in range(12)))
    theirs = words_of(base, *(2.0 * i for i in range(12)))
    pieces = difference_pieces(text, ours, theirs)
    expected = sum(word.surprisal or 0.0 for word in ours) - sum(word.surprisal or 0.0 for word in theirs)
    assert sum(bits for _, bits in pieces if bits is not None) == pytest.approx(expected)


@pytest.mark.parametrize("unit", ["x ", "a b ", "the cat sat "])
def test_long_texts_are_compared_only_where_a_picture_can_show_it(unit: str) -> None:
    text, base = unit * 2000, unit * 1999
    words, others = words_of(text), words_of(base)
    started = time.perf_counter()
    pieces = difference_pieces(text, words, others)
    assert time.perf_counter() - started < 2
    assert "".join(piece for piece, _ in pieces if not piece.startswith("[")).split() == text.split()
    assert sum(bits is not None for piece, bits in pieces if not piece.startswith("[")) == MAX_WORDS
