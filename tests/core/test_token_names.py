"""How tokens are called where people read them."""

import pytest

from bot.core.perplexity import words_of
from bot.core.results import TokenScore
from bot.core.token_names import add_up, token_name


@pytest.mark.parametrize(
    ("token", "follows_word", "name"),
    [
        (" the", True, "the"),
        ("era", True, "…era"),
        ("era", False, "era"),
        ("'t", True, "…'t"),
        ("5", True, "…5"),
        (".", True, "."),
        ("化", True, "化"),
        (".\n", True, ".⏎"),
        ("\n", True, "a line break"),
        ("\n\n", False, "2 line breaks"),
        (" ", True, "a space"),
        ("\n  ", True, "a line break and 2 spaces"),
        ("\t", False, "a tab"),
        ("\x11", False, "⟨U+0011⟩"),
        ("\r\n\r\n", False, "2 line breaks"),
        ("\u200b", False, "⟨U+200B⟩"),
        ("\ufe0f", True, "⟨U+FE0F⟩"),
        (" \u200d\ufe0f", True, "⟨U+200D⟩⟨U+FE0F⟩"),
        ("\ue000", False, "⟨U+E000⟩"),
        ("👍\ufe0f", False, "👍\ufe0f"),
        ("a\u200bb", False, "a\u200bb"),
    ],
)
def test_a_token_is_shown_as_what_it_is(token: str, follows_word: bool, name: str) -> None:
    assert token_name(token, follows_word=follows_word) == name


def test_tokens_that_read_the_same_are_added_up() -> None:
    assert add_up([("the", 0.25), ("a", 0.375), ("the", 0.25)]) == (("the", 0.5), ("a", 0.375))


def test_a_word_knows_whether_a_token_in_its_place_would_go_on_with_the_word_before() -> None:
    pieces = ("Das", " Wetter", "\n", "ist", " gut", ".", " So")
    scores, start = [], 0
    for number, piece in enumerate(pieces):
        scores.append(TokenScore(number, piece, start, start + len(piece), -1.0))
        start += len(piece)
    words = words_of("".join(pieces), scores)
    assert [(word.text, word.follows_word) for word in words] == [
        ("Das", False),
        ("Wetter", True),
        ("ist", False),
        ("gut.", True),
        ("So", False),
    ]
