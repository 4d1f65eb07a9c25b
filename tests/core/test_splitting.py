import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.splitting import split_text


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("", 10, []),
        (" \n ", 10, []),
        ("short", 10, ["short"]),
        ("one two\n\nthree four", 12, ["one two", "three four"]),
        ("one\ntwo three four", 16, ["one\ntwo three", "four"]),
        ("one two\nthree four", 15, ["one two", "three four"]),
        ("One two. Three four", 16, ["One two.", "Three four"]),
        ("one two three four", 10, ["one two", "three four"]),
        ("0123456789", 4, ["0123", "4567", "89"]),
        ("0123 4567", 4, ["0123", "4567"]),
        ("猫です。犬です。", 5, ["猫です。", "犬です。"]),
        ("xe\u0301e\u0301e\u0301", 4, ["xe\u0301", "e\u0301e\u0301"]),
    ],
)
def test_a_text_is_cut_at_the_best_place_that_fits(text: str, limit: int, pieces: list[str]) -> None:
    assert split_text(text, limit) == pieces


def test_the_unit_of_the_platform_counts() -> None:
    assert split_text("😀😀😀😀😀", 4, length=utf16_length) == ["😀😀", "😀😀", "😀"]


def test_a_code_block_is_closed_at_a_cut_and_opened_again_with_its_language() -> None:
    lines = "\n".join(f"    x = {i}" for i in range(6))
    assert split_text(f"Look:\n```python\n{lines}\n```\nDone.", 45) == [
        "Look:\n```python\n    x = 0\n    x = 1\n```",
        "```python\n    x = 2\n    x = 3\n    x = 4\n```",
        "```python\n    x = 5\n```\nDone.",
    ]


def test_no_piece_holds_an_empty_code_block() -> None:
    text = "Some words before it, in one line.\n```python\nx = 12345678901234567890\n```"
    pieces = split_text(text, 48)
    assert pieces == ["Some words before it, in one line.", "```python\nx = 12345678901234567890\n```"]


def test_a_block_that_is_never_closed_is_closed_at_the_end() -> None:
    assert split_text("```\nx", 20) == ["```\nx\n```"]


def test_a_limit_below_one_character_is_refused() -> None:
    with pytest.raises(ValueError, match="a limit of 1 is below the length of one character, 2"):
        split_text("😀", 1, length=utf16_length)


WORDS = st.lists(st.sampled_from(["one", "two.", "\n", "\n\n", "e\u0301", "😀", "👨\u200d👩", "longerword", "  "])).map(
    " ".join
)


@given(WORDS, st.integers(2, 40))
def test_every_piece_fits_and_no_word_is_lost(text: str, limit: int) -> None:
    pieces = split_text(text, limit, length=utf16_length)
    assert all(0 < utf16_length(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


# Fences stand alone on their lines: a word right behind one would be its language, which stands at each cut again.
CODE = st.lists(
    st.sampled_from(["word ", "\n", "\n```\n", "\n```py\n", "    x = 1\n", "`", "\n\n", "end."]), max_size=40
).map("".join)


@given(CODE, st.integers(30, 60))
def test_code_blocks_are_balanced_in_every_piece(text: str, limit: int) -> None:
    pieces = split_text(text, limit)
    assert all(len(piece) <= limit for piece in pieces)
    assert all(piece.count("```") % 2 == 0 for piece in pieces)
    assert words_of("\n".join(pieces)) == words_of(text)


def words_of(text: str) -> list[str]:
    """Return the words but for fences and their language, which stand at each cut again."""
    return [word for word in text.replace("`", " ").split() if word != "py"]


def test_a_long_text_is_split_in_reasonable_time() -> None:
    pieces = split_text("word and word. " * 20_000, 2000)
    assert 150 <= len(pieces) <= 160
