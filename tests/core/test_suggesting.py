import pytest

from bot.core.suggesting import nearest


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("sentimnet", "sentiment"), ("SENTIMENT", "sentiment"), ("Model", "MODEL"), ("zzz", None), ("", None)],
)
def test_the_nearest_name_is_found_whatever_its_case(name: str, suggestion: str | None) -> None:
    assert nearest(name, ["sentiment", "story", "MODEL"]) == suggestion


def test_a_name_of_any_length_is_answered_at_once() -> None:
    assert nearest("x" * 1_000_000, ["sentiment"]) is None
    assert nearest("x", []) is None
