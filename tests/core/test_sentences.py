"""Where a sentence ends: surely, while a text grows, and in one that was cut off."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.sentences import cut_to_whole, end_of_sentence, ends_whole


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" is wet. And cold", " is wet."),
        (" is wet.", None),
        (" is wet", None),
        (' said "Go!" and', ' said "Go!"'),
        (" was 3.14 metres. Then", " was 3.14 metres."),
        (" met Dr. Who. Then", " met Dr. Who."),
        (" by J. R. Tolkien. Then", " by J. R. Tolkien."),
        (" e.g. this. Then", " e.g. this."),
        (" wait... what? No", " wait..."),
        ("は猫です。名前", "は猫です。"),
        (" one\ntwo", " one"),
        ("\n\ntwo", None),
        (". Then it", None),
        (". Then it ended. So", ". Then it ended."),
        ("1. Eggs\n2. Milk", "1. Eggs"),
        ("", None),
    ],
)
def test_a_sentence_ends_where_that_is_sure(text: str, sentence: str | None) -> None:
    index = end_of_sentence(text)
    assert (None if index is None else text[:index]) == sentence


@given(st.text("aB1.!?\"' \n。"), st.text("aB1.!?\"' \n。"))
def test_where_a_sentence_ends_does_not_change_as_the_text_grows(text: str, more: str) -> None:
    index = end_of_sentence(text)
    if index is not None:
        assert end_of_sentence(text + more) == index


@pytest.mark.parametrize(
    "text",
    [
        "It is wet.",
        'He said "go."',
        "Is it? ",
        "Wait...",
        "Nice 🙂",
        "これは猫です。",
        "**Bold.**",
        "1. Eggs\n2. Milk\n",
        "Take it:\n```\nprint(1)\n```",
        "The roses are red\n",
    ],
)
def test_an_answer_may_end_after_a_sentence_a_line_or_a_block(text: str) -> None:
    assert ends_whole(text)
    assert cut_to_whole(text) == text


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("It is wet. And it is", "It is wet."),
        ("It is wet", "It is wet"),
        ("It costs 3. That is", "It costs 3."),
        ("It costs 3.", "It costs 3."),
        ("I met Dr. Who and", "I met Dr. Who and"),
        ("Yes. He said " + '"no.', "Yes."),
        ("Yes. Take these:", "Yes."),
        ("Take these:\n1. Eggs\n2. Mil", "Take these:\n1. Eggs"),
        ("Take these:\n1. Eggs\n2.", "Take these:\n1. Eggs"),
        ("Good idea. Take these:\n1. Eg", "Good idea."),
        ("Take it:\n```python\nprint(1)\nprint(", "Take it:\n```python\nprint(1)\n```"),
        ("It prints.\n```python\nprint(", "It prints."),
        ("```python\nprint(", "```python\nprint("),
        ("See:\n```\na. b c\n```\nThis is", "See:\n```\na. b c\n```"),
        ("", ""),
        ("...", "..."),
    ],
)
def test_a_text_is_cut_after_its_last_whole_sentence_or_line(text: str, whole: str) -> None:
    assert cut_to_whole(text).rstrip() == whole


@given(st.text("aB1.!?\"':-` \n。"))
def test_a_cut_leaves_the_start_of_the_text(text: str) -> None:
    whole = cut_to_whole(text)
    assert text.startswith(whole.removesuffix("\n```")) or text.startswith(whole)
    assert not text or whole


@pytest.mark.parametrize("unit", ["a", "ab ", "\n", ". ", "1.", ".", "。", '."', 'a."', "!?", "x\n", "```", "```\na. "])
def test_no_text_of_the_longest_kind_takes_long(unit: str) -> None:
    started = time.process_time()
    for text in (unit * 20_000, unit * 20_000 + "b"):
        end_of_sentence(text)
        ends_whole(text)
        cut_to_whole(text)
    assert time.process_time() - started < 1.0
