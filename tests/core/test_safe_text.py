import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.safe_text import (
    FALLBACK_NAME,
    MAX_NAME_CHARACTERS,
    JoinedHalves,
    clean_history_text,
    clean_model_text,
    clean_name,
    is_inside_character,
    one_line,
    replace_lone_surrogates,
)

ANY_TEXT = st.text(st.characters())


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("Ana", "Ana"),
        ("  Ana  Maria ", "Ana Maria"),
        ("Bob:\nFewshot", "Bob Fewshot"),
        ("Bob\uff1a x", "Bob x"),
        ("a\u202eb\u2066c\u200f", "abc"),
        ("A\U000e0041\U000e0042\u200b\ufeff", "A"),
        ("Zo\u0065\u0308", "Zo\u00eb"),
        ("e" + "\u0301" * 20, "\u00e9" + "\u0301" * 4),
        ("", FALLBACK_NAME),
        ("\u3164", FALLBACK_NAME),
        (" :\n\x00\u200b", FALLBACK_NAME),
        ("\u0301", FALLBACK_NAME),
        ("🦊", "🦊"),
        ("猫" * 40, "猫" * 32),
        ("x" * 31 + "👨\u200d👩\u200d👧", "x" * 31),
        ("\ud83d", "\ufffd"),
    ],
)
def test_names_are_one_short_line_without_colon_or_tricks(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


@given(ANY_TEXT)
def test_a_clean_name_can_never_add_a_line_or_a_speaker(name: str) -> None:
    cleaned = clean_name(name)
    assert 0 < len(cleaned) <= MAX_NAME_CHARACTERS
    assert cleaned == cleaned.strip()
    assert len(cleaned.splitlines()) == 1
    assert ":" not in cleaned
    assert clean_name(cleaned) == cleaned
    cleaned.encode()


@given(ANY_TEXT)
def test_cleaned_text_is_normal_and_holds_no_unseen_characters(text: str) -> None:
    for clean in (clean_history_text, clean_model_text):
        cleaned = clean(text)
        assert cleaned == unicodedata.normalize("NFC", cleaned)
        assert clean(cleaned) == cleaned
        assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in cleaned)
        assert not any(unicodedata.bidirectional(c) in {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI"} for c in cleaned)
        cleaned.encode()


def test_ordinary_text_of_many_scripts_is_left_alone() -> None:
    text = "Zoë: שָׁלוֹם, नमस्ते, สวัสดีที่, مرحبًا, Việt, 한국어, 👩🏽‍🚀 ❤️ 🇫🇷\n\tx = 1\n"
    normal = unicodedata.normalize("NFC", text)
    assert clean_model_text(text) == normal
    assert clean_history_text(text) == normal


def test_line_breaks_of_all_kinds_become_newlines() -> None:
    assert clean_history_text("a\r\nb\rc\u2028d\x0be\x85f\tg") == "a\nb\nc\nd\ne\nf\tg"


def test_one_line_has_single_spaces_and_none_at_the_ends() -> None:
    assert one_line(" a\r\n b\u2028\u2029c\t\td\u3000e\x85") == "a b c d e"


@given(ANY_TEXT)
def test_replacing_lone_surrogates_changes_nothing_else(text: str) -> None:
    replaced = replace_lone_surrogates(text)
    assert len(replaced) == len(text)
    assert all(a == b or (0xD800 <= ord(a) <= 0xDFFF and b == "\ufffd") for a, b in zip(text, replaced, strict=True))
    replaced.encode()


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("ab", []),
        ("e\u0301x", [1]),
        ("👨\u200d👩x", [1, 2]),
        ("👍🏽👍", [1]),
        ("🇫🇷🇩🇪", [1, 3]),
        ("a🇫🇷🇩🇪", [2, 4]),
        ("\ud83d\ude00", [1]),
    ],
)
def test_what_a_reader_sees_as_one_character_is_known(text: str, inside: list[int]) -> None:
    assert [i for i in range(len(text) + 1) if is_inside_character(text, i)] == inside


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a\ud83d", "\ude00b"], ["a", "\U0001f600b", ""]),
        (["\ud83d", "", "\ude00"], ["", "", "\U0001f600", ""]),
        (["\ud83d\ude00"], ["\U0001f600", ""]),
        (["\ud83d", "x\ude00"], ["", "\ufffdx\ufffd", ""]),
        (["x\ud83d"], ["x", "\ufffd"]),
        (["é\U0001f600", "z"], ["é\U0001f600", "z", ""]),
    ],
)
def test_the_halves_of_a_character_are_joined_where_a_text_is_cut(pieces: list[str], shown: list[str]) -> None:
    joined = JoinedHalves()
    assert [*map(joined.push, pieces), joined.finish()] == shown
