"""The worth of templates on their own tests: measured when asked for, and for the built-in ones while nobody asks."""

import asyncio
import logging
from typing import Final

from bot.core.engine import Asker, Engine
from bot.core.statistics import CompleteFigures, measure_complete
from bot.core.stopping import Stopper
from bot.core.templates.template import PromptTemplate
from bot.core.templates.worth import Worth, fit_of, swap_inputs
from bot.errors import FewshotError, RequestError
from bot.services.measuring import Measuring, OnProgress
from bot.services.templates import TemplateLibrary

logger = logging.getLogger(__name__)

# After so long without any request nobody is expected to notice the measurement.
IDLE_S: Final = 30.0
_AGAIN_S: Final = 3600.0
_NUM_LOOKS: Final = 10  # at the engine's queue, in each idle time


def num_asked(template: PromptTemplate) -> int:
    """Return for how many rows the model is asked to measure the worth of `template`."""
    swapped = swap_inputs(template.tests) if template.kind != "classify" else ()
    return len(template.kept_examples) + len(template.tests) + len(swapped)


async def known_worth(measuring: Measuring, template: PromptTemplate) -> Worth | None:
    """Return the worth of `template` if all of it is stored; None if not, or if it has no tests."""
    figures = await measuring.cached(template, template.tests)
    if not isinstance(figures, CompleteFigures):
        return None if figures is None else Worth(figures)
    swapped = swap_inputs(template.tests)
    if not swapped:
        return Worth(figures)
    others = await measuring.cached(template, [row for _, row in swapped], is_swapped=True)
    if not isinstance(others, CompleteFigures):
        return None
    own = measure_complete([figures.outcomes[i] for i, _ in swapped])
    return Worth(figures, fit_of(own, others))


async def measure_worth(
    measuring: Measuring,
    template: PromptTemplate,
    *,
    asker: Asker,
    on_progress: OnProgress | None = None,
    stopper: Stopper | None = None,
) -> Worth | None:
    """Return the worth of `template`; None when stopped. Raises as `Measuring.measure` does."""
    swapped = swap_inputs(template.tests) if template.kind != "classify" else ()
    num_rows, num_done = num_asked(template), 0

    def on_row(num: int, _: int) -> None:
        if on_progress:
            on_progress(num_done + num, num_rows)

    figures = await measuring.measure(template, template.tests, asker=asker, on_progress=on_row, stopper=stopper)
    if figures is None or not swapped:
        return None if figures is None else Worth(figures)
    num_done = len(template.tests)
    rows = [row for _, row in swapped]
    outcomes = await measuring.outcomes(
        template, rows, asker=asker, on_progress=on_row, stopper=stopper, is_swapped=True
    )
    if outcomes is None:
        return None
    return await known_worth(measuring, template)


async def measure_when_idle(
    measuring: Measuring, engine: Engine, shipped: TemplateLibrary, *, idle_s: float = IDLE_S
) -> None:
    """Measure the built-in templates that were not measured with this model; runs until cancelled.

    It starts after `idle_s` without any request, and stops at the next test when one comes.
    """
    while True:
        for template in shipped:
            while template.tests and await known_worth(measuring, template) is None:
                await _until_idle(engine, idle_s)
                if not await _measure_alone(measuring, engine, template):
                    break
        # What was measured can be erased with other outcomes, or expire.
        await asyncio.sleep(_AGAIN_S)


async def _measure_alone(measuring: Measuring, engine: Engine, template: PromptTemplate) -> bool:
    """Measure until the end or the next request; return False if it can't be measured."""
    stopper = Stopper()

    def on_progress(num_done: int, num_rows: int) -> None:
        if _is_busy(engine):
            stopper.stop()

    try:
        by = measuring.on(engine.pinned())
        await measure_worth(by, template, asker=Asker(), on_progress=on_progress, stopper=stopper)
    except RequestError as e:
        logger.info("%s can't be measured with this model: %s", template.name, e)
        return False
    except FewshotError as e:
        logger.warning("measuring %s failed and will be tried again: %s", template.name, type(e).__name__)
        return False
    return True


def _is_busy(engine: Engine) -> bool:
    stats = engine.stats()
    return stats.num_waiting + stats.num_running > 0


async def _until_idle(engine: Engine, idle_s: float) -> None:
    """Wait until nothing was asked of the engine for `idle_s` seconds."""
    num_done, num_quiet = -1, 0
    while num_quiet < _NUM_LOOKS:
        now = engine.stats().num_done
        num_quiet = 0 if now != num_done or _is_busy(engine) else num_quiet + 1
        num_done = now
        await asyncio.sleep(idle_s / _NUM_LOOKS)
