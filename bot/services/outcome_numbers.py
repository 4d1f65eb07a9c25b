"""A row's outcome as the numbers that the store keeps, and back."""

from collections.abc import Mapping, Sequence

from bot.core.statistics import ClassifyOutcome, CompleteOutcome, RowOutcome
from bot.store.row_outcomes import Outcome


def to_numbers(outcome: RowOutcome) -> Outcome:
    """Return the numbers under which the store keeps `outcome`."""
    if isinstance(outcome, ClassifyOutcome):
        return {"logprobs": outcome.logprobs, **({"sketch": outcome.sketch} if outcome.sketch else {})}
    numbers: dict[str, float | Sequence[float]] = {"nats": outcome.nats, "num_bytes": outcome.num_bytes}
    if outcome.is_exact is not None:
        numbers["is_exact"] = int(outcome.is_exact)
    return numbers


def from_numbers(numbers: Outcome) -> RowOutcome:
    """Return the outcome that `to_numbers` turned into `numbers`."""
    if "logprobs" in numbers:
        return ClassifyOutcome(list_of(numbers, "logprobs"), list_of(numbers, "sketch") if "sketch" in numbers else ())
    is_exact = bool(numbers["is_exact"]) if "is_exact" in numbers else None
    return CompleteOutcome(_number_of(numbers, "nats"), int(_number_of(numbers, "num_bytes")), is_exact)


def list_of(numbers: Mapping[str, float | Sequence[float]], name: str) -> tuple[float, ...]:
    """Return the kept numbers called `name`."""
    figure = numbers[name]
    return (float(figure),) if isinstance(figure, int | float) else tuple(float(number) for number in figure)


def _number_of(numbers: Mapping[str, float | Sequence[float]], name: str) -> float:
    figure = numbers[name]
    return float(figure) if isinstance(figure, int | float) else float(figure[0])
