"""Test runs and searches for better examples, step by step: each step is data, the last one the result."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from bot.background import cancel
from bot.commands.context import Services
from bot.commands.templates.drafts import check_editor
from bot.commands.templates.scoring import measure_score
from bot.commands.templates.testing import valid_state
from bot.commands.templates.tuning import take_examples, tuning_data, tuning_title
from bot.commands.workbench.opening import known_results, result_data
from bot.core.engine import Asker
from bot.core.messages import Author, Scope
from bot.core.statistics import RowOutcome
from bot.core.stopping import Stopper
from bot.core.templates.row_results import row_result
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.services.neighbours import load_kept
from bot.services.tuning import count_scorings, tune

Json = dict[str, Any]
Tell = Callable[[Json], None]


async def run_tests(
    services: Services, scope: Scope, author: Author, name: str, *, asker: Asker, stopper: Stopper
) -> AsyncGenerator[Json]:
    """Measure the asker's draft, else the published version, on its tests.

    Yields {"progress": [done, all]}, {"row": result} for each test as it is measured, and last {"figures": …}, the
    score with all rows, or {"figures": None} when stopped. Raises as `measure_score` does.
    """
    await check_editor(services, scope, author, "prompt test")
    draft = await services.store.get_draft(scope, name, author.id)
    template = valid_state(draft)
    tested = template or await services.templates.get(scope, name)
    if not tested.tests:
        raise RequestError(f"{name} has no tests. Add some that are not among the examples.")

    async def work(tell: Tell) -> None:
        if not await _measure_rows(services, tested, asker, stopper, tell):
            tell({"figures": None})
            return

        num_before = len(tested.kept_examples) + len(tested.tests)

        def on_progress(num_done: int, num_all: int) -> None:
            tell({"progress": [num_before + num_done, num_before + num_all]})

        score = await measure_score(
            services, scope, name, template, asker=asker, stopper=stopper, on_progress=on_progress
        )
        tell({"figures": None if score is None else await known_results(services, score)})

    async for step in _steps(work):
        yield step


async def _measure_rows(
    services: Services, template: PromptTemplate, asker: Asker, stopper: Stopper, tell: Tell
) -> bool:
    """Measure each test of `template` and tell its result; return whether it got to the end."""
    measuring, kept, num_kept = services.measuring, None, len(template.kept_examples)
    prior = await measuring.prior(template, asker=asker) if template.kind == "classify" else None
    num_all = num_kept + len(template.tests)

    def on_progress(num_done: int, _: int) -> None:
        tell({"progress": [num_done, num_all]})

    if num_kept:
        kept = await load_kept(measuring, template, asker=asker, on_progress=on_progress, stopper=stopper)
        if kept is None:
            return False

    def on_outcome(index: int, outcome: RowOutcome) -> None:
        row = template.tests[index]
        tell({"row": result_data(index, template, row, row_result(template, row, outcome, prior, kept))})
        on_progress(num_kept + index + 1, num_all)

    done = await measuring.outcomes(template, template.tests, asker=asker, stopper=stopper, on_outcome=on_outcome)
    return done is not None


async def search(
    services: Services, scope: Scope, author: Author, name: str, *, asker: Asker, stopper: Stopper
) -> AsyncGenerator[Json]:
    """Search for better examples of the asker's draft, else of the published version; nothing is changed.

    Yields {"progress": [done, all]}, and last {"found": …}, None when stopped. Raises as `tune` does.
    """
    await check_editor(services, scope, author, "prompt tune")
    draft = await services.store.get_draft(scope, name, author.id)
    template = valid_state(draft) or await services.templates.get(scope, name)
    num_scorings = count_scorings(template)
    await services.measuring.count_tokens(template)

    async def work(tell: Tell) -> None:
        def on_progress(num_done: int, num_all: int) -> None:
            tell({"progress": [num_done, num_all]})

        found = await tune(services.measuring, template, asker=asker, on_progress=on_progress, stopper=stopper)
        if found is None:
            tell({"found": None})
            return
        title = tuning_title(found, is_taken=False)
        if found.is_better and found.is_sure:
            title = f"{name} does better with its examples {found.best.candidate.what}. Nothing was changed yet."
        data = tuning_data(found, num_scorings, title, is_taken=False)
        indexes = list(found.best.candidate.indexes) if found.is_better else []
        tell({"found": {**data, "version": template.version, "indexes": indexes, "is_sure": found.is_sure}})

    async for step in _steps(work):
        yield step


async def take_found(
    services: Services, scope: Scope, author: Author, name: str, version: str, indexes: object
) -> None:
    """Make the examples that a search found those of the asker's draft. Raises RequestError if it changed since."""
    await check_editor(services, scope, author, "prompt tune")
    if not isinstance(indexes, list) or not all(type(one) is int and 0 <= one < 10_000 for one in indexes):
        raise RequestError("The search's result is a list of examples.")
    try:
        await take_examples(services, scope, author, name, version, indexes)
    except IndexError:
        raise RequestError("The search's result names examples that are not there.") from None


async def _steps(work: Callable[[Tell], Awaitable[None]]) -> AsyncGenerator[Json]:
    """Run `work` and yield what it tells. Raises what it raises; closing the generator cancels it."""
    news: asyncio.Queue[Json | None] = asyncio.Queue()

    async def run() -> None:
        await work(news.put_nowait)

    task = asyncio.create_task(run(), name="work for the workbench")
    task.add_done_callback(lambda _: news.put_nowait(None))
    try:
        while (step := await news.get()) is not None:
            yield step
        task.result()
    finally:
        await cancel(task)
