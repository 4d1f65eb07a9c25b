"""The score of a template on its tests, beside the published version: loaded, or measured with progress."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from bot.commands.context import Services
from bot.commands.framework.progress import Finished, watched
from bot.core.cards import Card
from bot.core.engine import Asker
from bot.core.mentions import mention
from bot.core.messages import Scope
from bot.core.statistics import ClassifyFigures, Figures, FiguresComparison, compare
from bot.core.stopping import Stopper
from bot.core.templates.template import PromptTemplate
from bot.core.templates.worth import Worth
from bot.errors import RequestError
from bot.services.measuring import OnProgress, TokenCost
from bot.services.worth import known_worth, measure_worth, num_asked
from bot.store.templates import StoredTemplate


@dataclass(frozen=True, slots=True)
class TemplateScore:
    """The figures of a template on its tests, and of the published version on the same tests.

    `template` is the draft, or without `is_draft` the published version itself; its `worth` is None if it was not
    measured. `published` is what members use (None: nothing) as version `number`, 0 for a built-in one, which is not
    `stored`. Its figures are None if they were not measured, or can't be compared with the template's. `model` is the
    fingerprint of what measures it, and `named_model` its name where there are several.
    """

    template: PromptTemplate
    is_draft: bool
    published: PromptTemplate | None
    number: int
    stored: StoredTemplate | None
    model: str
    cost: TokenCost
    published_cost: TokenCost | None = None
    worth: Worth | None = None
    published_figures: Figures | None = None
    comparison: FiguresComparison | None = None
    named_model: str = ""

    @property
    def figures(self) -> Figures | None:
        """Return the figures of the template."""
        return None if self.worth is None else self.worth.figures

    @property
    def is_comparable(self) -> bool:
        """Say whether the published version can be compared: it has the same sort of figures, and fits the model."""
        if self.published is None or self.published_cost is None:
            return False
        return (self.published.kind == "classify") == (self.template.kind == "classify")

    @property
    def is_stale(self) -> bool:
        """Say whether the score stored with the published version is of another model."""
        return self.stored is not None and self.stored.score is not None and self.stored.score_model != self.model


async def load_score(services: Services, scope: Scope, name: str, draft: PromptTemplate | None) -> TemplateScore:
    """Return the stored score of `draft`, or if it is None of the published template `name`; never asks the model.

    Raises RequestError if there is no such template, or if it leaves no room for a message.
    """
    score = await _unmeasured(services, scope, name, draft)
    rows = score.template.tests
    worth = await known_worth(services.measuring, score.template)
    if worth is None and (figures := await services.measuring.cached(score.template, rows)) is not None:
        worth = Worth(figures)  # measured when there was no fit yet
    published_figures = None
    if score.is_draft and score.is_comparable:
        assert score.published is not None
        published_figures = await services.measuring.cached(score.published, rows)
    return await _compared(score, worth, published_figures)


async def measure_score(
    services: Services,
    scope: Scope,
    name: str,
    draft: PromptTemplate | None,
    *,
    asker: Asker,
    stopper: Stopper,
    on_progress: OnProgress,
) -> TemplateScore | None:
    """Measure what `load_score` returns, on the template's own tests; return None when stopped.

    The published version's figures are stored with it if they are of its own tests.
    """
    score = await _unmeasured(services, scope, name, draft)
    rows = score.template.tests
    if not rows:
        add = mention(f"prompt tests {name} add INPUT => OUTPUT")
        raise RequestError(f"{name} has no tests. Add some that are not among the examples, with {add}.")
    published: Figures | None = None
    compared = score.published if score.is_draft and score.is_comparable else None
    num_published = len(compared.kept_examples) + len(rows) if compared else 0
    num_before, num_all = 0, num_asked(score.template) + num_published

    def on_row(num_done: int, _: int) -> None:
        on_progress(num_before + num_done, num_all)

    measuring = services.measuring
    if compared is not None:
        published = await measuring.measure(compared, rows, asker=asker, on_progress=on_row, stopper=stopper)
        if published is None:
            return None
        num_before = num_published
    worth = await measure_worth(measuring, score.template, asker=asker, on_progress=on_row, stopper=stopper)
    if worth is None:
        return None
    score = await _compared(score, worth, published)
    await _keep_score(services, scope, score, published or worth.figures)
    return replace(score, stored=(await services.templates.of(scope)).own(name))


async def _unmeasured(services: Services, scope: Scope, name: str, draft: PromptTemplate | None) -> TemplateScore:
    library = await services.templates.of(scope)
    published = library.get(name) if draft is None or name in library.names else None
    template = draft if draft is not None else published
    assert template is not None  # library.get has raised
    cost = await services.measuring.count_tokens(template)
    published_cost = None
    if draft is not None and published is not None:
        # The version may have been published with a model of a longer context.
        with contextlib.suppress(RequestError):
            published_cost = await services.measuring.count_tokens(published)
    return TemplateScore(
        template=template,
        is_draft=draft is not None,
        published=published,
        number=library.number(name),
        stored=library.own(name),
        model=services.measuring.fingerprint,
        cost=cost,
        published_cost=published_cost,
        named_model=services.named_model,
    )


async def _compared(score: TemplateScore, worth: Worth | None, published: Figures | None) -> TemplateScore:
    comparison = None
    if worth is not None and published is not None:
        # The bootstrap is slow for many rows.
        comparison = await asyncio.to_thread(compare, worth.figures, published)
    return replace(score, worth=worth, published_figures=published, comparison=comparison)


async def _keep_score(services: Services, scope: Scope, score: TemplateScore, figures: Figures) -> None:
    """Store the figures with the published version, if they are of it and of its own tests."""
    published = score.published
    is_its_own = published is not None and score.stored is not None and published.tests == score.template.tests
    if published is None or not is_its_own or (score.is_draft and score.published_figures is None):
        return
    kept = score_to_keep(figures)
    if score.stored is not None and (score.stored.score != kept or score.is_stale):
        await services.store.set_score(
            scope, published.name, score.number, version=published.version, score=kept, model=score.model
        )


def score_to_keep(figures: Figures) -> dict[str, Any]:
    """Return the figures as they are stored with a version."""
    if isinstance(figures, ClassifyFigures):
        bits = figures.mean_bits
        return {
            "num_rows": figures.num_rows,
            "num_right": sum(figures.is_right),
            "accuracy": figures.accuracy,
            "mean_bits": bits if math.isfinite(bits) else None,
        }
    return {
        "num_rows": figures.num_rows,
        "bits_per_byte": figures.bits_per_byte,
        "num_exact": figures.num_exact if figures.exact_share is not None else None,
    }


async def measured_cards(
    services: Services, scope: Scope, name: str, draft: PromptTemplate | None, *, asker: Asker, stopper: Stopper
) -> AsyncGenerator[Card | Finished[TemplateScore | None]]:
    """Measure as `measure_score` does, with a card for each step; the last item is the score, None when stopped."""

    async def start(on_progress: OnProgress) -> TemplateScore | None:
        return await measure_score(services, scope, name, draft, asker=asker, stopper=stopper, on_progress=on_progress)

    async with aclosing(watched("test rows answered", start)) as steps:
        async for step in steps:
            yield step
