"""Log-probabilities of labels as probabilities, and whether the likeliest one is a clear answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.core.calibration import calibrate_logprobs, normalise_logprobs

# The likeliest label leads the second by less than this: "unsure".
UNSURE_MARGIN: Final = 0.2


@dataclass(frozen=True, slots=True)
class Classification:
    """The labels with their probabilities (sum 1), in the template's order."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """Return the likeliest label."""
        return self.labels[self.probabilities.index(max(self.probabilities))]

    @property
    def margin(self) -> float:
        """Return by how much the likeliest label's probability leads the second's (0-1)."""
        best, second, *_ = [*sorted(self.probabilities, reverse=True), 0.0]
        return best - second

    @property
    def is_sure(self) -> bool:
        """Say whether the margin is at least UNSURE_MARGIN."""
        return self.margin >= UNSURE_MARGIN


def classify(labels: Sequence[str], logprobs: Sequence[float], prior: Sequence[float] | None = None) -> Classification:
    """Return the labels' probabilities given the total log-probability (nats) of each label's full text.

    With the `prior` that the prompt alone gives each label they are calibrated (bot.core.calibration). Raises
    ValueError without labels, with counts that differ, or where no label has a finite log-probability.
    """
    if not labels or len(labels) != len(logprobs) or not math.isfinite(max(logprobs)):
        raise ValueError("classify needs a log-probability for each of at least one label")
    own = normalise_logprobs(logprobs) if prior is None else calibrate_logprobs(logprobs, prior)
    return Classification(tuple(labels), tuple(math.exp(logprob) for logprob in own))
