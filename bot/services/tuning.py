"""Search for better examples and a better order, scored on the examples themselves, each left out in turn."""

import asyncio
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.core.engine import Asker
from bot.core.mentions import mention
from bot.core.statistics import (
    ClassifyFigures,
    ClassifyOutcome,
    CompleteOutcome,
    Figures,
    Interval,
    measure_classify,
    measure_complete,
    paired_bootstrap,
)
from bot.core.stopping import Stopper
from bot.core.templates.template import Example, PromptTemplate
from bot.errors import RequestError
from bot.services.measuring import Measuring, OnProgress

MAX_SCORINGS: Final = 2_000  # requests to the model in one search
MIN_EXAMPLES: Final = 3
MAX_ROWS: Final = 32  # of more examples, a sample of this many is left out in turn
NUM_ORDERS: Final = 8
# A smaller gain is not worth a draft: as a share of the bits, and in bits.
MIN_GAIN: Final = 0.01
MIN_GAIN_BITS: Final = 0.01
_SEED: Final = 0
# For classify, one request for the row and three for the content-free inputs of its prompt.
_SCORINGS_PER_ROW: Final = {"classify": 4, "complete": 2, "chat": 2}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant of the examples: its change in words, and the examples by their indexes in the template."""

    what: str
    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """The figures of a candidate on the examples left out in turn, and each row's bits (complete: of its output)."""

    candidate: Candidate
    figures: Figures
    bits: tuple[float, ...]

    @property
    def cost(self) -> float:
        """Return what the search minimizes: mean bits of the right label, or bits per byte."""
        figures = self.figures
        return figures.mean_bits if isinstance(figures, ClassifyFigures) else figures.bits_per_byte


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of a search. The first of `trials` has the unchanged examples; `best` has the lowest cost.

    `gain` is the interval of the bits (per label, or per byte) that `best` saves.
    """

    template: PromptTemplate
    trials: tuple[Trial, ...]
    best: Trial
    gain: Interval
    num_rows: int

    @property
    def is_better(self) -> bool:
        """Say whether the best candidate saves at least MIN_GAIN of the bits and MIN_GAIN_BITS."""
        before = self.trials[0].cost
        return before - self.best.cost >= max(MIN_GAIN * before, MIN_GAIN_BITS)

    @property
    def is_sure(self) -> bool:
        """Say whether the interval of the gain shows that the best candidate is better."""
        return self.gain.low > 0

    @property
    def proposal(self) -> PromptTemplate:
        """Return the template with the best candidate's examples."""
        return with_examples(self.template, self.best.candidate.indexes)


def with_examples(template: PromptTemplate, indexes: Sequence[int]) -> PromptTemplate:
    """Return `template` with these of its examples, in this order."""
    return replace(template, examples=tuple(template.examples[i] for i in indexes))


def candidates_of(template: PromptTemplate) -> tuple[Candidate, ...]:
    """Return the candidates: the unchanged examples, without each one, and in other orders; deterministic.

    The only example of a label is never left out. MAX_SCORINGS limits the number of candidates. Raises RequestError
    for fewer than MIN_EXAMPLES examples, and for examples outside the prompt.
    """
    if template.neighbours is not None:
        off = mention(f"prompt neighbours off {template.name}")
        raise RequestError(f"{template.name} uses examples outside its prompt. Tune it after {off}.")
    num = len(template.examples)
    if num < MIN_EXAMPLES:
        raise RequestError(f"{template.name} has {num} examples, but tuning needs at least {MIN_EXAMPLES}. Add some.")
    chance = random.Random(_SEED)
    outputs = [example.output for example in template.examples]
    drops = [
        Candidate(f"without example {left + 1}", tuple(i for i in range(num) if i != left))
        for left in range(num)
        if template.kind != "classify" or outputs.count(outputs[left]) > 1
    ]
    seen = {tuple(range(num))}
    orders: list[Candidate] = []
    # Three examples have five other orders; each is drawn sooner or later.
    while len(orders) < min(NUM_ORDERS, math.factorial(min(num, 5)) - 1):
        order = tuple(chance.sample(range(num), num))
        if order not in seen:
            seen.add(order)
            orders.append(Candidate("in the order " + " ".join(str(i + 1) for i in order), order))
    num_rows = min(num, MAX_ROWS)
    most = MAX_SCORINGS // (num_rows * _SCORINGS_PER_ROW[template.kind]) - 1
    if len(drops) + len(orders) > most:
        drops = sorted(chance.sample(drops, max(0, most - len(orders))), key=drops.index)
    return (Candidate("unchanged", tuple(range(num))), *drops, *orders)


