"""How good a template is on its test rows: figures of one template, and whether a draft beats the published version."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

from bot.core.classification import calibrate_logprobs, normalise_logprobs
from bot.core.templates.template import Example

Verdict = Literal["better", "no clear difference", "worse"]

CONFIDENCE: Final = 0.95
# A bootstrap of few rows knows only those: three rows that all gain would be "better" with certainty. With five a coin
# falls on one side in 6 % of all cases (two-sided sign test), with six in 3 %.
MIN_DIFFERING_ROWS: Final = 6
_MAX_DRAWS_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, and the value itself."""

    low: float
    high: float
    mean: float


@dataclass(frozen=True, slots=True)
class ClassifyOutcome:
    """What the model made of one test row of a classify template: each label's log-probability (nats), in order."""

    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CompleteOutcome:
    """What the model made of one test row with free text: the reference output's cost in nats, its UTF-8 bytes.

    `is_exact` says whether the greedy answer equals it; None where that was not asked (several lines).
    """

    nats: float
    num_bytes: int
    is_exact: bool | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.nats) or self.num_bytes < 1:
            raise ValueError("an outcome has a finite cost and at least one byte")


RowOutcome = ClassifyOutcome | CompleteOutcome


@dataclass(frozen=True, slots=True)
class ClassifyFigures:
    """How a classify template did on its rows, in their order.

    `right` and `answered` are indexes into `labels`; `right` is None for an output that is none of them, which no
    answer can meet. `right_bits` is -log2 of the right label's probability, infinite where there is none.
    """

    labels: tuple[str, ...]
    right: tuple[int | None, ...]
    answered: tuple[int, ...]
    right_bits: tuple[float, ...]

    @property
    def num_rows(self) -> int:
        """Return the number of rows."""
        return len(self.right)

    @property
    def is_right(self) -> tuple[bool, ...]:
        """Say of each row whether it was answered with its label."""
        return tuple(right == answer for right, answer in zip(self.right, self.answered, strict=True))

    @property
    def accuracy(self) -> float:
        """Return the share of rows answered right (0-1)."""
        return sum(self.is_right) / self.num_rows

    @property
    def accuracy_interval(self) -> Interval:
        """Return the Wilson interval of the accuracy."""
        return wilson_interval(sum(self.is_right), self.num_rows)

    @property
    def mean_bits(self) -> float:
        """Return the mean of `right_bits`: 0 is certain of every right label, log2(labels) is guessing."""
        return math.fsum(self.right_bits) / self.num_rows

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Return how often each label (line) was answered with each label (column)."""
        counts = [[0] * len(self.labels) for _ in self.labels]
        for right, answer in zip(self.right, self.answered, strict=True):
            if right is not None:
                counts[right][answer] += 1
        return tuple(tuple(line) for line in counts)


@dataclass(frozen=True, slots=True)
class CompleteFigures:
    """How a template with free text did on its rows, in their order."""

    outcomes: tuple[CompleteOutcome, ...]

    @property
    def num_rows(self) -> int:
        """Return the number of rows."""
        return len(self.outcomes)

    @property
    def bits_per_byte(self) -> float:
        """Return what a byte of the reference outputs costs in bits: the sum of bits over the sum of bytes."""
        return math.fsum(self.row_bits) / sum(outcome.num_bytes for outcome in self.outcomes)

    @property
    def row_bits(self) -> tuple[float, ...]:
        """Return the bits of each row's reference output."""
        return tuple(outcome.nats / math.log(2) for outcome in self.outcomes)

    @property
    def num_exact(self) -> int:
        """Return how many rows were answered with exactly the reference output."""
        return sum(outcome.is_exact is True for outcome in self.outcomes)

    @property
    def exact_share(self) -> float | None:
        """Return the share of exact answers among the rows where that was asked, None where it never was."""
        num_asked = sum(outcome.is_exact is not None for outcome in self.outcomes)
        return self.num_exact / num_asked if num_asked else None


Figures = ClassifyFigures | CompleteFigures


@dataclass(frozen=True, slots=True)
class FiguresComparison:
    """A draft beside the published version on the same rows.

    `interval` is the draft's gain, above 0 where the draft is better: accuracy (classify), or bits per byte saved.
    `fixed` and `broken` are indexes of rows that only the draft, only the published version answered right (or
    exactly); `num_differing` counts the rows on which the two differ at all.
    """

    verdict: Verdict
    interval: Interval
    fixed: tuple[int, ...]
    broken: tuple[int, ...]
    num_differing: int


def measure_classify(
    outcomes: Sequence[ClassifyOutcome],
    rows: Sequence[Example],
    labels: Sequence[str],
    prior: Sequence[float] | None = None,
) -> ClassifyFigures:
    """Return the figures of a classify template; with its content-free `prior` from calibrated probabilities.

    Raises ValueError without rows, or where the numbers of outcomes, rows, labels and log-probabilities do not agree.
    """
    if not rows or len(rows) != len(outcomes):
        raise ValueError("figures need an outcome for each of at least one row")
    if any(len(outcome.logprobs) != len(labels) for outcome in outcomes):
        raise ValueError("an outcome needs a log-probability for each label")
    index_of = {label: i for i, label in enumerate(labels)}
    right = tuple(index_of.get(row.output) for row in rows)
    answered: list[int] = []
    bits: list[float] = []
    for outcome, index in zip(outcomes, right, strict=True):
        raw = outcome.logprobs
        logprobs = normalise_logprobs(raw) if prior is None else calibrate_logprobs(raw, prior)
        answered.append(logprobs.index(max(logprobs)))
        # 0.0 - x, since -0.0 would be shown with its sign.
        bits.append(math.inf if index is None else 0.0 - logprobs[index] / math.log(2))
    return ClassifyFigures(tuple(labels), right, tuple(answered), tuple(bits))


