"""Rows that fit a width: words, wide characters, and words longer than a row."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from bot.core.cards import Bars, Button, Card, Choices, Facts, Table, Text, TintedText
from bot.platforms.terminal.rendering import plain_text, render_card
from bot.platforms.terminal.wrapping import clip, wrap, wrap_text

CASES = {
    "words": ("the quick brown fox", 10, ["the quick", "brown fox"]),
    "a word that ends at the edge": ("the quick fox", 9, ["the quick", "fox"]),
    "a word longer than a row": ("see Donaudampfschiff now", 8, ["see", "Donaudam", "pfschiff", "now"]),
    "line breaks and an empty line": ("a b\n\nc d e", 3, ["a b", "", "c d", "e"]),
    "spaces at a break are dropped": ("ab   cd", 4, ["ab", "cd"]),
    "spaces within a row stay": ("a  b cd", 5, ["a  b", "cd"]),
    "an indented line stays indented": ("  a bb cc", 6, ["  a bb", "  cc"]),
    "wide characters": ("你好世界再见", 5, ["你好", "世界", "再见"]),
    "wide characters after a word": ("say 你好世界", 8, ["say 你好", "世界"]),
    "no row begins with a full stop": ("你好世界。", 8, ["你好世", "界。"]),
    "an accent stays with its letter": ("caf\u0065\u0301s", 4, ["cafe\u0301", "s"]),
    "a joined picture stays whole": ("a 👩\u200d💻", 4, ["a", "👩\u200d💻"]),
    "one column": ("ab", 1, ["a", "b"]),
    "nothing": ("", 5, [""]),
}


@pytest.mark.parametrize("case", CASES)
def test_text_is_wrapped_at_words(case: str) -> None:
    text, width, rows = CASES[case]
    assert wrap_text(text, width) == rows


def test_styles_stay_with_their_words_and_the_rest_of_a_line_hangs() -> None:
    rows = wrap([("", "1  once "), ("bold", "upon a time")], 9, hang=3)
    assert rows == [[("", "1  once")], [("", "   "), ("bold", "upon a")], [("", "   "), ("bold", "time")]]


def test_a_cell_that_is_too_long_is_cut_by_its_cells_on_the_screen() -> None:
    assert clip("你好世界", 5) == "你好…"
    assert clip("fits", 4) == "fits"


# Letters, spaces, line breaks, wide and combining characters.
TEXTS = st.text(st.sampled_from("abc xyz.,-\n\t你好。é\u0301👩\u200d💻"), max_size=120)


@given(TEXTS, st.integers(8, 30))
def test_no_row_is_too_wide_and_no_character_is_lost(text: str, width: int) -> None:
    rows = wrap_text(text, width)
    assert all(get_cwidth(row) <= width for row in rows)
    assert "".join("".join(rows).split()) == "".join(text.split())


CARD = Card(
    blocks=(
        Text("The quick brown fox jumps over the lazy dog, and https://example.org/a/very/long/path/that/never/ends"),
        Facts((("first token p50", "12 ms"), ("whole answer p50", "345 ms"), ("model", "smollm2-135m-instruct"))),
        Table(
            ("setting", "value", "from", "meaning"),
            (
                ("quota_per_minute", "20", "default", "how many requests a member may make per minute"),
                ("chat_template", "聊天模板聊天模板", "channel", "template for chat prompts"),
            ),
        ),
        Table(("", ""), (("one", "two"),)),
        Bars((("a word", 0.5), ("another that is much longer than most words", 0.01)), rest=0.49),
        TintedText((("Once", None), (" upon", 5.0), (" a time there was a king", 9.0))),
        Choices("Once upon a", (" time there was a queen who lived in a tower by the sea", " hill")),
    )
)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_every_block_fits_the_width_and_says_all_its_words(width: int) -> None:
    shown = plain_text(render_card(CARD, is_colored=True, width=width))
    assert all(get_cwidth(line) <= width for line in shown.splitlines())
    for word in ("never/ends", "345 ms", "per minute", "聊天模板聊天模板", "template for chat prompts", "by the sea"):
        assert "".join(word.split()) in "".join(shown.split()).replace("\n", "") or width < 80


def test_a_narrow_table_is_shown_row_by_row() -> None:
    assert plain_text(render_card(Card(blocks=(CARD.blocks[2],)), is_colored=True, width=40)).splitlines() == [
        "quota_per_minute",
        "  value: 20",
        "  from: default",
        "  meaning: how many requests a member",
        "  may make per minute",
        "chat_template",
        "  value: 聊天模板聊天模板",
        "  from: channel",
        "  meaning: template for chat prompts",
    ]


@pytest.mark.parametrize("width", range(24, 140, 3))
def test_no_cell_is_broken_inside_a_word_that_fits_half_of_the_width(width: int) -> None:
    table = Table(
        ("most surprising", "surprisal", "expected instead", "where"),
        (
            ("--no_repeat_ngram_size", "51.5 bits", "--no_repeat_be 7% · --no_repeat_repeat 1% · x <1%", "a"),
            ("word " * 20, "3 bits", "something-that-is-very-long and more of it", "b " * 30),
        ),
    )
    shown = plain_text(render_card(Card(blocks=(table,)), is_colored=True, width=width)).split()
    words = {word for row in (table.columns[1:], *table.rows) for cell in row for word in cell.split()}
    assert {word for word in words if len(word) <= width // 2 - 6} <= {word.rstrip(":") for word in shown}


def test_a_narrow_table_of_pairs_says_what_its_columns_are() -> None:
    table = Table(("in B", "in C"), (("one and more words (21.8)", "two and some more words (11.9)"),))
    assert plain_text(render_card(Card(blocks=(table,)), is_colored=True, width=40)).splitlines() == [
        "in B",
        "  in C",
        "one and more words (21.8)",
        "  two and some more words (11.9)",
    ]


def test_a_wide_table_keeps_its_columns_and_wraps_the_long_ones() -> None:
    assert plain_text(render_card(Card(blocks=(CARD.blocks[2],)), is_colored=True, width=80)).splitlines() == [
        "setting           value             from     meaning",
        "quota_per_minute  20                default  how many requests a member may make",
        "                                             per minute",
        "chat_template     聊天模板聊天模板  channel  template for chat prompts",
    ]


def test_a_pipe_has_no_width_and_nothing_is_cut() -> None:
    long = "word " * 40
    card = Card(blocks=(Text(long), Table(("a", "b"), ((long, long),))))
    text, head, row = plain_text(render_card(card, is_colored=False)).splitlines()
    assert text == long
    assert row == f"{long.strip()}  {long.strip()}"
    assert head == "a" + " " * 61 + "b"


def test_the_time_to_wrap_a_styled_text_grows_with_its_length_and_no_faster() -> None:
    def wrapped_in_s(num: int) -> float:
        fragments = [("bold", "word"), ("", " ")] * num
        since = time.thread_time()
        wrap(fragments, 80)
        return time.thread_time() - since

    # Ten times the text took a hundred times as long.
    assert min(wrapped_in_s(20_000) for _ in range(3)) < 30 * min(wrapped_in_s(2_000) for _ in range(3))


def test_the_words_to_type_are_named_below_continuations_of_a_text_or_a_story_and_below_nothing_else() -> None:
    buttons = (Button("1", "1"), Button("undo", "Undo"))
    for command, last in (("complete", "type 1 · undo"), ("story", "type 1 · undo"), ("why", "2   so on")):
        card = Card(blocks=(Choices("", (" and", " so on")),), buttons=buttons, data={"command": command})
        assert plain_text(render_card(card, is_colored=True, width=40)).splitlines()[-1] == last
