"""How good a template is on its tests, beside the published version: measured with progress, and put into words."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from bot.commands.context import Services
from bot.core.cards import Block, Card, Progress, Table, Text
from bot.core.messages import Scope
from bot.core.safe_text import one_line
from bot.core.statistics import ClassifyFigures, Comparison, CompleteFigures, Figures, compare
from bot.core.stopping import Stopper
from bot.core.templates.checks import find_warnings
from bot.core.templates.template import Example, PromptTemplate
from bot.engine.requests.work import Asker
from bot.errors import RequestError
from bot.services.measuring import OnProgress, TokenCost
from bot.store.templates import StoredTemplate

ResultT = TypeVar("ResultT")

_NUM_LISTED: Final = 8
_MAX_CELL: Final = 60
_MAX_CONFUSED: Final = 6  # labels of a table that can still be read
_MAX_WARNINGS: Final = 5


@dataclass(frozen=True, slots=True)
class TemplateScore:
    """What is known of a template on its tests, and of the published version on the same ones.

    `template` is the draft, or where `is_draft` is False the published version itself; `published` is what members use
    (None: nothing) as version `number`, 0 for one that comes with the bot, which is not `stored`. Figures are None
    where nothing was measured, those of the published version also where they can't stand beside the template's.
    """

    template: PromptTemplate
    is_draft: bool
    published: PromptTemplate | None
    number: int
    stored: StoredTemplate | None
    model: str
    cost: TokenCost
    published_cost: TokenCost | None = None
    figures: Figures | None = None
    published_figures: Figures | None = None
    comparison: Comparison | None = None

    @property
    def is_stale(self) -> bool:
        """Say whether the score kept with the published version is another model's."""
        return self.stored is not None and self.stored.score is not None and self.stored.score_model != self.model


@dataclass(frozen=True, slots=True)
class Finished(Generic[ResultT]):
    """The last thing that `watched` yields: what came of it."""

    value: ResultT


async def watched(
    what: str, start: Callable[[OnProgress], Coroutine[Any, Any, ResultT]]
) -> AsyncGenerator[Card | Finished[ResultT]]:
    """Run `start` and yield cards that show how far it has come, then its result. Raises what it raises.

    Closing the generator ends what runs.
    """
    news = asyncio.Event()
    latest = (0, 0)

    def on_progress(num_done: int, num_total: int) -> None:
        nonlocal latest
        latest = (num_done, num_total)
        news.set()

    task = asyncio.create_task(start(on_progress))
    task.add_done_callback(lambda _: news.set())
    try:
        while not task.done():
            await news.wait()
            news.clear()
            if not task.done():
                yield Card(blocks=(Progress(what, *latest),), is_final=False)
        yield Finished(task.result())
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


async def load_score(services: Services, scope: Scope, name: str, draft: PromptTemplate | None) -> TemplateScore:
    """Return what is known of `draft`, or where it is None of the published template `name`; never asks the model.

    Raises RequestError where there is no such template, and for one that leaves no room for a message.
    """
    score = await _unmeasured(services, scope, name, draft)
    rows = score.template.tests
    figures = await services.measuring.cached(score.template, rows)
    published_figures = None
    if score.is_draft and _is_comparable(score):
        assert score.published is not None
        published_figures = await services.measuring.cached(score.published, rows)
    return await _compared(score, figures, published_figures)


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
    """Measure what `load_score` would return, on the template's own tests; None when stopped.

    The published version's figures are kept with it where they are of its own tests.
    """
    score = await _unmeasured(services, scope, name, draft)
    rows = score.template.tests
    if not rows:
        prefix = services.command_prefix
        raise RequestError(
            f"{name} has no tests to be measured on; add some that no example repeats, with {prefix}prompt tests {name}"
            " add INPUT => OUTPUT."
        )
    sides = [score.template]
    if score.is_draft and score.published is not None and _is_comparable(score):
        sides.insert(0, score.published)
    found: list[Figures] = []
    for i, side in enumerate(sides):

        def on_row(num_done: int, num_rows: int, num_before: int = i * len(rows)) -> None:
            on_progress(num_before + num_done, num_rows * len(sides))

        figures = await services.measuring.measure(side, rows, asker=asker, on_progress=on_row, stopper=stopper)
        if figures is None:
            return None
        found.append(figures)
    score = await _compared(score, found[-1], found[0] if len(sides) == 2 else None)
    await _keep_score(services, scope, score, found[0])
    return replace(score, stored=(await services.templates.of(scope)).own(name))


