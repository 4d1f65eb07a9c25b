import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.perplexity import (
    RollingWindow,
    TextFigures,
    WordSurprisal,
    compare_figures,
    differing_words,
    most_surprising,
    rolling_windows,
    summarize,
    words_of,
)
from bot.core.results import Expected, TokenScore


def scores_of(*pieces: tuple[str, float | None]) -> list[TokenScore]:
    """Return scores for tokens that follow each other without a gap."""
    scores, start = [], 0
    for i, (piece, logprob) in enumerate(pieces):
        expected = (Expected(f"instead of {piece}", -1.0),)
        scores.append(TokenScore(i, piece, start, start + len(piece), logprob, expected))
        start += len(piece)
    return scores


def test_the_figures_are_those_of_the_definition() -> None:
    # Probabilities 1/2, 1/4, 1/8: 6 bits, a geometric mean of 1/4, 6 bytes in UTF-8.
    figures = summarize("zoë ç", scores_of(("zo", math.log(1 / 2)), ("ë", math.log(1 / 4)), (" ç", math.log(1 / 8))))
    assert figures.perplexity == pytest.approx(4)
    assert figures.total_bits == pytest.approx(6)
    assert figures.bits_per_byte == pytest.approx(6 / 7)
    assert (figures.num_tokens, figures.num_scored, figures.num_bytes) == (3, 3, 7)


def test_an_unscored_first_token_counts_as_a_token_only() -> None:
    figures = summarize("ab", scores_of(("a", None), ("b", math.log(1 / 8))))
    assert figures.perplexity == pytest.approx(8)
    assert figures.bits_per_byte == pytest.approx(1.5)
    assert (figures.num_tokens, figures.num_scored) == (2, 1)


def test_without_any_score_there_are_no_figures() -> None:
    figures = summarize("a", scores_of(("a", None)))
    assert math.isnan(figures.perplexity)
    assert math.isnan(figures.total_bits)
    assert math.isnan(figures.bits_per_byte)


def test_a_text_that_is_all_but_impossible_has_an_infinite_perplexity() -> None:
    assert summarize("a", scores_of(("a", -1e6))).perplexity == math.inf


def test_tokens_are_gathered_into_words_with_the_white_space_before_them() -> None:
    bit = math.log(1 / 2)
    text = " un believable\n  yes "
    scores = scores_of((" un", bit), (" believ", bit), ("able", 2 * bit), ("\n ", bit), (" yes", bit), (" ", bit))
    words = words_of(text, scores)
    assert [(word.text, word.start, word.end, word.surprisal) for word in words] == [
        ("un", 1, 3, pytest.approx(1)),
        ("believable", 4, 14, pytest.approx(3)),
        ("yes", 17, 20, pytest.approx(3)),
    ]
    # What was expected in place of the most surprising token, behind what is before it in the word.
    assert [word.expected[0].text for word in words] == ["instead of  un", "believinstead of able", "instead of  yes"]


def test_what_was_expected_instead_is_never_the_word_itself() -> None:
    at_word = (Expected(" river", math.log(0.9)), Expected(" lake", math.log(0.05)))
    at_end = (Expected(",", math.log(0.8)), Expected(".", math.log(0.1)), Expected(" and", math.log(0.05)))
    scores = [TokenScore(0, " river", 0, 6, math.log(0.9), at_word), TokenScore(1, ".", 6, 7, math.log(0.1), at_end)]
    (word,) = words_of(" river.", scores)
    assert [one.text for one in word.expected] == ["river,", "river and"]


def test_tokens_that_share_a_character_belong_to_one_word() -> None:
    scores = [TokenScore(0, "�", 0, 1, -1.0), TokenScore(1, "�", 0, 1, -1.0), TokenScore(2, " a", 1, 3, -1.0)]
    assert [word.surprisal for word in words_of("😀 a", scores)] == pytest.approx([2 / math.log(2), 1 / math.log(2)])


def test_a_word_without_any_scored_token_has_no_surprisal() -> None:
    first, second = words_of("a b", scores_of(("a", None), (" b", -1.0)))
    assert first.surprisal is None
    assert most_surprising((first, second), 5) == (second,)


def test_a_text_of_white_space_has_no_words() -> None:
    assert words_of("  ", scores_of(("  ", -1.0))) == ()
    assert words_of("", []) == ()


