"""Templates that use more examples than their prompt holds: their answers, and the search for the best setting."""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from bot.core.classification import Classification, classify
from bot.core.engine import Asker
from bot.core.mentions import mention
from bot.core.neighbours import Choice, KeptRows, Near
from bot.core.statistics import ClassifyFigures, ClassifyOutcome, FiguresComparison, Interval, compare, paired_bootstrap
from bot.core.stopping import Stopper
from bot.core.templates.template import Example, Neighbours, PromptTemplate
from bot.errors import RequestError
from bot.services.measuring import Measuring, OnProgress

NUM_IN_PROMPT: Final = 16  # unless that leaves less than half of the examples to compare with
MIN_KEPT: Final = 10  # examples outside the prompt


@dataclass(frozen=True, slots=True)
class NearExample:
    """An example near an input, and how alike they are to the model (-1 to 1)."""

    example: Example
    likeness: float


@dataclass(frozen=True, slots=True)
class LabelAnswer:
    """The answer to one input: blended with its nearest examples where the template has `neighbours`.

    `uncalibrated` is the model's own, before calibration.
    """

    result: Classification
    uncalibrated: Classification
    nearest: tuple[NearExample, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found for `template`: the setting with the fewest bits on the kept examples, left out in turn.

    `gain` is the interval of the bits that it saves there. `before` and `after` are the figures on the template's
    tests, None without tests; `before` is the template as it is, or unless that `fits_before` into the model, with the
    new prompt and a weight of 0.
    """

    template: PromptTemplate
    proposal: PromptTemplate
    setting: Neighbours
    choice: Choice
    gain: Interval
    fits_before: bool = True
    before: ClassifyFigures | None = None
    after: ClassifyFigures | None = None
    comparison: FiguresComparison | None = None

    @property
    def is_useful(self) -> bool:
        """Say whether the nearest examples count at all."""
        return self.setting.weight > 0

    @property
    def may_help(self) -> bool:
        """Say whether they count, and more tests are answered right, if there are any."""
        return self.is_useful and (self.comparison is None or self.comparison.interval.mean > 0)

    @property
    def is_sure(self) -> bool:
        """Say whether the tests show that the setting is better."""
        return self.is_useful and self.comparison is not None and self.comparison.verdict == "better"


async def load_kept(
    measuring: Measuring,
    template: PromptTemplate,
    *,
    asker: Asker,
    on_progress: OnProgress | None = None,
    stopper: Stopper | None = None,
) -> KeptRows | None:
    """Return the kept examples as the model reads them; those that are not stored are read. None when stopped.

    Raises RequestError for one that is too long, Unavailable.
    """
    prior = await measuring.prior(template, asker=asker)
    kept = template.kept_examples
    outcomes = await measuring.outcomes(template, kept, asker=asker, on_progress=on_progress, stopper=stopper)
    if outcomes is None:
        return None
    labelled = [outcome for outcome in outcomes if isinstance(outcome, ClassifyOutcome)]
    return await asyncio.to_thread(KeptRows, template.labels, kept, labelled, prior)


async def answer_label(
    measuring: Measuring, template: PromptTemplate, input: str, kept: KeptRows | None, *, asker: Asker
) -> LabelAnswer:
    """Return the answer of a classify template to `input`; `kept` are its kept examples, None if none count.

    Raises PromptTooLong, Unavailable.
    """
    outcome = await measuring.read(template, input, asker=asker)
    uncalibrated = classify(template.labels, outcome.logprobs)
    if kept is None or template.neighbours is None:
        prior = await measuring.prior(template, asker=asker)
        return LabelAnswer(classify(template.labels, outcome.logprobs, prior), uncalibrated)
    blended = classify(template.labels, kept.blend(outcome, template.neighbours))
    near = kept.nearest(outcome, template.neighbours.num_nearest)
    return LabelAnswer(blended, uncalibrated, tuple(_near_example(kept, one) for one in near))


async def known_kept(measuring: Measuring, template: PromptTemplate) -> KeptRows | None:
    """Return what `load_kept` does if all of it is stored, else None; never asks the model."""
    kept = template.kept_examples
    if not kept or (prior := await measuring.known_prior(template)) is None:
        return None
    outcomes = await measuring.known_outcomes(template, kept)
    labelled = [outcome for outcome in outcomes if isinstance(outcome, ClassifyOutcome)]
    if len(labelled) < len(kept):
        return None
    return await asyncio.to_thread(KeptRows, template.labels, kept, labelled, prior)


async def known_nearest(
    measuring: Measuring, template: PromptTemplate, input: str, *, asker: Asker
) -> tuple[NearExample, ...]:
    """Return the examples nearest to `input`; () where not all kept examples are stored. Reads only the input.

    Raises PromptTooLong, Unavailable.
    """
    kept = await known_kept(measuring, template) if template.compares else None
    return () if kept is None else (await answer_label(measuring, template, input, kept, asker=asker)).nearest


def _near_example(kept: KeptRows, near: Near) -> NearExample:
    return NearExample(kept.rows[near.index], near.likeness)


async def with_room(measuring: Measuring, template: PromptTemplate, num_in_prompt: int | None) -> PromptTemplate:
    """Return `template` with a weight of 0 and `num_in_prompt` examples in its prompt.

    Without a number: as many as it has now, else NUM_IN_PROMPT but at most half, and fewer while no message fits.
    Raises RequestError if it is no classify template, for fewer than MIN_KEPT other examples, or if it is too long.
    """
    name = template.name
    if template.kind != "classify":
        raise RequestError(f"{name} has no labels, and only templates with labels can compare their examples.")
    num = min(NUM_IN_PROMPT, len(template.examples) // 2)
    if num_in_prompt is not None:
        num = num_in_prompt
    elif template.neighbours is not None:
        num = template.neighbours.num_in_prompt
    num_kept = len(template.examples) - num
    if num_kept < MIN_KEPT:
        raise RequestError(
            f"{name} has {len(template.examples)} examples, which leaves {max(num_kept, 0)} outside a prompt of {num}."
            f" At least {MIN_KEPT} are needed: add some with {mention(f'prompt examples {name} add')}."
        )
    while True:
        tried = replace(template, neighbours=Neighbours(num, 1, 0.0))
        if num_in_prompt is None and num > 0 and not await _fits(measuring, tried):
            num //= 2
            continue
        await measuring.count_tokens(tried)  # raises for one that does not fit
        return tried


async def find_neighbours(
    measuring: Measuring,
    template: PromptTemplate,
    *,
    num_in_prompt: int | None = None,
    asker: Asker,
    on_progress: OnProgress | None = None,
    stopper: Stopper | None = None,
) -> Found | None:
    """Choose the number of nearest examples and their weight, and compare before and after on the tests.

    None when stopped. Raises as `with_room` does, and RequestError for a row that is too long, Unavailable.
    """
    base = await with_room(measuring, template, num_in_prompt)
    assert base.neighbours is not None
    progress = _Progress(on_progress, len(base.kept_examples) + (2 * len(template.tests)))
    kept = await load_kept(measuring, base, asker=asker, on_progress=progress.on_row, stopper=stopper)
    if kept is None:
        return None
    choice = await asyncio.to_thread(kept.choose)
    setting = Neighbours(base.neighbours.num_in_prompt, choice.num_nearest, choice.weight)
    proposal = replace(base, neighbours=setting)
    gain = await asyncio.to_thread(paired_bootstrap, choice.bits_before, choice.bits_after)
    found = Found(template, proposal, setting, choice, gain, await _fits(measuring, template))
    if not template.tests:
        return found
    before = template if found.fits_before else base
    return await _on_tests(measuring, found, before, asker, progress, stopper)


async def _fits(measuring: Measuring, template: PromptTemplate) -> bool:
    try:
        await measuring.count_tokens(template)
    except RequestError:
        return False
    return True


async def _on_tests(
    measuring: Measuring,
    found: Found,
    before: PromptTemplate,
    asker: Asker,
    progress: "_Progress",
    stopper: Stopper | None,
) -> Found | None:
    """Return `found` with its figures on the tests; None when stopped."""
    tests, figures = found.template.tests, []
    for one in (before, found.proposal):
        # The kept examples are stored by now, so they are counted as done.
        progress.start(len(one.kept_examples))
        measured = await measuring.measure(one, tests, asker=asker, on_progress=progress.on_row, stopper=stopper)
        if not isinstance(measured, ClassifyFigures):
            return None
        figures.append(measured)
    compared = await asyncio.to_thread(compare, figures[1], figures[0])
    return replace(found, before=figures[0], after=figures[1], comparison=compared)


class _Progress:
    """Joins the progress of several measurements to one, which never goes back."""

    def __init__(self, report: OnProgress | None, num_total: int) -> None:
        self._report = report
        self._num_total = num_total
        self._num_before = 0
        self._num_done = 0

    def start(self, num_known: int) -> None:
        """Start the next measurement, whose first `num_known` rows were counted before."""
        self._num_before = self._num_done - num_known

    def on_row(self, num_done: int, _: int) -> None:
        """Report that `num_done` rows of the present measurement are done."""
        self._num_done = min(max(self._num_done, self._num_before + num_done), self._num_total)
        if self._report is not None:
            self._report(self._num_done, self._num_total)