def count_scorings(template: PromptTemplate) -> int:
    """Return how many requests to the model the search makes at most. Raises as `candidates_of` does."""
    return len(candidates_of(template)) * len(_rows_of(template)) * _SCORINGS_PER_ROW[template.kind]


async def tune(
    measuring: Measuring,
    template: PromptTemplate,
    *,
    asker: Asker,
    on_progress: OnProgress | None = None,
    stopper: Stopper | None = None,
) -> Tuning | None:
    """Measure each candidate on the examples, each left out in turn, never on the tests; None when stopped.

    Raises RequestError for too few examples, Unavailable.
    """
    candidates, rows = candidates_of(template), _rows_of(template)
    trials = []
    for number, candidate in enumerate(candidates):
        trial = await _try(measuring, template, candidate, rows, asker, stopper, on_progress, number, len(candidates))
        if trial is None:
            return None
        trials.append(trial)
    best = min(trials, key=lambda trial: trial.cost)
    gain = await asyncio.to_thread(_gain, trials[0], best)
    return Tuning(template, tuple(trials), best, gain, len(rows))


async def _try(
    measuring: Measuring,
    template: PromptTemplate,
    candidate: Candidate,
    rows: Sequence[int],
    asker: Asker,
    stopper: Stopper | None,
    on_progress: OnProgress | None,
    number: int,
    num_candidates: int,
) -> Trial | None:
    """Measure one candidate: each of `rows` is an example scored with the candidate's other examples."""
    classified: list[ClassifyFigures] = []
    completed: list[CompleteOutcome] = []
    for num_done, (row, asked) in enumerate(_left_out(template, candidate, rows)):
        if on_progress:
            on_progress(number * len(rows) + num_done, num_candidates * len(rows))
        if stopper is not None and stopper.is_stopped:
            return None
        outcomes = await measuring.outcomes(asked, [row], asker=asker, stopper=stopper)
        if outcomes is None:
            return None
        (outcome,) = outcomes
        if isinstance(outcome, ClassifyOutcome):
            prior = await measuring.prior(asked, asker=asker)
            classified.append(measure_classify([outcome], [row], template.labels, prior))
        else:
            completed.append(outcome)
    if classified:
        joined = _joined(template.labels, classified)
        return Trial(candidate, joined, joined.right_bits)
    figures = measure_complete(completed)
    return Trial(candidate, figures, figures.row_bits)


def _left_out(
    template: PromptTemplate, candidate: Candidate, rows: Sequence[int]
) -> Iterator[tuple[Example, PromptTemplate]]:
    """Return each row with the template to score it: with the candidate's examples except those of that input."""
    for row in rows:
        example = template.examples[row]
        others = (template.examples[i] for i in candidate.indexes if i != row)
        kept = tuple(other for other in others if other.input.strip() != example.input.strip())
        yield example, replace(template, examples=kept, tests=())


def _rows_of(template: PromptTemplate) -> tuple[int, ...]:
    num = len(template.examples)
    if num <= MAX_ROWS:
        return tuple(range(num))
    return tuple(sorted(random.Random(_SEED).sample(range(num), MAX_ROWS)))


def _joined(labels: tuple[str, ...], figures: Sequence[ClassifyFigures]) -> ClassifyFigures:
    return ClassifyFigures(
        labels,
        tuple(one.right[0] for one in figures),
        tuple(one.answered[0] for one in figures),
        tuple(one.right_bits[0] for one in figures),
    )


def _gain(before: Trial, after: Trial) -> Interval:
    weights = None
    if not isinstance(before.figures, ClassifyFigures):
        weights = [outcome.num_bytes for outcome in before.figures.outcomes]
    return paired_bootstrap(before.bits, after.bits, weights=weights)
