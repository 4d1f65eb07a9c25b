"""Clicks kept as requests: each is read back as it was, and nothing that people write is taken for one."""

import pytest

from bot.core.messages import Author, Click, Message, Scope
from bot.platforms.shared.kept_clicks import as_request, click_of

HERE = Scope("discord", "1", "2")
ANN = Author("3", "Ann", is_moderator=True)


@pytest.mark.parametrize("value", ["", "one", "two words"])
def test_a_click_is_read_back_as_it_was(value: str) -> None:
    click = Click("4", HERE, ANN, "abc123", 7, "publish-anyway", value)
    assert click_of(as_request(click)) == click


@pytest.mark.parametrize(("text", "reach"), [("click a 1 b ", "public"), ("!click a 1 b ", "form"), ("!help", "form")])
def test_other_requests_are_no_clicks(text: str, reach: str) -> None:
    assert click_of(Message("4", HERE, ANN, text, reach=reach)) is None  # type: ignore[arg-type]
