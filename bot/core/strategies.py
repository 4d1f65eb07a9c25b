"""The sampling strategies that are shown side by side: each is a preset, with a sentence on what it does."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bot.core.sampling_params import OPTIONS, PRESETS, WARPERS, SamplingParams, apply_options
from bot.core.wording import list_words


@dataclass(frozen=True, slots=True)
class Strategy:
    """One strategy; `name` is its preset's, `sentence` says what it does; a model without what it `needs` lacks it."""

    name: str
    sentence: str
    needs: str = "temperature"

    def params_from(self, base: SamplingParams) -> SamplingParams:
        """Return `base` with the strategy's own options; n is 1."""
        return replace(apply_options(base, {"preset": self.name}), n=1)


_BEAM: Final = PRESETS["beam"]
STRATEGIES: Final = (
    Strategy("greedy", "Always takes the likeliest token."),
    Strategy(
        "beam",
        f"Keeps the {_BEAM['num_beams']} likeliest beginnings at each step and ends with the likeliest; no run of"
        f" {_BEAM['no_repeat_ngram_size']} tokens comes twice.",
        needs="num_beams",
    ),
    Strategy("careful", "Draws from the few likeliest tokens, mostly the very likeliest."),
    Strategy("normal", "Draws from the likely tokens, never from the improbable rest."),
    Strategy("wild", "Draws from nearly all tokens, improbable ones more often than the model would."),
)


def strategies_with(lacking: Collection[str]) -> tuple[Strategy, ...]:
    """Return the strategies that a model without some options has."""
    return tuple(one for one in STRATEGIES if one.needs not in lacking)


def missing_sentence(lacking: Collection[str]) -> str:
    """Return which strategies a model's server without some options does not have, and why; "" if it has all."""
    has = strategies_with(lacking)
    missing = [one for one in STRATEGIES if one not in has]
    if not missing:
        return ""
    whys = {"num_beams": "beam search", "temperature": "temperature"}
    why = " and no ".join(dict.fromkeys(whys[one.needs] for one in missing))
    is_or_are = "is" if len(missing) == 1 else "are"
    return f"{list_words([one.name for one in missing])} {is_or_are} missing: this model's server has no {why}."


def active_options(params: SamplingParams) -> Mapping[str, int | float]:
    """Return the options that decide which tokens `params` choose, by name and in the order of the table."""
    names = params.list_active("warper", "processor")
    if params.num_beams > 1:
        names = (names - {*WARPERS}) | {"num_beams"}
    elif params.is_greedy:
        names = (names - {*WARPERS}) | {"temperature"}
    return {name: getattr(params, name) for name in OPTIONS if name in names}


def find_strategy(name: str) -> Strategy | None:
    """Return the strategy with this name, None if there is none."""
    return next((one for one in STRATEGIES if one.name == name), None)
