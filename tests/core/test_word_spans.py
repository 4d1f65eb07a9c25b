import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.results import TokenScore
from bot.core.word_spans import word_spans


def words_in(*tokens: str) -> list[str]:
    """Return the words of a text that is given token by token."""
    scores, start = [], 0
    for i, token in enumerate(tokens):
        scores.append(TokenScore(i, token, start, start + len(token), -1.0))
        start += len(token)
    text = "".join(tokens)
    return [text[start:end] for start, end in word_spans(text, scores)]


def test_a_word_is_what_stands_between_white_space() -> None:
    assert words_in(" un", "believ", "able", "\n ", " yes", " ") == ["unbelievable", "yes"]
    assert words_in("안녕", "하세", "요", " 세계") == ["안녕하세요", "세계"], "Korean has spaces"
    assert words_in() == []


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("今天", "天气", "很好", "。"), ["今天", "天气", "很好", "。"]),
        (("日", "本", "語", "の", "テキスト", " is", " fun"), ["日", "本", "語", "の", "テキスト", "is", "fun"]),
        (("สวัสดี", "ชาว", "โลก"), ["สวัสดี", "ชาว", "โลก"]),
        (("ภา", "ษ", "า", "ไท", "ย"), ["ภา", "ษ", "า", "ไท", "ย"]),
        (("ว", "ั", "น"), ["วั", "น"]),
        (("Python", "を", "使", "う"), ["Python", "を", "使", "う"]),
        (("ភា", "សា", "ខ្មែរ"), ["ភា", "សា", "ខ្មែរ"]),
    ],
)
def test_scripts_without_spaces_are_cut_at_their_tokens(tokens: tuple[str, ...], words: list[str]) -> None:
    assert words_in(*tokens) == words


def test_an_address_and_a_long_run_are_cut_at_their_tokens() -> None:
    address = ("see ", "https", "://", "example", ".", "org", "/", "a", " now")
    assert words_in(*address) == ["see", "https", "://", "example", ".", "org", "/", "a", "now"]
    assert words_in("inter", "nation", "al", "isation") == ["internationalisation"]
    assert words_in("if(", "alpha", "==", "beta", "&&", "gamma", "!=", "delta", ")") == [
        "if(", "alpha", "==", "beta", "&&", "gamma", "!=", "delta", ")"
    ]  # fmt: skip
    assert words_in(*["x" * 8] * 5) == ["x" * 8] * 5


def test_tokens_of_one_character_stay_together() -> None:
    scores = [TokenScore(i, "", start, start + 1, -1.0) for i, start in enumerate((0, 0, 0, 1, 1))]
    assert word_spans("日本", scores) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("joined", ["👩‍👩‍👧", "🇩🇪", "👍🏽", "e\u0301"])
def test_what_a_reader_sees_as_one_character_is_never_cut(joined: str) -> None:
    tokens = list(joined * 10 + "x" * 20)
    words = words_in(*tokens)
    assert set(words) == {joined, "x"}


@pytest.mark.parametrize("unit", ["🇩🇪", "👩‍", "x", "日", "e\u0301\u0301"])
def test_the_time_grows_with_the_length_and_no_faster(unit: str) -> None:
    def seconds(num: int) -> float:
        started = time.thread_time()
        words_in(*(unit * num))
        return time.thread_time() - started

    short = min(seconds(2_000) for _ in range(3))
    assert min(seconds(16_000) for _ in range(2)) < max(0.05, 30 * short)


@given(st.lists(st.text(max_size=9), max_size=12))
def test_words_are_in_order_and_hold_all_but_the_white_space(tokens: list[str]) -> None:
    assert "".join(words_in(*tokens)) == "".join("".join(tokens).split())
    assert all(words_in(*tokens))
