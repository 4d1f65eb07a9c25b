"""Forms and templates: what a form shows says the same template again, and every mistake is one sentence."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.templates.forms import (
    OWN_PRESET,
    SKELETON,
    apply_values,
    blank_template,
    format_labels,
    parse_labels,
    preset_of,
    row_fields,
    text_fields,
)
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.services.templates import TemplateLibrary
from tests.core.test_shipped_prompts import PROMPTS_DIR

SHIPPED = list(TemplateLibrary.read(PROMPTS_DIR))
LINE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="$"), min_size=1).map(
    lambda text: " ".join(text.split()) or "x"
)


def values_of(template: PromptTemplate) -> dict[str, str]:
    return {field.name: field.value for field in (*text_fields(template), *row_fields(template))}


@pytest.mark.parametrize("template", SHIPPED, ids=lambda template: template.name)
def test_a_form_that_is_sent_as_it_was_opened_changes_nothing(template: PromptTemplate) -> None:
    assert apply_values(template, values_of(template)) == template
    through_discord = {name: text.strip().replace("\n", "\r\n") for name, text in values_of(template).items()}
    assert apply_values(template, through_discord) == template, "line breaks and white space at the ends are the form's"
    assert apply_values(template, {}) == template


@given(description=LINE, instruction=LINE, labels=st.lists(LINE, min_size=2, max_size=5, unique=True), row=LINE)
def test_what_is_typed_is_what_the_template_says(
    description: str, instruction: str, labels: list[str], row: str
) -> None:
    values = {
        "description": description,
        "instruction": instruction,
        "query": "$input ->",
        "labels": "\n".join(labels),
        "file": "",
    }
    template = apply_values(blank_template("mine"), values)
    assert (template.description, template.instruction) == (description, f"{instruction}\n\n")
    assert (template.kind, template.labels) == ("classify", tuple(labels))
    assert apply_values(template, values_of(template)) == template
    read_again = parse_template(template.source_text, name="mine", source="mine")
    assert read_again == template
    with_rows = apply_values(template, {"examples": f"{row.replace(' => ', ' ')} => {labels[0]}"})
    assert len(with_rows.examples) == 1


def test_labels_with_commas_stand_one_a_line() -> None:
    for labels in (("Yes", "No"), ("Yes, please", "No")):
        assert parse_labels(format_labels(labels)) == labels
    assert parse_labels(" A ,, B \n") == ("A", "B")
    assert parse_labels("") == ()


def test_examples_of_a_template_without_any_get_a_place_and_end_answers() -> None:
    template = apply_values(blank_template("mine"), {"description": "Mine.", "query": "$input ="})
    assert not template.has_examples_slot
    template = apply_values(template, {"examples": "a => b"})
    assert template.has_examples_slot
    assert template.stop == ("\n",)
    assert apply_values(template, {"examples": ""}).stop == ()
    own = replace(template, stop=("!",))
    assert apply_values(own, {"examples": ""}).stop == ("!",), "stop texts of its own stay"


def test_a_whole_text_in_the_query_keeps_its_place_for_the_examples() -> None:
    values = {"description": "Mine.", "query": "Greetings.\n\n$examples\n$input =", "examples": "a => b"}
    template = apply_values(blank_template("mine"), values)
    assert (template.instruction, template.query) == ("Greetings.\n\n", "$input =")


def test_a_preset_takes_the_place_of_what_it_decides() -> None:
    template = next(one for one in SHIPPED if one.kind == "complete")
    own = replace(template, sampling={"temperature": 0.3, "max_new_tokens": 7})
    assert preset_of(own) == OWN_PRESET
    wild = apply_values(own, {"preset": "wild"})
    assert wild.sampling == {"preset": "wild", "max_new_tokens": 7}
    assert apply_values(wild, {"preset": OWN_PRESET}).sampling == wild.sampling
    assert preset_of(replace(template, sampling={})) == "normal"


@pytest.mark.parametrize("kind", ["chat", "complete", "classify"])
def test_another_kind_drops_what_it_does_not_know(kind: str) -> None:
    for template in SHIPPED:
        values = {"kind": kind, "instruction": "", "examples": "", "tests": "", "labels": "A, B"}
        changed = apply_values(template, values if kind == "classify" else values | {"labels": ""})
        assert changed.kind == kind
        assert changed.labels == (("A", "B") if kind == "classify" else ())


def test_fields_that_a_form_would_cut_are_left_out() -> None:
    template = next(one for one in SHIPPED if one.kind == "classify")
    long = replace(template, instruction="x" * 4001 + "\n")
    assert "instruction" not in {field.name for field in text_fields(long, max_characters=4000)}
    assert apply_values(long, {"description": "Other."}).instruction == long.instruction
    broken = apply_values(template, {"file": ""})
    rows = (replace(broken.examples[0], input="two\nlines"), *broken.examples[1:])
    names = [field.name for field in row_fields(replace(broken, examples=rows))]
    assert names[0] == "more_examples"
    assert all(len(field.help) <= 100 and len(field.label) <= 45 for field in (*text_fields(long), *row_fields(long)))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"labels": "A"}, "Kind classify needs 2 to 50 labels: the answers that it chooses from."),
        ({"labels": "Positive, Bad"}, "Example 2 has the output 'Negative', which is not a label."),
        ({"examples": "no arrow"}, "Examples: Line 1 has no =>; write it as"),
        ({"tests": "a => Maybe"}, "Tests: Line 1 has the output 'Maybe', which is not a label"),
        ({"query": "$input and $input"}, "$input is here a second time. Remove one of them."),
        ({"instruction": "$input"}, "$input is here a second time. Remove one of them."),
        ({"instruction": "\x07"}, "This line contains a control character, U+0007. Remove it."),
        (
            {"file": "+++\n+++\n"},
            "Line 3 of the file: There is no text below the front matter. Write the prompt there.",
        ),
        ({"file": SKELETON}, "Line 2 of the file: The description is missing"),
    ],
)
def test_a_mistake_is_one_sentence(values: dict[str, str], sentence: str) -> None:
    sentiment = next(one for one in SHIPPED if one.name == "sentiment")
    with pytest.raises(RequestError) as refused:
        apply_values(sentiment, values)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)
