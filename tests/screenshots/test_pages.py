"""The pages behind the pictures of README.md: what a message says stays what it says. No browser is started."""

import pytest

from tests.screenshots.pages import chat_page, components_html, markdown_html, message_html


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("**bold** and `code`", "<b>bold</b> and <code>code</code>"),
        (r"chat\_template \*\*", "chat_template **"),
        ("<b> & 1 < 2", "&lt;b&gt; &amp; 1 &lt; 2"),
        (r"\<script\>", "&lt;script&gt;"),
        ("## Title\ntext", "<h2>Title</h2>text"),
        ("-# quiet", "<small>quiet</small>"),
        ("<@12> hello", '<span class="mention">@Fewshot</span> hello'),
    ],
)
def test_discords_markdown_becomes_html_and_everything_else_stays_text(said: str, shown: str) -> None:
    assert markdown_html(said) == shown


def test_a_card_shows_its_text_its_picture_and_its_buttons() -> None:
    components = [
        {
            "type": 17,
            "components": [
                {"type": 10, "content": "**Text**"},
                {"type": 12, "items": [{"media": {"url": "http://here/a.png"}}]},
                {"type": 1, "components": [{"type": 2, "style": 1, "label": "1 & 2"}]},
            ],
        }
    ]
    page = chat_page([message_html("Ada", components_html(components, {"http://here/a.png": "data:x"}), is_bot=False)])
    for part in ("<b>Text</b>", '<img src="data:x">', '<span class="button primary">1 &amp; 2</span>', ">Ada<"):
        assert part in page
