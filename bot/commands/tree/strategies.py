"""The strategies of a card that has a continuation by each: what they do, and what each wrote."""

from collections.abc import Mapping
from typing import Any

from bot.core.cards import Table
from bot.core.sampling_params import leave_out
from bot.core.strategies import STRATEGIES, active_options, strategies_with
from bot.services.completions import CompletionState


def strategies_table(state: CompletionState, lacking: Mapping[str, str]) -> Table:
    """Return what the strategies of the options on offer do, and the options of each, without those in `lacking`."""
    offered = {option.strategy for option in state.options}
    rows = tuple(
        (one.name, one.sentence, ", ".join(f"{name} {value:g}" for name, value in options.items()))
        for one in STRATEGIES
        if one.name in offered
        for options in (active_options(leave_out(one.params_from(state.params), lacking)),)
    )
    return Table(("strategy", "what it does", "options"), rows)


def strategies_data(state: CompletionState, lacking: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return each strategy that a model without `lacking` has, with its options, its seed and what it wrote.

    If that is nothing, it is "" without a finish_reason.
    """
    written = {option.strategy: option for option in state.options}
    return [
        {
            "name": one.name,
            "sentence": one.sentence,
            "options": dict(active_options(leave_out(one.params_from(state.params), lacking))),
            "seed": state.seed if option is None else option.seed,
            "text": "" if option is None else option.text,
            "finish_reason": None if option is None else option.finish_reason,
        }
        for one in strategies_with(lacking)
        for option in (written.get(one.name),)
    ]
