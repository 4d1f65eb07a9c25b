"""A template as a page edits it: from valid to typed and back, and two people's changes joined."""

from dataclasses import replace

import pytest

from bot.core.prompt import build_prompt
from bot.core.templates.forms import blank_template, row_fields
from bot.core.templates.parsing import parse_template
from bot.core.templates.rendered import MAX_SHOWN, prompt_parts
from bot.core.templates.states import (
    Clash,
    TemplateState,
    apply_state,
    join_states,
    read_state,
    state_json,
    state_of,
    state_of_values,
    values_of,
)
from bot.core.templates.template import Example
from bot.errors import RequestError
from tests.bots import MOOD, PROMPTS

TEXTS = {**PROMPTS, "mood": MOOD}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_an_unchanged_state_gives_the_same_template(name: str) -> None:
    template = parse_template(TEXTS[name], name=name, source=name)
    assert apply_state(template, state_of(template)) == template
    assert read_state(state_json(state_of(template))) == state_of(template)


def test_a_template_is_made_from_nothing_and_empty_rows_are_dropped() -> None:
    state = TemplateState(
        "Good or bad?",
        "classify",
        "Moods.",
        "$input ->",
        labels=("good", "bad"),
        examples=(Example("fine", "good "), Example(" ", "")),
        tests=(Example("a\nb", "bad"),),
    )
    template = apply_state(blank_template("mood"), state)
    assert template.examples == (Example("fine", "good"),)
    assert template.tests == (Example("a\nb", "bad"),)
    assert build_prompt(template, "so").text == "Moods.\n\nfine -> good\nso ->"


def test_options_are_lines_over_a_preset_and_a_wrong_one_is_named() -> None:
    template = parse_template(PROMPTS["exact"], name="exact", source="")
    state = state_of(template)
    assert (state.preset, state.options) == ("own", "temperature 0.0\nmax_new_tokens 5")
    changed = apply_state(template, replace(state, preset="wild", options="max_new_tokens = 7\n\ntop_k 3"))
    assert changed.sampling == {"preset": "wild", "max_new_tokens": 7, "top_k": 3}
    assert apply_state(changed, state).sampling == template.sampling
    for line, problem in (("hot", "'hot' is no option."), ("temprature 1", "temperature"), ("top_k x", "is no option")):
        with pytest.raises(RequestError, match=problem):
            apply_state(template, replace(state, options=line))


def test_a_first_example_brings_the_stop_text_that_a_file_would_have() -> None:
    template = parse_template(PROMPTS["exact"], name="exact", source="")
    state = replace(state_of(template), examples=(Example("a", "b"),))
    assert apply_state(template, state).stop == ("\n",)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([Example("a", "x"), Example("b", " ")], "Example 2 has no output. Fill it in, or remove the row."),
        ([Example("", "x")], "Example 1 has no input. Fill it in, or remove the row."),
    ],
)
def test_a_half_filled_row_is_named(rows: list[Example], problem: str) -> None:
    with pytest.raises(RequestError) as refused:
        apply_state(blank_template("a"), TemplateState("d", examples=tuple(rows)))
    assert str(refused.value) == problem


@pytest.mark.parametrize(
    "rows",
    [(Example("a", "b"), Example("c => d", "e")), (Example("half", ""), Example("", ""), Example("a\nb", " c "))],
)
def test_what_is_not_valid_is_kept_exactly_and_other_platforms_can_go_on_with_it(rows: tuple[Example, ...]) -> None:
    start = blank_template("mood")
    state = TemplateState("", "classify", "Do it.", "no slot", "wild", "n 1", ("x", "y"), rows, rows[:1])
    values = values_of(state)
    assert state_of_values(start, values) == state
    fields = {one.name for one in row_fields(start, values)}
    assert ("examples" in fields) == (len(rows) == 2)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"kind": "poem"},
        {"kind": "complete", "description": 3},
        {"kind": "complete", "examples": [["a"]]},
        {"kind": "complete", "tests": [["a", 1]]},
        {"kind": "complete", "labels": "a"},
    ],
)
def test_a_state_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(RequestError):
        read_state(value)


BASE = TemplateState("d", labels=("a", "b"), examples=(Example("1", "a"), Example("2", "b")))


def test_changes_of_different_fields_and_rows_are_joined() -> None:
    mine = replace(BASE, description="mine", examples=(*BASE.examples, Example("3", "a")))
    theirs = replace(BASE, instruction="theirs", examples=(Example("0", "b"), BASE.examples[1]), labels=("a", "b", "c"))
    joined, clashes = join_states(BASE, mine, theirs)
    assert clashes == ()
    assert (joined.description, joined.instruction, joined.labels) == ("mine", "theirs", ("a", "b", "c"))
    assert joined.examples == (Example("0", "b"), Example("2", "b"), Example("3", "a"))


def test_the_same_text_changed_twice_is_a_clash_that_loses_neither() -> None:
    joined, clashes = join_states(BASE, replace(BASE, description="x"), replace(BASE, description="y"))
    assert joined.description == "x"
    assert clashes == (Clash("description", "y"),)


def test_what_both_did_is_done_once() -> None:
    both = replace(BASE, examples=(*BASE.examples, Example("3", "a")), description="new")
    assert join_states(BASE, both, both) == (both, ())
    mine = replace(both, examples=(*both.examples, Example("4", "b")))
    assert join_states(BASE, mine, both) == (mine, ())


@pytest.mark.parametrize("num", [0, 3, MAX_SHOWN + 1])
def test_the_parts_of_a_prompt_are_the_prompt(num: int) -> None:
    rows = tuple(Example(f"in {i}", "good") for i in range(num))
    state = TemplateState("d", "classify", "Moods. $$5", "Say: $input\n->", labels=("good", "bad"), examples=rows)
    template = apply_state(blank_template("a"), state)
    parts = prompt_parts(template, "a $input")
    assert "".join(text for _, text in parts) == build_prompt(template, "a $input").text
    assert [what for what, _ in parts].count("example") == (min(num, 1) if num > MAX_SHOWN else num)
