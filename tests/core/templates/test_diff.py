import random
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.templates.diff import diff_templates
from bot.core.templates.template import Example, PromptTemplate

BASE = PromptTemplate(
    "sentiment",
    "classify",
    "Is it friendly?",
    "Messages.\nHow they feel.\n\n",
    "Message: $input\nFeeling:",
    has_examples_slot=True,
    examples=(Example("I love it", "Positive"), Example("I hate it", "Negative"), Example("Fine", "Positive")),
    tests=(Example("Lovely", "Positive"),),
    labels=("Positive", "Negative"),
)
ROWS = st.lists(st.builds(Example, st.sampled_from("abcd"), st.sampled_from("xy")), max_size=8)


def test_templates_that_mean_the_same_have_no_diff() -> None:
    assert diff_templates(BASE, BASE) == ""
    assert diff_templates(BASE, replace(BASE, name="copy", source_text="other", version="123")) == ""


def test_every_part_that_changed_is_named_with_what_went_and_what_came() -> None:
    new = replace(
        BASE,
        description="Is it kind?",
        instruction="Messages.\nWhat they feel.\n\n",
        query="Message: $input\nMood:",
        labels=("Positive", "Negative", "Neutral"),
        examples=(*BASE.examples[:2], Example("if a => b", "Neutral")),
        tests=(*BASE.tests, Example("Awful\nreally", "Negative")),
    )
    assert diff_templates(BASE, new).splitlines() == [
        "Description",
        "- Is it friendly?",
        "+ Is it kind?",
        "Labels",
        "+ Neutral",
        "Instruction",
        "- How they feel.",
        "+ What they feel.",
        "Query",
        "- Feeling:",
        "+ Mood:",
        "Examples",
        "- Fine => Positive",
        "+ if a \\=> b => Neutral",
        "Tests",
        "+ Awful⏎really => Negative",
    ]


def test_settings_are_named_in_words() -> None:
    old = PromptTemplate("story", "complete", "d", "", "$input", sampling={"temperature": 0.8, "top_k": 50})
    new = replace(
        old,
        kind="chat",
        sampling={"temperature": 0.5, "top_k": 50, "preset": "wild"},
        stop=("\n",),
        separator="",
        example_separator="\n\n",
        is_multiline=True,
        markup="transcript",
        has_examples_slot=True,
    )
    assert diff_templates(old, new).splitlines() == [
        "Kind",
        "- complete",
        "+ chat",
        "Position of the examples",
        "+ $examples",
        "Sampling",
        "- temperature 0.8",
        "+ temperature 0.5",
        "+ preset wild",
        "Stop texts",
        '+ "\\n"',
        "Separator",
        '- " "',
        '+ ""',
        "Example separator",
        '- "\\n"',
        '+ "\\n\\n"',
        "Input",
        "- becomes one line",
        "+ keeps its line breaks",
        "Markup",
        "- auto",
        "+ transcript",
    ]


def test_examples_in_another_order_are_neither_removed_nor_added() -> None:
    first, second, third = BASE.examples
    assert diff_templates(BASE, replace(BASE, examples=(third, first, second))).splitlines() == [
        "Examples",
        "  in a new order:",
        "  Fine => Positive",
        "  I love it => Positive",
        "  I hate it => Negative",
    ]
    changed = replace(BASE, examples=(second, first, Example("Bad", "Negative")))
    assert diff_templates(BASE, changed).splitlines() == [
        "Examples",
        "- Fine => Positive",
        "+ Bad => Negative",
        "  the others in a new order:",
        "  I hate it => Negative",
        "  I love it => Positive",
    ]


def test_a_row_added_twice_counts_twice() -> None:
    doubled = replace(BASE, examples=(*BASE.examples, BASE.examples[0]))
    assert diff_templates(BASE, doubled) == "Examples\n+ I love it => Positive"
    assert diff_templates(doubled, BASE) == "Examples\n- I love it => Positive"


@given(ROWS, ROWS)
def test_the_lines_account_for_every_row(old: list[Example], new: list[Example]) -> None:
    lines = diff_templates(replace(BASE, examples=tuple(old)), replace(BASE, examples=tuple(new))).splitlines()
    rows = Counter(f"{row.input} => {row.output}" for row in old)
    rows.subtract(line[2:] for line in lines if line.startswith("- "))
    assert min(rows.values(), default=0) >= 0
    rows.update(line[2:] for line in lines if line.startswith("+ "))
    assert +rows == Counter(f"{row.input} => {row.output}" for row in new)
    assert (lines == []) == (old == new)


@given(st.lists(st.sampled_from("abc"), max_size=10), st.lists(st.sampled_from("abc"), max_size=10))
def test_a_text_is_made_of_what_stayed_and_what_came(old: list[str], new: list[str]) -> None:
    before, after = replace(BASE, query="\n".join(old)), replace(BASE, query="\n".join(new))
    lines = diff_templates(before, after).splitlines()[1:]
    counts = Counter(before.query.split("\n"))
    counts.subtract(line[2:] for line in lines if line.startswith("- "))
    counts.update(line[2:] for line in lines if line.startswith("+ "))
    assert +counts == Counter(after.query.split("\n"))
    assert (lines == []) == (before.query == after.query)


@pytest.mark.parametrize("num_kinds", [1, 2, 150, 10_000])
def test_long_texts_of_repeated_lines_take_no_time(num_kinds: int) -> None:
    draw = random.Random(0)
    texts = ["\n".join(str(draw.randrange(num_kinds)) for _ in range(15_000)) for _ in range(2)]
    started = time.thread_time()
    lines = diff_templates(replace(BASE, instruction=texts[0]), replace(BASE, instruction=f"{texts[1]}\nend"))
    assert lines
    assert time.thread_time() - started < 0.5