def measure_complete(outcomes: Sequence[CompleteOutcome]) -> CompleteFigures:
    """Return the figures of a template with free text. Raises ValueError without outcomes."""
    if not outcomes:
        raise ValueError("figures need at least one row")
    return CompleteFigures(tuple(outcomes))


def compare(draft: Figures, published: Figures) -> FiguresComparison:
    """Say whether `draft` is better than `published`. Both are figures of one kind on the same rows in the same order.

    Accuracy decides for classify, bits per byte for the rest. The verdict is clear where the interval leaves out 0 and
    at least MIN_DIFFERING_ROWS rows differ. Raises ValueError where the figures can't be compared.
    """
    if draft.num_rows != published.num_rows:
        raise ValueError("only figures of the same rows can be compared")
    if isinstance(draft, ClassifyFigures) and isinstance(published, ClassifyFigures):
        ours, theirs = draft.is_right, published.is_right
        gains = tuple(float(our) - float(their) for our, their in zip(ours, theirs, strict=True))
        interval = paired_bootstrap(ours, theirs)
        return _comparison(interval, gains, ours, theirs)
    if isinstance(draft, CompleteFigures) and isinstance(published, CompleteFigures):
        num_bytes = [outcome.num_bytes for outcome in draft.outcomes]
        if num_bytes != [outcome.num_bytes for outcome in published.outcomes]:
            raise ValueError("only figures of the same reference outputs can be compared")
        gains = tuple(their - our for our, their in zip(draft.row_bits, published.row_bits, strict=True))
        interval = paired_bootstrap(published.row_bits, draft.row_bits, weights=num_bytes)
        pairs = [(our.is_exact, their.is_exact) for our, their in zip(draft.outcomes, published.outcomes, strict=True)]
        # A row that only one side was asked about is neither fixed nor broken.
        both = [None not in pair for pair in pairs]
        exact = [our is True and known for (our, _), known in zip(pairs, both, strict=True)]
        their_exact = [their is True and known for (_, their), known in zip(pairs, both, strict=True)]
        return _comparison(interval, gains, exact, their_exact)
    raise ValueError("only figures of one kind can be compared")


def _comparison(
    interval: Interval, gains: Sequence[float], ours: Sequence[bool], theirs: Sequence[bool]
) -> FiguresComparison:
    num_differing = sum(gain != 0 for gain in gains)
    verdict: Verdict = "no clear difference"
    if num_differing >= MIN_DIFFERING_ROWS and interval.low > 0:
        verdict = "better"
    elif num_differing >= MIN_DIFFERING_ROWS and interval.high < 0:
        verdict = "worse"
    pairs = list(zip(ours, theirs, strict=True))
    return FiguresComparison(
        verdict,
        interval,
        fixed=tuple(i for i, (our, their) in enumerate(pairs) if our and not their),
        broken=tuple(i for i, (our, their) in enumerate(pairs) if their and not our),
        num_differing=num_differing,
    )


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    *,
    weights: Sequence[float] | None = None,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the 95 % percentile interval of sum(a - b) / sum(weights) over rows drawn again with replacement.

    Without `weights` (each above 0) that is the mean difference; with a row's bytes as its weight, and bits in `a` and
    `b`, the difference in bits per byte. The same arguments give the same interval. Raises ValueError without rows,
    for unequal lengths, and for values that are not finite. Source: Efron & Tibshirani 1993, chapter 13.
    """
    gains = np.asarray(a, dtype=np.float64)  # (rows,)
    bases = np.asarray(b, dtype=np.float64)
    shares = np.ones_like(gains) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(gains) or not len(gains) == len(bases) == len(shares):
        raise ValueError("a paired bootstrap needs two values for each of at least one row")
    gains = gains - bases
    if not (np.isfinite(gains).all() and np.isfinite(shares).all() and (shares > 0).all() and num_resamples > 0):
        raise ValueError("a paired bootstrap takes finite values, weights above 0 and at least one resample")
    num_rows = len(gains)
    random = np.random.default_rng(seed)
    statistics = np.empty(num_resamples)
    step = max(1, _MAX_DRAWS_AT_ONCE // num_rows)
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        drawn = random.integers(0, num_rows, size=(size, num_rows), dtype=np.int32)  # (resamples, rows)
        totals = num_rows if weights is None else shares[drawn].sum(axis=1)
        statistics[start : start + size] = gains[drawn].sum(axis=1) / totals
    low, high = np.quantile(statistics, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high), float(gains.sum() / shares.sum()))


def wilson_interval(successes: int, n: int) -> Interval:
    """Return the 95 % interval of a share, honest for few rows and near 0 and 1.

    Raises ValueError unless 0 <= successes <= n and n > 0. Source: Wilson 1927, "Probable Inference, the Law of
    Succession, and Statistical Inference", J. Am. Stat. Assoc. 22.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"there can't be {successes} successes in {n} rows")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)), share)
