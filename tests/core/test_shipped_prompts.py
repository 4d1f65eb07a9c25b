"""The prompt files that come with the bot keep the rules, and their tests are held out."""

import difflib
import itertools
from collections import Counter
from pathlib import Path

import pytest

from bot.core.history import Turn
from bot.core.prompt import build_prompt, build_transcript, stops_of
from bot.core.sampling_params import SamplingParams, apply_options
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import PromptTemplate

PROMPTS_DIR = Path(__file__).parents[2] / "prompts"
PROMPTS = sorted(PROMPTS_DIR.glob("*.prompt"))
REQUIRED = {
    "chat", "synonyms", "sentiment", "translate-en-fr", "recommend-movies", "question-answer", "summarize",
    "fix-grammar", "story", "headline",
}  # fmt: skip
# Accuracy is measured on these and written down, so they have enough rows for it; the rows were committed before.
MEASURED = ("sentiment", "topic")

with_each_prompt = pytest.mark.parametrize("path", PROMPTS, ids=lambda path: path.stem)


def read(path: Path) -> PromptTemplate:
    return parse_template(path.read_text(encoding="utf-8"), name=path.stem, source=path.name)


def is_similar(one: str, other: str) -> bool:
    matcher = difflib.SequenceMatcher(None, one, other)
    return matcher.quick_ratio() > 0.8 and matcher.ratio() > 0.8


def test_the_promised_prompts_are_there() -> None:
    assert {path.stem for path in PROMPTS} >= REQUIRED


@with_each_prompt
def test_each_prompt_keeps_the_rules_and_can_be_put_to_the_model(path: Path) -> None:
    template = read(path)
    params = apply_options(SamplingParams(), template.sampling)
    assert params.n == 1
    assert 10 <= len(template.description) <= 100
    if template.kind == "chat":
        prompt = build_transcript(template, [Turn("Ana", False, "Hello", ("1",))], bot_name="Fewshot")
        assert prompt.text.endswith("\nAna: Hello\nFewshot:")
        return
    for test in template.tests:
        prompt = build_prompt(template, test.input)
        assert prompt.text.count(test.input) == 1
    if template.examples and template.kind == "complete":
        # An answer of the examples' kind would not be cut off.
        assert all(stop not in example.output for stop in stops_of(template) for example in template.examples)


@with_each_prompt
def test_held_out_tests_are_not_among_the_examples(path: Path) -> None:
    template = read(path)
    inputs = [test.input.casefold() for test in template.tests]
    assert len(inputs) == len(set(inputs))
    assert not {example.input.casefold() for example in template.examples} & set(inputs)


@with_each_prompt
def test_each_prompt_means_the_same_in_canonical_form(path: Path) -> None:
    template = read(path)
    assert parse_template(format_template(template), name=template.name, source=path.name) == template


def test_every_prompt_that_can_be_measured_has_tests() -> None:
    untested = {template.name for template in map(read, PROMPTS) if len(template.tests) < 5}
    assert untested == {"chat", "story"}


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_measured_has_a_hundred_rows_and_each_label_as_often(name: str) -> None:
    template = read(PROMPTS_DIR / f"{name}.prompt")
    counts = Counter(test.output for test in template.tests)
    assert counts == dict.fromkeys(template.labels, 100 // len(template.labels))


@pytest.mark.parametrize("name", MEASURED)
def test_measured_rows_are_unlike_each_other_and_the_examples(name: str) -> None:
    template = read(PROMPTS_DIR / f"{name}.prompt")
    rows, examples = ([row.input.casefold() for row in rows] for rows in (template.tests, template.examples))
    pairs = [*itertools.combinations(rows, 2), *itertools.product(rows, examples)]
    assert [pair for pair in pairs if is_similar(*pair)] == []


@pytest.mark.parametrize("name", MEASURED)
def test_no_measured_row_names_a_label(name: str) -> None:
    template = read(PROMPTS_DIR / f"{name}.prompt")
    labels = [label.casefold() for label in template.labels]
    assert [test for test in template.tests if any(label in test.input.casefold() for label in labels)] == []


def test_a_zero_shot_prompt_is_asked_the_same_as_its_twin() -> None:
    templates = {path.stem: read(path) for path in PROMPTS}
    few, zero = templates["sentiment"], templates["sentiment-zero"]
    assert (zero.tests, zero.labels) == (few.tests, few.labels)
    assert not zero.examples
    assert few.examples
