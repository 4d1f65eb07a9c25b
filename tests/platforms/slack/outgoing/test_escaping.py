"""The model's words as Slack's Markdown: they ping nobody, and nothing in them can be clicked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.safe_text import clean_model_text
from bot.platforms.slack.outgoing.escaping import closing_of, escape_entities, escape_model_text, show_model_text

PIECES = st.sampled_from(
    ["`", "``", "```", "````", "\n", "~", "[a]", "(", "http", "://", "b.com", "www.", "@", "#", "<", "!channel>", "x "]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=80)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel> <@U1> & more", "&lt;!channel&gt; &lt;@U1&gt; &amp; more"),
        ("**bold** _it_ `code` - list", "**bold** _it_ `code` - list"),
        ("[a](b)", "[a]\u200b(b)"),
        ("[a][b]\n[b]: c", "[a]\u200b[b]\n[b]\u200b: c"),
        ("see https://x.example/y", "see https:/\u200b/x.\u200bexample/y"),
        ("www.x.org and a@b.org, or mailto:c", "www.\u200bx.\u200borg and a@\u200bb.\u200borg, or mailto\u200b:c"),
        ("# a\n#b # c", "\u200b# a\n\u200b#b # c"),
        ("3.5 and ... and 1. x", "3.5 and ... and 1. x"),
        ("```py\n# x.y\n", "```py\n# x.y\n\n```"),
        ("````", "```\u200b`\n```"),
        ("~~~\nx", "~~\u200b~\nx"),
    ],
)
def test_markup_that_pings_links_or_shouts_is_shown_as_letters(text: str, shown: str):
    assert show_model_text(text) == shown


@given(TEXTS)
def test_no_control_character_link_or_open_fence_is_left(text: str):
    shown = show_model_text(text)
    assert shown.count("```") % 2 == 0
    assert "````" not in shown
    assert "~~~" not in shown
    for sign in ("://", "](", "][", "]:", "<", ">"):
        assert sign not in shown
    assert shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").count("&") == 0
    # What a person reads is what the model wrote.
    read = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("\u200b", "")
    assert read in (clean_model_text(text), clean_model_text(text) + "\n```")


@given(TEXTS, st.data())
def test_the_markdown_of_a_longer_text_starts_with_that_of_a_shorter_one(text: str, data: st.DataObject):
    text = clean_model_text(text)
    end = data.draw(st.integers(0, len(text)))
    assert escape_model_text(text).startswith(escape_model_text(text[:end]))


def test_an_open_code_block_is_closed_once():
    assert closing_of("a ``` b") == "\n```"
    assert closing_of("a ``` b ```") == ""


def test_entities_are_escaped_for_notifications():
    assert escape_entities("a < b & c > d *x*") == "a &lt; b &amp; c &gt; d *x*"
