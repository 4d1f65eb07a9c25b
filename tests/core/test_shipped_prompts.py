"""The prompt files that come with the bot keep the rules, and their tests are held out."""

from pathlib import Path

import pytest

from bot.core.history import Turn
from bot.core.prompt import build_prompt, build_transcript, stops_of
from bot.core.sampling import SamplingParams, apply_options
from bot.core.template import PromptTemplate, format_template, parse_template

PROMPTS = sorted((Path(__file__).parents[2] / "prompts").glob("*.prompt"))
REQUIRED = {
    "chat", "synonyms", "sentiment", "translate-en-fr", "recommend-movies", "question-answer", "summarize",
    "fix-grammar", "story", "headline",
}  # fmt: skip

with_each_prompt = pytest.mark.parametrize("path", PROMPTS, ids=lambda path: path.stem)


def read(path: Path) -> PromptTemplate:
    return parse_template(path.read_text(encoding="utf-8"), name=path.stem, source=path.name)


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
    templates = [read(path) for path in PROMPTS]
    untested = {template.name for template in templates if not 5 <= len(template.tests) <= 12}
    assert untested == {"chat", "story"}


def test_a_zero_shot_prompt_is_asked_the_same_as_its_twin() -> None:
    templates = {path.stem: read(path) for path in PROMPTS}
    few, zero = templates["sentiment"], templates["sentiment-zero"]
    assert (zero.tests, zero.labels) == (few.tests, few.labels)
    assert not zero.examples
    assert few.examples
