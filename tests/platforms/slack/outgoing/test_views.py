"""Forms as modals of Slack: within its limits, and their mistakes at the right field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.cards import Form, FormField, SelectOption
from bot.core.templates.forms import row_fields, text_fields
from bot.core.templates.parsing import parse_template
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.outgoing.views import Origin, field_errors, read_submission, view_of
from bot.platforms.slack.traits import MAX_FORM_CHARACTERS
from tests.bots import PROMPTS
from tests.servers.slack.checking import view_findings

HERE = Origin(
    Address("T" * 11, "C" * 11, "1700000000.000100"),
    SlackId("T" * 11, "C" * 11, "1700000000.000200"),
    response_url="https://hooks.slack.com/actions/" + "x" * 150,
    is_private=True,
)
FAMILY = "👩‍👩‍👧"  # five characters that people see as one
TEXTS = st.text(max_size=200) | st.sampled_from([FAMILY * 700, "x" * 3001, "a\nb", ""])
# Slack takes 75 characters; there may be a hundred, so these are not as long as what a field may hold.
LABELS = st.text(max_size=100) | st.sampled_from([FAMILY * 30, "x" * 301, "a\nb", ""])
OPTIONS = st.lists(
    st.builds(SelectOption, st.text(min_size=1, max_size=75), LABELS, LABELS, st.booleans()),
    min_size=1,
    max_size=120,
    unique_by=lambda one: one.value,
)
FIELDS = st.lists(
    st.builds(
        FormField,
        st.text("abc_", min_size=1, max_size=20),
        TEXTS,
        st.sampled_from(["line", "paragraph", "choice", "file"]),
        help=TEXTS,
        value=TEXTS,
        is_required=st.booleans(),
        max_characters=st.none() | st.integers(1, 4000),
        options=OPTIONS.map(tuple),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda field: field.name,
)


def test_a_title_that_is_too_long_is_cut_at_a_word_and_whole_above_the_fields():
    title = "Examples and tests of question-answer"
    view = view_of(Form("f", title, (FormField("a", "A", "line"),)), HERE)
    assert view["title"]["text"] == "Examples and tests of…"
    assert view["blocks"][0]["elements"][0]["text"] == title
    short = view_of(Form("f", "Template mood", (FormField("a", "A", "line"),)), HERE)
    assert [block["type"] for block in short["blocks"]] == ["input"]


@given(TEXTS, FIELDS)
def test_no_form_breaks_a_limit(title: str, fields: list[FormField]):
    view = view_of(Form("f" * 36, title, tuple(fields)), HERE)
    assert list(view_findings(view, lambda _: None, is_home=False)) == []
    inputs = [block for block in view["blocks"] if block["type"] == "input"]
    for block, field in zip(inputs, fields, strict=True):
        assert block["block_id"] == field.name
        value = block["element"].get("initial_value", "")
        assert value == field.value[: len(value)]
        # One that is alone too long is cut.
        assert not field.value[len(value) :].startswith("\u200d") or len(value) < len(FAMILY)


def test_a_value_that_does_not_fit_is_cut_and_the_hint_says_so():
    field = FormField("text", "Text", "paragraph", value="x" * 4000)
    (block,) = view_of(Form("f", "Try", (field,)), HERE)["blocks"]
    assert len(block["element"]["initial_value"]) == MAX_FORM_CHARACTERS
    assert block["hint"]["text"] == "Only the first 3,000 of 4,000 characters fit here; the rest is cut."


def submitted(view: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {**view, "state": {"values": {name: {"value": element} for name, element in values.items()}}}


def test_a_submission_brings_back_the_place_the_values_and_the_files():
    fields = (FormField("a", "A"), FormField("b", "B", "choice", options=(SelectOption("1", "one"),)))
    view = view_of(Form("form-1", "Title", (*fields, FormField("c", "C", "file"))), HERE)
    file = {"id": "F1", "name": "x.prompt"}
    found = read_submission(
        submitted(
            view,
            {
                "a": {"type": "plain_text_input", "value": None},
                "b": {"type": "static_select", "selected_option": {"value": "1"}},
                "c": {"type": "file_input", "files": [file]},
            },
        )
    )
    assert found is not None
    assert (found.form_id, found.origin) == ("form-1", HERE)
    assert dict(found.values) == {"a": "", "b": "1", "c": ""}
    assert dict(found.files) == {"c": file}
    assert read_submission({"callback_id": "another app's"}) is None
    assert len(json.dumps(view["private_metadata"])) < 1000


TEMPLATE = parse_template(PROMPTS["sentiment"], name="sentiment", source="sentiment")
FORMS = {"texts": text_fields(TEMPLATE), "rows": row_fields(TEMPLATE)}


@pytest.mark.parametrize(
    ("form", "sentence", "field"),
    [
        ("texts", "The text needs $input exactly once, where the input goes.", "query"),
        ("texts", "A template of kind classify needs at least two labels.", "labels"),
        ("texts", "Example 1 has the output 'x', which is not a label. Change the labels or the row.", "labels"),
        ("texts", "The description is missing.", "description"),
        ("texts", "Line 3 of the file: this key has no value.", "file"),
        ("texts", "Something else.", "description"),
        ("rows", "Examples: line 2 has no =>.", "examples"),
        ("rows", "Tests: line 2 has no =>.", "tests"),
        ("rows", "Test 2 has the output 'x', which is not a label. Change the labels or the row.", "tests"),
        ("rows", "Example 2 has the output 'x', which is not a label. Change the labels or the row.", "examples"),
    ],
)
def test_a_mistake_is_shown_at_the_field_that_it_names(form: str, sentence: str, field: str):
    view = view_of(Form("f", "Title", FORMS[form]), HERE)
    assert field_errors(view, sentence) == {"response_action": "errors", "errors": {field: sentence}}


@pytest.mark.parametrize(
    ("instruction", "query", "sentence", "field"),
    [
        ("use $input", "S: $input", "$input is here a second time. Remove one of them.", "instruction"),
        ("Decide.", "$input $input", "$input is here a second time. Remove one of them.", "query"),
        ("x $foo", "S: $input", "There is no slot $foo; use $examples or $input.", "instruction"),
        ("x", "S: $input $foo", "There is no slot $foo; use $examples or $input.", "query"),
        ("$examples $examples", "S: $input", "$examples must be alone on its line.", "instruction"),
        ("Decide.", "", "The text needs $input exactly once, where the input goes.", "query"),
    ],
)
def test_a_mistake_with_a_slot_is_shown_at_the_field_that_has_it(
    instruction: str, query: str, sentence: str, field: str
):
    view = view_of(Form("f", "Title", FORMS["texts"]), HERE)
    entered = {"instruction": instruction, "query": query, "labels": ""}
    view["state"] = {"values": {name: {"value": {"value": text}} for name, text in entered.items()}}
    assert list(field_errors(view, sentence)["errors"]) == [field]