async def _unmeasured(services: Services, scope: Scope, name: str, draft: PromptTemplate | None) -> TemplateScore:
    library = await services.templates.of(scope)
    published = library.get(name) if draft is None or name in library.names else None
    template = draft if draft is not None else published
    assert template is not None  # library.get has raised
    cost = await services.measuring.count_tokens(template)
    published_cost = None
    if draft is not None and published is not None:
        # A version may have been published with a model that reads more.
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
    )


def _is_comparable(score: TemplateScore) -> bool:
    """Say whether the figures of both are of one sort; where the published version has room at all."""
    published = score.published
    if published is None or score.published_cost is None:
        return False
    return (published.kind == "classify") == (score.template.kind == "classify")


async def _compared(score: TemplateScore, figures: Figures | None, published: Figures | None) -> TemplateScore:
    comparison = None
    if figures is not None and published is not None:
        # The bootstrap takes a while for many rows.
        comparison = await asyncio.to_thread(compare, figures, published)
    return replace(score, figures=figures, published_figures=published, comparison=comparison)


async def _keep_score(services: Services, scope: Scope, score: TemplateScore, figures: Figures) -> None:
    """Keep the figures with the published version, where they are of it and of its own tests."""
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
    """Return the figures as they are kept with a version."""
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


def kept_score_line(score: Mapping[str, Any], score_model: str | None, model: str) -> str:
    """Return one line for people about a score that was kept; one of another model than `model` is marked so."""
    if "accuracy" in score:
        line = f"accuracy {score['accuracy']:.0%} on {score['num_rows']} rows"
    else:
        line = f"{score['bits_per_byte']:.3f} bits per byte on {score['num_rows']} rows"
    if score_model != model:
        line += f" (out of date: measured with {model_name(score_model or 'another model')}, not today's model)"
    return line


def model_name(fingerprint: str) -> str:
    """Return the model's name in a fingerprint, for people."""
    return fingerprint.partition("@")[0]


def score_blocks(score: TemplateScore) -> tuple[Block, ...]:
    """Return what is to be said about a score: the verdict, figures side by side, rows, warnings, stale marks."""
    blocks: list[Block] = []
    if score.comparison is not None and score.figures is not None:
        blocks.append(Text(_verdict(score.comparison, score.figures)))
    blocks.append(_figures_table(score))
    if score.figures is None and score.template.tests:
        blocks.append(Text(f"Not measured yet: prompt test {score.template.name}.", is_quiet=True))
    if score.comparison is not None:
        for what, indexes in (("fixed", score.comparison.fixed), ("broken", score.comparison.broken)):
            blocks += _rows_block(what, indexes, score.template.tests)
    elif isinstance(score.figures, ClassifyFigures):
        wrong = [i for i, is_right in enumerate(score.figures.is_right) if not is_right]
        blocks += _rows_block("answered wrong", wrong, score.template.tests)
    if isinstance(score.figures, ClassifyFigures) and len(score.figures.labels) <= _MAX_CONFUSED:
        blocks.append(_confusion(score.figures))
    blocks += _remarks(score)
    return tuple(blocks)