@given(st.lists(st.tuples(st.text("ab \n", min_size=1, max_size=4), st.floats(-20, 0))))
def test_the_words_bits_add_up_to_the_texts(pieces: list[tuple[str, float | None]]) -> None:
    text = "".join(piece for piece, _ in pieces)
    words = words_of(text, scores_of(*pieces))
    assert [word.text for word in words] == text.split()
    if words:
        total = sum(word.surprisal for word in words if word.surprisal is not None)
        assert total == pytest.approx(summarize(text, scores_of(*pieces)).total_bits)


def word(text: str, surprisal: float | None = 1.0) -> WordSurprisal:
    return WordSurprisal(text, 0, len(text), surprisal)


def test_the_most_surprising_words_come_first_and_ties_in_order() -> None:
    words = [word("a", 1.0), word("b", 5.0), word("c", 5.0), word("d", 2.0)]
    assert [each.text for each in most_surprising(words, 3)] == ["b", "c", "d"]


def test_the_first_word_is_among_the_most_surprising_only_if_no_other_is_scored() -> None:
    assert [each.text for each in most_surprising([word("a", 9.0), word("b", 5.0), word("c", 6.0)], 3)] == ["c", "b"]
    assert [each.text for each in most_surprising([word("a", 9.0), word("b", None)], 3)] == ["a"]
    assert most_surprising([word("a", None)], 3) == most_surprising([], 3) == ()


@pytest.mark.parametrize(
    ("num_tokens", "max_length", "windows"),
    [
        (0, 4, []),
        (1, 4, [(-1, 0, 1)]),
        (4, 4, [(-1, 0, 4)]),
        # Token 4 is scored after tokens 0 to 3: as much context as fits.
        (5, 4, [(-1, 0, 4), (0, 4, 5)]),
        (8, 4, [(-1, 0, 4), (3, 4, 8)]),
        (10, 4, [(-1, 0, 4), (3, 4, 8), (5, 8, 10)]),
        (3, 1, [(-1, 0, 1), (0, 1, 2), (1, 2, 3)]),
    ],
)
def test_windows_are_those_of_the_evaluation_harness(
    num_tokens: int, max_length: int, windows: list[tuple[int, int, int]]
) -> None:
    assert rolling_windows(num_tokens, max_length) == tuple(RollingWindow(*window) for window in windows)


@given(st.integers(0, 300), st.integers(1, 50))
def test_each_token_is_scored_once_and_no_window_is_too_long(num_tokens: int, max_length: int) -> None:
    windows = rolling_windows(num_tokens, max_length)
    assert [i for window in windows for i in range(window.start, window.end)] == list(range(num_tokens))
    for window in windows:
        assert -1 <= window.context_start < window.start
        assert window.end - 1 - window.context_start <= max_length


def test_a_window_holds_at_least_one_token() -> None:
    with pytest.raises(ValueError, match="max_length must be at least 1, not 0"):
        rolling_windows(5, 0)


def figures(total_bits: float, num_bytes: int = 10) -> TextFigures:
    return TextFigures(2.0, total_bits / num_bytes, total_bits, 5, 5, num_bytes)


def test_the_text_of_fewest_bits_is_likeliest() -> None:
    comparison = compare_figures([figures(30.0), figures(20.0), figures(25.0)])
    assert (comparison.best, comparison.second, comparison.bits_ahead) == (1, 2, 5.0)
    assert not comparison.is_close
    assert not comparison.is_length_unequal


def test_less_than_one_bit_is_too_close_to_call() -> None:
    assert compare_figures([figures(20.0), figures(20.9)]).is_close
    assert not compare_figures([figures(20.0), figures(21.0)]).is_close


def test_lengths_that_differ_by_half_are_unequal() -> None:
    assert compare_figures([figures(20.0, 10), figures(20.0, 15)]).is_length_unequal
    assert not compare_figures([figures(20.0, 10), figures(20.0, 14)]).is_length_unequal


def test_a_text_without_a_score_is_never_the_likeliest_and_nothing_is_sure() -> None:
    comparison = compare_figures([figures(math.nan), figures(20.0)])
    assert comparison.best == 1
    assert comparison.is_close


def test_one_text_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least two texts"):
        compare_figures([figures(1.0)])


def test_words_that_differ_are_paired_up() -> None:
    ours = [word(text) for text in ["Can", "it", "do", "that", "now", "?"]]
    theirs = [word(text) for text in ["Can", "it", "does", "what", "?"]]
    assert [([w.text for w in a], [w.text for w in b]) for a, b in differing_words(ours, theirs)] == [
        (["do", "that", "now"], ["does", "what"])
    ]
    assert differing_words(ours, ours) == ()
    assert differing_words([], [word("a")]) == (((), (word("a"),)),)
