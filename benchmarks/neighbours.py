"""What the nearest examples add to calibrated likelihood, on three sets that were committed before any measurement.

Run by `make measure-neighbours`; benchmarks/neighbour_sets/README.md says what the sets are.
"""

import argparse
import asyncio
import csv
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.__main__ import describe_run
from benchmarks.bench import Machine
from bot.core.engine import Asker
from bot.core.statistics import ClassifyFigures, compare
from bot.core.templates.template import Example, Neighbours, PromptTemplate
from bot.engine.engine import LocalEngine
from bot.engine.models.catalog import resolve_model
from bot.errors import RequestError
from bot.services.measuring import Measuring
from bot.services.neighbours import NUM_IN_PROMPT, find_neighbours
from bot.settings import Settings
from bot.store.store import Store

_SETS: Final = Path(__file__).resolve().parent / "neighbour_sets"
_ME: Final = Asker("measuring", "measuring")
_NUM_QUICK: Final = 12  # tests, with four times as many examples
# How each set is put to the model, written before anything was measured.
_ASKED: Final = {
    "question-type": ("What kind of answer each question asks for.\n\n", "Question: $input\nKind:"),
    "review-stars": ("How good the reviewer finds the film.\n\n", "Review: $input\nFilm:"),
    "source": ("Where each sentence is from.\n\n", "Sentence: $input\nFrom:"),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of a set by each way, on its held-out rows, and the setting that leave-one-out chose.

    Each way has its figures and the number of tokens in its prompt, around a message of one letter.
    """

    template: PromptTemplate
    setting: Neighbours
    ways: dict[str, tuple[ClassifyFigures, int]]


def read_set(name: str, num_tests: int | None = None) -> PromptTemplate:
    """Return a set as a template, with at most `num_tests` of its tests and then as few examples."""
    with (_SETS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    train = tuple(Example(row["input"], row["output"]) for row in rows if row["split"] == "train")
    tests = tuple(Example(row["input"], row["output"]) for row in rows if row["split"] == "test")
    instruction, query = _ASKED[name]
    return PromptTemplate(
        name=name,
        kind="classify",
        description=instruction.strip(),
        instruction=instruction,
        query=query,
        has_examples_slot=True,
        examples=train if num_tests is None else train[: 4 * num_tests],
        tests=tests[:num_tests],
        labels=tuple(sorted({row.output for row in train})),
        example_separator="\n\n",
    )


async def measure_set(measuring: Measuring, template: PromptTemplate, num_in_prompt: int = NUM_IN_PROMPT) -> Measured:
    """Return the figures of one set; the choice reads only its examples."""

    def on_progress(num_done: int, num_rows: int) -> None:
        if num_done % 50 == 0 or num_done == num_rows:
            sys.stderr.write(f"{template.name}: {num_done} of {num_rows} rows\n")

    # With a setting, so that before is not measured with all examples in the prompt, which is done below.
    start = replace(template, neighbours=Neighbours(num_in_prompt, 1, 0.0))
    found = await find_neighbours(measuring, start, num_in_prompt=num_in_prompt, asker=_ME, on_progress=on_progress)
    assert found is not None
    prompt = replace(found.proposal, neighbours=replace(found.setting, weight=0.0))
    fullest = await _fullest(measuring, template)
    ways = {
        f"calibrated likelihood, {len(prompt.prompt_examples)} examples in the prompt": prompt,
        f"calibrated likelihood, {len(fullest.prompt_examples)} examples in the prompt": fullest,
        "nearest examples alone": replace(prompt, neighbours=replace(found.setting, weight=1.0)),
        "blend": found.proposal,
    }
    figures = {}
    for name, way in ways.items():
        sys.stderr.write(f"{template.name}: {name}\n")
        measured = await measuring.measure(way, template.tests, asker=_ME, on_progress=on_progress)
        assert isinstance(measured, ClassifyFigures)
        figures[name] = (measured, (await measuring.count_tokens(way)).num_prompt_tokens)
    return Measured(prompt, found.setting, figures)


async def _fullest(measuring: Measuring, template: PromptTemplate) -> PromptTemplate:
    """Return `template` with as many examples in the prompt as leave room for each test."""
    longest = max((test.input for test in template.tests), key=len)
    # The room is counted in tokens, of which no text has more than bytes.
    num_needed = len(longest.encode())
    for num in range(len(template.examples), -1, -8):
        tried = replace(template, neighbours=Neighbours(num, 1, 0.0))
        try:
            cost = await measuring.count_tokens(tried)
        except RequestError:
            continue
        if cost.num_left_for_input >= num_needed:
            return tried
    raise RequestError(f"No test of {template.name} fits this model.")


def tell(measured: Measured) -> str:
    """Return the table of one set and the differences, as Markdown."""
    return "\n".join([*_table(measured), "", *_differences(measured)])


def _table(measured: Measured) -> Iterator[str]:
    template = measured.template
    heading = (
        f"{template.name}, {len(template.tests)} tests, {len(template.labels)} labels,"
        f" {len(template.examples)} examples"
    )
    yield f"| {heading} | right | accuracy | 95 % interval | bits of the right label | tokens in the prompt |"
    yield "|---|---|---|---|---|---|"
    for name, (figures, num_tokens) in measured.ways.items():
        share = figures.accuracy_interval
        yield (
            f"| {name} | {sum(figures.is_right)} | {share.mean:.0%} | {share.low:.0%} to {share.high:.0%} |"
            f" {figures.mean_bits:.3f} | {num_tokens:,} |"
        )


def _differences(measured: Measured) -> Iterator[str]:
    setting, ways = measured.setting, measured.ways
    num_kept = len(measured.template.kept_examples)
    yield (
        f"- Chosen by leave-one-out on the {num_kept} examples outside the prompt: the {setting.num_nearest} nearest,"
        f" with a weight of {setting.weight:.0%}."
    )
    for other in [name for name in ways if name != "blend"]:
        found = compare(ways["blend"][0], ways[other][0])
        gain = found.interval
        yield (
            f"- blend against {other}: {100 * gain.mean:+.0f} points ({100 * gain.low:+.0f} to"
            f" {100 * gain.high:+.0f}): **{found.verdict}**."
        )


async def measure(model: str, folder: Path, num_tests: int | None, facts: dict[str, Any]) -> AsyncIterator[str]:
    """Yield each table as Markdown as soon as it is there."""
    yield (
        f"{facts['machine']}, {facts['date']}, commit {facts['commit']}: `make measure-neighbours`, {model} in"
        " float32 on the processor. Intervals of a share are Wilson's, of a difference a paired bootstrap's (10,000"
        " resamples)."
    )
    with tempfile.TemporaryDirectory() as place:
        async with (
            Store.open(Path(place) / "measured.db") as store,
            LocalEngine.open(folder, name=model, device="cpu", precision="float32") as engine,
        ):
            measuring = Measuring(engine, store)
            for name in _ASKED:
                yield tell(await measure_set(measuring, read_set(name, num_tests)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="a pulled model's name, or a folder")
    parser.add_argument("--quick", action="store_true", help="only a few rows, to see that it works")
    chosen = parser.parse_args(arguments)
    choice = resolve_model(chosen.model, Settings.from_env().models_dir)
    facts = describe_run(Machine("cpu", os.cpu_count() or 1), is_quick=chosen.quick)
    num_tests = _NUM_QUICK if chosen.quick else None
    asyncio.run(_print(measure(Path(choice.name).name, choice.folder, num_tests, facts)))


async def _print(sections: AsyncIterator[str]) -> None:
    async for section in sections:
        sys.stdout.write(f"{section}\n\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