def _verdict(comparison: Comparison, figures: Figures) -> str:
    gain = comparison.interval
    if isinstance(figures, ClassifyFigures):
        numbers = (
            f"{100 * gain.mean:+.1f} points of accuracy (95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        )
    else:
        # Fewer bits are better, so the gain is told as what is saved.
        numbers = f"{gain.mean:+.3f} bits per byte saved (95 % interval {gain.low:+.3f} to {gain.high:+.3f})"
    if comparison.verdict == "no clear difference":
        return f"No clear difference: {numbers}."
    return f"The draft is {comparison.verdict}: {numbers}."


def _figures_table(score: TemplateScore) -> Table:
    figures, costs = [score.figures], [score.cost]
    name = f"version {score.number}" if score.number else "the shipped one"
    columns = ["draft" if score.is_draft else name]
    if score.is_draft and score.published is not None and score.published_cost is not None:
        columns.append(f"published ({name})")
        figures.append(score.published_figures)
        costs.append(score.published_cost)
    rows: list[tuple[str, ...]] = []
    if any(isinstance(one, ClassifyFigures) for one in figures):
        rows.append(("accuracy", *(_accuracy(one) for one in figures)))
        rows.append(("bits of the right label", *(_bits(one) for one in figures)))
    elif any(isinstance(one, CompleteFigures) for one in figures):
        rows.append(("bits per byte of the output", *(_bits(one) for one in figures)))
        rows.append(("exactly the output", *(_exact(one) for one in figures)))
    rows.append(("tests", str(len(score.template.tests)), *[""] * (len(columns) - 1)))
    rows.append(("tokens", *(f"{cost.num_prompt_tokens:,} of {cost.context_length:,}" for cost in costs)))
    rows.append(("left for a message", *(f"{cost.num_left_for_input:,}" for cost in costs)))
    return Table((score.template.name, *columns), tuple(rows))


def _accuracy(figures: Figures | None) -> str:
    if not isinstance(figures, ClassifyFigures):
        return "—"
    interval = figures.accuracy_interval
    return f"{figures.accuracy:.0%} ({interval.low:.0%} to {interval.high:.0%})"


def _bits(figures: Figures | None) -> str:
    if figures is None:
        return "—"
    bits = figures.mean_bits if isinstance(figures, ClassifyFigures) else figures.bits_per_byte
    return f"{bits:.3f}" if math.isfinite(bits) else "a test's output is no label"


def _exact(figures: Figures | None) -> str:
    if not isinstance(figures, CompleteFigures) or figures.exact_share is None:
        return "—"
    return f"{figures.num_exact} of {sum(one.is_exact is not None for one in figures.outcomes)}"


def _rows_block(what: str, indexes: Sequence[int], rows: Sequence[Example]) -> list[Block]:
    if not indexes:
        return []
    table: Block = Table(
        ("test", what, "right answer"),
        tuple((str(i + 1), _cell(rows[i].input), _cell(rows[i].output)) for i in indexes[:_NUM_LISTED]),
    )
    if len(indexes) <= _NUM_LISTED:
        return [table]
    others = ", ".join(str(i + 1) for i in indexes[_NUM_LISTED:])
    return [table, Text(f"Also {what}: {others}.", is_quiet=True)]


def _cell(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _confusion(figures: ClassifyFigures) -> Table:
    rows = ((_cell(label), *map(str, counts)) for label, counts in zip(figures.labels, figures.confusion, strict=True))
    return Table(("right ↓ answered →", *map(_cell, figures.labels)), tuple(rows))


def _remarks(score: TemplateScore) -> list[Block]:
    blocks: list[Block] = []
    warnings = find_warnings(score.template)
    if warnings:
        shown = [*warnings[:_MAX_WARNINGS]]
        if len(warnings) > _MAX_WARNINGS:
            shown.append(f"There are {len(warnings) - _MAX_WARNINGS} more warnings.")
        blocks.append(Text("\n".join(f"⚠ {warning}" for warning in shown)))
    if score.is_draft and score.published is not None and not _is_comparable(score):
        why = "it is of another kind" if score.published_cost is not None else "this model has no room for it"
        blocks.append(Text(f"The published version can't be measured beside the draft: {why}.", is_quiet=True))
    if score.is_stale and score.stored is not None and score.stored.score is not None:
        line = kept_score_line(score.stored.score, score.stored.score_model, score.model)
        blocks.append(Text(f"Kept with version {score.number}: {line}.", is_quiet=True))
    return blocks


def score_data(score: TemplateScore) -> dict[str, Any]:
    """Return a score as data for scripts; rows are numbered from 1, as people count them."""
    comparison, interval = score.comparison, score.comparison.interval if score.comparison else None
    return {
        "template": score.template.name,
        "is_draft": score.is_draft,
        "published": score.number,
        "model": score.model,
        "num_tests": len(score.template.tests),
        "score": None if score.figures is None else score_to_keep(score.figures),
        "published_score": None if score.published_figures is None else score_to_keep(score.published_figures),
        "verdict": comparison.verdict if comparison else None,
        "gain": interval.mean if interval else None,
        "gain_interval": [interval.low, interval.high] if interval else None,
        "fixed": [i + 1 for i in comparison.fixed] if comparison else [],
        "broken": [i + 1 for i in comparison.broken] if comparison else [],
        "num_tokens": score.cost.num_prompt_tokens,
        "num_left_for_input": score.cost.num_left_for_input,
        "context_length": score.cost.context_length,
        "warnings": list(find_warnings(score.template)),
        "is_stale": score.is_stale,
    }


async def measured_cards(
    services: Services, scope: Scope, name: str, draft: PromptTemplate | None, *, asker: Asker, stopper: Stopper
) -> AsyncGenerator[Card | Finished[TemplateScore | None]]:
    """Measure as `measure_score` does, with a card for each step; the last thing is the score, None when stopped."""

    async def start(on_progress: OnProgress) -> TemplateScore | None:
        return await measure_score(services, scope, name, draft, asker=asker, stopper=stopper, on_progress=on_progress)

    async with aclosing(watched("row", start)) as steps:
        async for step in steps:
            yield step
