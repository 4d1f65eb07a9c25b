"""The figures of a template on rows, from what the model said of them."""

from collections.abc import Sequence

from bot.core.neighbours import KeptRows
from bot.core.statistics import (
    ClassifyOutcome,
    CompleteOutcome,
    Figures,
    RowOutcome,
    measure_classify,
    measure_complete,
)
from bot.core.templates.template import Example, PromptTemplate


def measure_template(
    template: PromptTemplate,
    rows: Sequence[Example],
    outcomes: Sequence[RowOutcome],
    prior: Sequence[float] | None,
) -> Figures:
    """Return the figures of `template` on `rows`, blended with its nearest examples where it has `neighbours`.

    `outcomes` are those of the template's kept examples, then those of `rows`. Labels are calibrated if there is a
    `prior`. Raises ValueError without rows, or if the numbers do not agree.
    """
    if template.kind != "classify":
        return measure_complete([outcome for outcome in outcomes if isinstance(outcome, CompleteOutcome)])
    labelled = [outcome for outcome in outcomes if isinstance(outcome, ClassifyOutcome)]
    kept = template.kept_examples
    if template.neighbours is None or prior is None or not kept:
        return measure_classify(labelled, rows, template.labels, prior)
    others = KeptRows(template.labels, kept, labelled[: len(kept)], prior)
    blended = [ClassifyOutcome(others.blend(one, template.neighbours)) for one in labelled[len(kept) :]]
    return measure_classify(blended, rows, template.labels)
