"""make measure-templates on a tiny model: every way, every template, and figures that agree with each other."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.templates import TEMPLATES, label_in, measure, moved_on, shuffled
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate

PROMPTS = Path(__file__).resolve().parent.parent / "prompts"
FACTS = {"machine": "A machine", "date": "2026-01-01", "commit": "abc"}


def shipped(name: str) -> PromptTemplate:
    return parse_template((PROMPTS / f"{name}.prompt").read_text(encoding="utf-8"), name=name, source=name)


async def test_every_way_of_every_template_has_a_row(roomy_model: Callable[[str], Path]) -> None:
    text = await measure("tiny", roomy_model("gpt2"), 6, FACTS)
    assert text.startswith("A machine, 2026-01-01, commit abc: `make measure-templates`, tiny in float32")
    rows = re.findall(r"^\| ([a-z0-9, ]+) \| (\d) \| (\d+)% \| (\d+)% to (\d+)% \| ([\d.]*) \| (\d*) \|$", text, re.M)
    ways = ["sampling, temperature 0", "sampling, default options", "likelihood", "calibrated likelihood"]
    assert [row[0] for row in rows] == ways * len(TEMPLATES)
    for name, right, share, low, high, bits, nameless in rows:
        assert int(share) == round(100 * int(right) / 6)
        assert int(low) <= int(share) <= int(high)
        assert bool(bits) == ("likelihood" in name)
        assert bool(nameless) == ("sampling" in name)
        assert not nameless or int(nameless) + int(right) <= 6
    for name in TEMPLATES:
        assert f"| {name}, 6 rows, " in text
    drafts = re.findall(r"labels (shuffled|all wrong): .* \*\*(better|worse|no clear difference)\*\*", text)
    assert [name for name, _ in drafts] == ["shuffled", "all wrong"] * 2


@pytest.mark.parametrize(
    ("text", "label"),
    [(" Positive", "Positive"), ("positive!\nNo", "Positive"), ("Pos", None), ("", None), ("Not Positive", None)],
)
def test_a_written_answer_names_the_label_that_it_begins_with(text: str, label: str | None) -> None:
    assert label_in(text, ("Positive", "Negative")) == label
    assert label_in("scientific", ("sci", "scientific")) == "scientific"


@pytest.mark.parametrize("name", ["sentiment", "topic"])
def test_the_drafts_that_should_be_worse_have_other_labels_and_nothing_else(name: str) -> None:
    template = shipped(name)
    for draft in (shuffled(template), moved_on(template)):
        assert [example.input for example in draft.examples] == [example.input for example in template.examples]
        assert draft.tests == template.tests
        assert draft.examples != template.examples
    assert Counter(e.output for e in shuffled(template).examples) == Counter(e.output for e in template.examples)
    pairs = zip(moved_on(template).examples, template.examples, strict=True)
    assert all(ours.output != theirs.output for ours, theirs in pairs)
