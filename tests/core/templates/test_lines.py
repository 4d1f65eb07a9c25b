import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.templates.lines import fits_line, format_row, format_rows, parse_rows
from bot.core.templates.template import Example
from bot.errors import RequestError

# Arrows, backslashes and white space often; anything else now and then.
PIECES = st.sampled_from(["=>", "\\=>", "\\\\=>", " => ", " ", "\\", "=", ">", "a", "b=>c", "\u2028", "\u00a0", "\t"])
TEXTS = st.lists(PIECES | st.text(max_size=3), min_size=1, max_size=6).map("".join)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (Example("I love it", "Positive"), "I love it => Positive"),
        (Example("if a => b", "Neutral"), "if a \\=> b => Neutral"),
        (Example("=> a =>", "b"), "\\=> a \\=> => b"),
        (Example("=> => =>", "b"), "\\=> \\=> \\=> => b"),
        (Example("a \\=> b", "c"), "a \\\\=> b => c"),
        # Only an arrow that stands alone parts a line, and only before the first one.
        (Example("a=>b, c\\=>d", "e"), "a=>b, c\\=>d => e"),
        (Example("a", "b => c \\=> d"), "a => b => c \\=> d"),
        (Example("a", "=> b"), "a => => b"),
    ],
)
def test_a_row_is_one_line(row: Example, line: str) -> None:
    assert format_row(row) == line
    assert parse_rows(line) == (row,)


@given(st.lists(st.builds(Example, TEXTS, TEXTS).filter(fits_line), max_size=4))
def test_rows_are_read_back_as_they_were(rows: list[Example]) -> None:
    assert parse_rows(format_rows(rows)) == tuple(rows)


@given(st.text() | st.lists(TEXTS).map("\n".join))
def test_whatever_is_typed_is_read_or_refused_in_one_sentence(text: str) -> None:
    problem = ""
    rows: tuple[Example, ...] = ()
    try:
        rows = parse_rows(text)
    except RequestError as e:
        problem = str(e)
    assert not problem or re.fullmatch(r"Line \d+ .*\.", problem)
    assert all(fits_line(row) for row in rows)
    assert parse_rows(format_rows(rows)) == rows


def test_empty_lines_and_outer_white_space_are_dropped() -> None:
    assert parse_rows("\n  a   =>   b  \r\n\r\n\tc d\t=>\te\n") == (Example("a", "b"), Example("c d", "e"))
    assert parse_rows(" \n\n") == parse_rows("") == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a => b\n\njust words", "Line 3 has no =>; write it as input => output."),
        ("a=>b", "Line 1 needs white space on both sides of =>."),
        ("a \\=> b", "Line 1 needs white space on both sides of =>."),
        ("=> b", "Line 1 has no input before the =>."),
        ("a => b\n c =>  ", "Line 2 has no output after the =>."),
        ("=>", "Line 1 has no input before the =>."),
    ],
)
def test_a_line_that_is_no_row_is_named(text: str, problem: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_rows(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("positiv", "Line 2 has the output 'positiv', which is not a label; did you mean Positive?"),
        ("xyz", "Line 2 has the output 'xyz', which is not a label; the labels are Positive and Negative."),
        (
            "y" * 99,
            f"Line 2 has the output '{'y' * 40}…', which is not a label; the labels are Positive and Negative.",
        ),
    ],
)
def test_an_output_that_is_no_label_is_named(output: str, problem: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_rows(f"a => Positive\nb => {output}", labels=["Positive", "Negative"])
    assert str(caught.value) == problem


@pytest.mark.parametrize("text", ["two\nlines", "two\rlines", " before", "after\u00a0", ""])
def test_what_a_line_can_not_hold_is_sent_to_the_file(text: str) -> None:
    assert not fits_line(Example(text, "b"))
    assert not fits_line(Example("a", text))
    with pytest.raises(RequestError, match="Row 2 has line breaks, or white space at the start or end; change it"):
        format_rows([Example("a", "b"), Example(text, "b")])


def test_of_many_rows_that_do_not_fit_the_first_ten_are_named() -> None:
    with pytest.raises(RequestError, match="Rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, … have"):
        format_rows([Example("a\nb", "c")] * 30)


@pytest.mark.parametrize("text", ["\\" * 50_000, "\\" * 50_000 + "=>", "=>" * 25_000, " => " * 10_000, "a =>\n" * 9000])
def test_long_lines_of_arrows_take_no_time(text: str) -> None:
    started = time.thread_time()
    with contextlib.suppress(RequestError):
        parse_rows(text)
    format_row(Example(text, "b"))
    assert time.thread_time() - started < 0.5
