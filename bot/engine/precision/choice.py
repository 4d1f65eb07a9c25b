"""The choice of the precision that a model runs in, from measurements on this machine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.core.results import MAX_PERPLEXITY_RATIO, PrecisionFigures

AUTO: Final = "auto"
FLOAT32: Final = "float32"
# A smaller model is fast enough in float32, and measuring it takes longer than it saves.
MIN_MEASURED_PARAMETERS: Final = 10_000_000
# Speeds closer than this may just be noise; among such precisions the most exact one is chosen.
_AS_FAST: Final = 0.95


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """The precision to run in; `reason` completes "Precision: int8, because …"; `figures` are all measurements.

    `is_automatic` is true if PRECISION did not ask for it by name.
    """

    precision: str
    reason: str
    figures: tuple[PrecisionFigures, ...] = ()
    is_automatic: bool = False

    @property
    def is_worth_saying(self) -> bool:
        """Return whether the choice is based on measurements."""
        return bool(self.figures)

    @property
    def line(self) -> str:
        """Return the line that tells people which precision was chosen and why."""
        return f"Precision: {self.precision}, because {self.reason}"


def is_measured(wanted: str, num_parameters: int) -> bool:
    """Return whether a model of `num_parameters` must be measured before it runs with PRECISION=`wanted`."""
    return wanted != FLOAT32 and num_parameters >= MIN_MEASURED_PARAMETERS


def choose_precision(wanted: str, num_parameters: int, figures: Sequence[PrecisionFigures]) -> PrecisionChoice:
    """Return the precision for `wanted` (PRECISION): the one it names, or the fastest that is exact enough.

    `figures` starts with float32; it is empty if nothing was measured.
    """
    measured = tuple(figures)
    if wanted != AUTO:
        return PrecisionChoice(wanted, _explain_named(wanted, measured), measured)
    if num_parameters < MIN_MEASURED_PARAMETERS:
        return PrecisionChoice(FLOAT32, "the model is too small to gain from another precision", measured, True)
    admitted = [one for one in measured if one.is_admitted]
    if not admitted:
        return PrecisionChoice(FLOAT32, "no other precision is available for this model on this device", measured, True)
    fastest = max(_speed(one) for one in admitted)
    near = [one for one in admitted if _speed(one) >= _AS_FAST * fastest]
    best = min(near, key=_inexactness)
    return PrecisionChoice(best.precision, _explain_best(best, measured), measured, True)


def _speed(figures: PrecisionFigures) -> float:
    """Return one number for the speed of answers: a single answer and eight at once count equally."""
    return math.sqrt((figures.tokens_per_s or 0.0) * (figures.tokens_per_s_of_8 or 0.0))


def _inexactness(figures: PrecisionFigures) -> float:
    return abs(math.log(figures.perplexity_ratio or math.inf))


def _explain_named(wanted: str, figures: Sequence[PrecisionFigures]) -> str:
    found = next((one for one in figures if one.precision == wanted), None)
    if found is None or found.perplexity_ratio is None:
        return "PRECISION asks for it"
    if wanted == FLOAT32:
        return f"PRECISION asks for it ({found.tokens_per_s:.0f} tokens/s)"
    verdict = "" if found.is_admitted else f", above the limit of {MAX_PERPLEXITY_RATIO:g} for auto"
    return (
        f"PRECISION asks for it; its perplexity is {found.perplexity_ratio:.4f} times that of float32{verdict} "
        f"({_compare_speed(found, figures)})"
    )


def _explain_best(best: PrecisionFigures, figures: Sequence[PrecisionFigures]) -> str:
    if best.precision == FLOAT32:
        others = "; ".join(_describe_loser(one, best) for one in figures if one is not best)
        return f"no other precision is faster and exact enough ({others})" if others else "there is no other precision"
    return (
        f"it is the fastest that is exact enough: perplexity {best.perplexity_ratio:.4f} times that of "
        f"float32, {_compare_speed(best, figures)}"
    )


def _describe_loser(one: PrecisionFigures, best: PrecisionFigures) -> str:
    if one.perplexity_ratio is None:
        return f"{one.precision}: not available"
    if not one.is_admitted:
        return f"{one.precision}: perplexity {one.perplexity_ratio:.4f} times as high"
    return f"{one.precision}: {_speed(one) / _speed(best):.2f} times as fast"


def _compare_speed(one: PrecisionFigures, figures: Sequence[PrecisionFigures]) -> str:
    exact = next((other for other in figures if other.precision == FLOAT32), None)
    beside = f" instead of {exact.tokens_per_s:.0f}" if exact is not None and exact.tokens_per_s else ""
    return f"{one.tokens_per_s:.0f} tokens/s{beside}"
