"""The result of one test row, and how it differs from that of another version."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.core.classification import classify
from bot.core.neighbours import KeptRows
from bot.core.statistics import ClassifyOutcome, RowOutcome
from bot.core.templates.template import Example, PromptTemplate


@dataclass(frozen=True, slots=True)
class RowResult:
    """What a template made of a test row.

    For labels, `answered` is the likeliest one and `probabilities` are those of all, calibrated, in the template's
    order. For free text both are empty; `is_right` says whether exactly the right answer was written (None: not
    tested), and `bits` is the right answer's surprisal.
    """

    is_right: bool | None
    bits: float
    answered: str = ""
    probabilities: tuple[float, ...] = ()


def row_result(
    template: PromptTemplate,
    row: Example,
    outcome: RowOutcome,
    prior: Sequence[float] | None = None,
    kept: KeptRows | None = None,
) -> RowResult:
    """Return the result of a row from its measured outcome.

    `prior` calibrates labels; a template with `neighbours` blends them with its `kept` examples.
    """
    if not isinstance(outcome, ClassifyOutcome):
        return RowResult(outcome.is_exact, outcome.nats / math.log(2))
    if kept is not None and template.neighbours is not None:
        found = classify(template.labels, kept.blend(outcome, template.neighbours))
    else:
        found = classify(template.labels, outcome.logprobs, prior)
    share = dict(zip(found.labels, found.probabilities, strict=True)).get(row.output, 0.0)
    bits = -math.log2(share) if share > 0 else math.inf
    return RowResult(found.label == row.output, bits, found.label, found.probabilities)


def is_changed(result: RowResult, other: RowResult | None) -> bool:
    """Say whether another version answers a row otherwise: with another label, or right where this one is wrong."""
    return other is not None and (result.answered, result.is_right) != (other.answered, other.is_right)
