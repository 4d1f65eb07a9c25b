import pytest

from bot.core.suggesting import nearest, suggest


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("sentimnet", "sentiment"), ("SENTIMENT", "sentiment"), ("Model", "MODEL"), ("zzz", None), ("", None)],
)
def test_the_nearest_name_is_found_whatever_its_case(name: str, suggestion: str | None) -> None:
    assert nearest(name, ["sentiment", "story", "MODEL"]) == suggestion


def test_a_name_of_any_length_is_answered_at_once() -> None:
    assert nearest("x" * 1_000_000, ["sentiment"]) is None
    assert nearest("x", []) is None


def test_a_sentence_ends_with_the_nearest_name_or_with_what_else_helps() -> None:
    assert suggest("stroy", ["story"], "there are story.") == "did you mean story?"
    assert suggest("stroy", ["story"], "there are story.", shown=lambda name: f"${name}") == "did you mean $story?"
    assert suggest("zzz", ["story"], "there are story.") == "there are story."
