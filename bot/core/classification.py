"""Label probabilities with contextual calibration, which removes the prompt's own bias towards a label.

Source: Zhao, Wallace, Feng, Klein, Singh 2021, "Calibrate Before Use: Improving Few-Shot Performance of Language
Models", arXiv 2102.09690.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Inputs without content; the paper averages over these three. "" is left out where the prompt would end in white space.
CONTENT_FREE_INPUTS: Final = ("N/A", "[MASK]", "")
# The lowest prior: dividing by zero would make a label certain that the prompt never expects.
MIN_PRIOR: Final = 1e-12
# Below this lead of the likeliest label over the second, the answer is "unsure".
UNSURE_MARGIN: Final = 0.2


@dataclass(frozen=True, slots=True)
class Classification:
    """Labels and their probabilities (sum 1), in the template's order."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """Return the likeliest label."""
        return self.labels[self.probabilities.index(max(self.probabilities))]

    @property
    def margin(self) -> float:
        """Return the likeliest label's probability minus the second's (0-1)."""
        best, second, *_ = [*sorted(self.probabilities, reverse=True), 0.0]
        return best - second

    @property
    def is_sure(self) -> bool:
        """Say whether the margin is at least UNSURE_MARGIN."""
        return self.margin >= UNSURE_MARGIN


def classify(labels: Sequence[str], logprobs: Sequence[float], prior: Sequence[float] | None = None) -> Classification:
    """Return the labels' probabilities from the total log-probability (nats) of each label's full text.

    With `prior`, the probability that the prompt alone gives each label, they are calibrated (Zhao et al. 2021). Raises
    ValueError without labels, for unequal lengths, or if no label has a finite log-probability.
    """
    if not labels or len(labels) != len(logprobs) or not math.isfinite(max(logprobs)):
        raise ValueError("classify needs a log-probability for each of at least one label")
    own = normalise_logprobs(logprobs) if prior is None else calibrate_logprobs(logprobs, prior)
    return Classification(tuple(labels), tuple(math.exp(logprob) for logprob in own))


def normalise_logprobs(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Return `logprobs` (nats, of mutually exclusive events) shifted so that their probabilities add up to 1.

    -inf stays -inf. Raises ValueError if none is finite, and for nan and +inf.
    """
    best = max(logprobs, default=-math.inf)
    if not math.isfinite(best) or any(math.isnan(logprob) for logprob in logprobs):
        raise ValueError("there must be a finite log-probability, and nothing above it or undefined")
    # Relative to the best one: far below zero a float has few digits left for the odds.
    odds = [logprob - best for logprob in logprobs]
    total = math.log(math.fsum(math.exp(odd) for odd in odds))
    return tuple(odd - total for odd in odds)


def content_free_prior(logprobs_per_input: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the probability that the prompt gives each label without any input (sum 1).

    `logprobs_per_input` holds each content-free input's label log-probabilities (nats). Each input's probabilities are
    normalised first, so that all inputs weigh the same. Raises ValueError without inputs or for unequal lengths.
    """
    if not logprobs_per_input or len({len(logprobs) for logprobs in logprobs_per_input}) != 1:
        raise ValueError("a prior needs at least one content-free input, and as many labels in each")
    rows = [[math.exp(logprob) for logprob in normalise_logprobs(logprobs)] for logprobs in logprobs_per_input]
    return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))


def calibrate_logprobs(logprobs: Sequence[float], prior: Sequence[float]) -> tuple[float, ...]:
    """Return the calibrated log-probabilities of labels (nats; the probabilities add up to 1).

    They are the paper's W p + b with W = diag(prior)^-1 and b = 0, divided by their sum. Priors below MIN_PRIOR count
    as MIN_PRIOR. Raises ValueError for unequal lengths and if `prior` does not hold probabilities.
    """
    if len(prior) != len(logprobs):
        raise ValueError(f"{len(logprobs)} labels can't have {len(prior)} priors")
    if not all(0 <= share <= 1 + 1e-9 for share in prior) or not any(prior):
        raise ValueError("a prior holds probabilities, at least one of them above 0")
    weights = [logprob - math.log(max(share, MIN_PRIOR)) for logprob, share in zip(logprobs, prior, strict=True)]
    return normalise_logprobs(weights)
