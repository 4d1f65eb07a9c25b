"""How often the shipped classify templates are right on their held-out rows, by each way of asking a model.

Run by `make measure-templates`; the rows were written and committed before anything was measured on them.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.__main__ import describe_run
from benchmarks.bench import Machine
from bot.core.engine import Asker
from bot.core.prompt import build_prompt
from bot.core.sampling_params import SamplingParams
from bot.core.statistics import ClassifyFigures, ClassifyOutcome, compare, measure_classify, paired_bootstrap
from bot.core.statistics import wilson_interval as interval_of
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import Example, PromptTemplate
from bot.engine.engine import LocalEngine
from bot.engine.models.catalog import resolve_model
from bot.services.measuring import Measuring
from bot.settings import Settings
from bot.store.store import Store

TEMPLATES: Final = ("sentiment", "topic", "sentiment-zero")
_PROMPTS: Final = Path(__file__).resolve().parent.parent / "prompts"
_ME: Final = Asker("measuring", "measuring")
_SEED: Final = 0
_MAX_NEW_TOKENS: Final = 8  # enough for every label
# The likeliest tokens, then as a person who gives no option gets it.
_SAMPLED: Final = {
    "sampling, temperature 0": SamplingParams(temperature=0, repetition_penalty=1.0),
    "sampling, default options": SamplingParams(),
}


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking: which rows it got right, and what else is known of it."""

    name: str
    is_right: tuple[bool, ...]
    bits: float | None = None
    num_nameless: int | None = None


def shuffled(template: PromptTemplate) -> PromptTemplate:
    """Return `template` with its examples' outputs dealt out anew, always in the same way."""
    outputs = [example.output for example in template.examples]
    random.Random(_SEED).shuffle(outputs)
    return _with_outputs(template, outputs)


def moved_on(template: PromptTemplate) -> PromptTemplate:
    """Return `template` with each example's output replaced by the next label, so that every one is wrong."""
    following = dict(zip(template.labels, (*template.labels[1:], template.labels[0]), strict=True))
    return _with_outputs(template, [following[example.output] for example in template.examples])


def _with_outputs(template: PromptTemplate, outputs: Sequence[str]) -> PromptTemplate:
    examples = (replace(example, output=output) for example, output in zip(template.examples, outputs, strict=True))
    return replace(template, examples=tuple(examples))


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that a written answer begins with, whatever its case; the longest where several fit."""
    words = text.strip().casefold()
    return max((label for label in labels if words.startswith(label.casefold())), key=len, default=None)


async def sample(
    engine: LocalEngine, template: PromptTemplate, rows: Sequence[Example], params: SamplingParams, name: str
) -> Way:
    """Let the model write each answer, as in a prompt without a bot around it, and see which label it begins with."""
    is_right, num_nameless = [], 0
    for seed, row in enumerate(rows):
        params = replace(params, seed=seed, max_new_tokens=_MAX_NEW_TOKENS, stop=("\n",))
        generation = engine.generate(build_prompt(template, row.input), params)
        async with generation:
            async for _ in generation:
                pass
        label = label_in(generation.completions[0].text, template.labels)
        is_right.append(label == row.output)
        num_nameless += label is None
    return Way(name, tuple(is_right), num_nameless=num_nameless)


async def measure_template(
    engine: LocalEngine, measuring: Measuring, template: PromptTemplate, rows: Sequence[Example]
) -> str:
    """Return the table of one template, all ways, and the draft with wrong examples beside it."""
    outcomes = await measuring.outcomes(template, rows, asker=_ME)
    assert outcomes is not None
    labelled = [outcome for outcome in outcomes if isinstance(outcome, ClassifyOutcome)]
    uncalibrated = measure_classify(labelled, rows, template.labels)
    calibrated = await measuring.measure(template, rows, asker=_ME)
    assert isinstance(calibrated, ClassifyFigures)
    ways = [await sample(engine, template, rows, params, name) for name, params in _SAMPLED.items()]
    ways.append(Way("likelihood", uncalibrated.is_right, uncalibrated.mean_bits))
    ways.append(Way("calibrated likelihood", calibrated.is_right, calibrated.mean_bits))
    lines = [*_table(template, ways), ""]
    lines += [_difference(ways[-1], other) for other in ways[:-1]]
    if template.examples:
        for name, draft in (("shuffled", shuffled(template)), ("all wrong", moved_on(template))):
            figures = await measuring.measure(draft, rows, asker=_ME)
            assert isinstance(figures, ClassifyFigures)
            lines.append(_draft_line(name, figures, calibrated))
    return "\n".join(lines)


def _table(template: PromptTemplate, ways: Sequence[Way]) -> Iterator[str]:
    num_rows = len(ways[0].is_right)
    yield f"| {template.name}, {num_rows} rows, {len(template.labels)} labels, {len(template.examples)} examples |" + (
        " right | accuracy | 95 % interval | bits of the right label | named no label |"
    )
    yield "|---|---|---|---|---|---|"
    for way in ways:
        interval = interval_of(sum(way.is_right), num_rows)
        bits = "" if way.bits is None else f"{way.bits:.3f}"
        nameless = "" if way.num_nameless is None else str(way.num_nameless)
        yield (
            f"| {way.name} | {sum(way.is_right)} | {interval.mean:.0%} | {interval.low:.0%} to {interval.high:.0%} |"
            f" {bits} | {nameless} |"
        )


def _difference(way: Way, other: Way) -> str:
    gain = paired_bootstrap(way.is_right, other.is_right)
    return (
        f"- {way.name} against {other.name}: {100 * gain.mean:+.0f} points"
        f" ({100 * gain.low:+.0f} to {100 * gain.high:+.0f})."
    )


def _draft_line(name: str, draft: ClassifyFigures, published: ClassifyFigures) -> str:
    found = compare(draft, published)
    gain, share = found.interval, draft.accuracy_interval
    return (
        f"- A draft with its examples' labels {name}: {share.mean:.0%} ({share.low:.0%} to {share.high:.0%}),"
        f" {100 * gain.mean:+.0f} points ({100 * gain.low:+.0f} to {100 * gain.high:+.0f}): **{found.verdict}**."
    )


async def measure(model: str, folder: Path, num_rows: int | None, facts: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    sections = [
        f"{facts['machine']}, {facts['date']}, commit {facts['commit']}: `make measure-templates`, {model} in"
        " float32 on the processor. Intervals of a share are Wilson's, of a difference a paired bootstrap's (10,000"
        " resamples)."
    ]
    with tempfile.TemporaryDirectory() as place:
        database = Path(place) / "measured.db"
        async with (
            Store.open(database) as store,
            LocalEngine.open(folder, name=model, device="cpu", precision="float32") as engine,
        ):
            measuring = Measuring(engine, store)
            for name in TEMPLATES:
                sys.stderr.write(f"{name} …\n")
                text = (_PROMPTS / f"{name}.prompt").read_text(encoding="utf-8")
                template = parse_template(text, name=name, source=name)
                sections.append(await measure_template(engine, measuring, template, template.tests[:num_rows]))
    return "\n\n".join(sections) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.templates", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="a pulled model's name, or a folder")
    parser.add_argument("--rows", type=int, help="only the first so many rows, to see that it works")
    chosen = parser.parse_args(arguments)
    choice = resolve_model(chosen.model, Settings.from_env().models_dir)
    facts = describe_run(Machine("cpu", os.cpu_count() or 1), is_quick=chosen.rows is not None)
    sys.stdout.write(asyncio.run(measure(Path(choice.name).name, choice.folder, chosen.rows, facts)))


if __name__ == "__main__":
    main()
