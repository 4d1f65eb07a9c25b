"""A template's results on its test rows: figures, and the comparison of a draft with the published version."""

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
# A bootstrap of few rows is too certain: three rows that all gain would always be "better". Five coins fall on the same
# side in 6 % of all cases (two-sided sign test), six in 3 %.
MIN_DIFFERING_ROWS: Final = 6
_MAX_DRAWS_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval of a value, and the value."""

    low: float
    high: float
    mean: float


@dataclass(frozen=True, slots=True)
class ClassifyOutcome:
    """The result of one row of a classify template: each label's log-probability (nats), in order.

    `sketch` is that of what the model expects after the row's prompt, () if it was not asked for.
    """

    logprobs: tuple[float, ...]
    sketch: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class CompleteOutcome:
    """The result of one test row with free text: the reference output's surprisal in nats, and its UTF-8 bytes.

    `is_exact` says whether the greedy answer equals it; None if that was not tested (several lines).
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
    """The results of a classify template on its rows, in their order.

    `right` and `answered` are indexes into `labels`; `right` is None for an output that is not a label, so that every
    answer is wrong. `right_bits` is -log2 of the right label's probability, infinite if there is none.
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
        """Return for each row whether the answer was the right label."""
        return tuple(right == answer for right, answer in zip(self.right, self.answered, strict=True))

    @property
    def accuracy(self) -> float:
        """Return the share of rows with the right answer (0-1)."""
        return sum(self.is_right) / self.num_rows

    @property
    def accuracy_interval(self) -> Interval:
        """Return the Wilson interval of the accuracy."""
        return wilson_interval(sum(self.is_right), self.num_rows)

    @property
    def guessed_share(self) -> float:
        """Return the share of rows (0-1) that always the same label, the most frequent right one, would get."""
        return max(self.right.count(index) for index in range(len(self.labels))) / self.num_rows

    @property
    def mean_bits(self) -> float:
        """Return the mean of `right_bits`: 0 if every right label was certain, log2(number of labels) for guesses."""
        return math.fsum(self.right_bits) / self.num_rows

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Return how often each right label (line) was answered with each label (column)."""
        counts = [[0] * len(self.labels) for _ in self.labels]
        for right, answer in zip(self.right, self.answered, strict=True):
            if right is not None:
                counts[right][answer] += 1
        return tuple(tuple(line) for line in counts)


@dataclass(frozen=True, slots=True)
class CompleteFigures:
    """The results of a template with free text on its rows, in their order."""

    outcomes: tuple[CompleteOutcome, ...]

    @property
    def num_rows(self) -> int:
        """Return the number of rows."""
        return len(self.outcomes)

    @property
    def bits_per_byte(self) -> float:
        """Return the bits per byte of the reference outputs: the sum of bits over the sum of bytes."""
        return math.fsum(self.row_bits) / sum(outcome.num_bytes for outcome in self.outcomes)

    @property
    def row_bits(self) -> tuple[float, ...]:
        """Return the bits of each row's reference output."""
        return tuple(outcome.nats / math.log(2) for outcome in self.outcomes)

    @property
    def num_exact(self) -> int:
        """Return for how many rows the answer was exactly the reference output."""
        return sum(outcome.is_exact is True for outcome in self.outcomes)

    @property
    def exact_share(self) -> float | None:
        """Return the share of exact answers among the rows where that was tested, None if it never was."""
        num_asked = sum(outcome.is_exact is not None for outcome in self.outcomes)
        return self.num_exact / num_asked if num_asked else None


Figures = ClassifyFigures | CompleteFigures


@dataclass(frozen=True, slots=True)
class FiguresComparison:
    """A draft compared with the published version on the same rows.

    `interval` is the draft's gain, above 0 if the draft is better: in accuracy (classify), or in bits per byte saved.
    `fixed` are the indexes of rows that only the draft answered right (or exactly), `broken` of those that only the
    published version did; `num_differing` counts the rows with any difference.
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
    """Return the figures of a classify template, from calibrated probabilities if `prior` is given.

    Raises ValueError without rows, or if the numbers of outcomes, rows, labels and log-probabilities do not agree.
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
        # 0.0 - x, because -0.0 would be shown with its sign.
        bits.append(math.inf if index is None else 0.0 - logprobs[index] / math.log(2))
    return ClassifyFigures(tuple(labels), right, tuple(answered), tuple(bits))


def measure_complete(outcomes: Sequence[CompleteOutcome]) -> CompleteFigures:
    """Return the figures of a template with free text. Raises ValueError without outcomes."""
    if not outcomes:
        raise ValueError("figures need at least one row")
    return CompleteFigures(tuple(outcomes))


def compare(draft: Figures, published: Figures) -> FiguresComparison:
    """Say whether `draft` is better than `published`. Both are figures of one kind on the same rows in the same order.

    Accuracy decides for classify, bits per byte for the rest. The verdict is "better" or "worse" if the interval
    excludes 0 and at least MIN_DIFFERING_ROWS rows differ. Raises ValueError if the figures can't be compared.
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
        # A row that was tested for only one side is neither fixed nor broken.
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
    """Return the 95 % percentile interval of sum(a - b) / sum(weights) over rows resampled with replacement.

    Without `weights` (each above 0) that is the mean difference; with each row's bytes as its weight, and bits in `a`
    and `b`, it is the difference in bits per byte. The same arguments give the same interval. Raises ValueError without
    rows, for unequal lengths, and for values that are not finite. Source: Efron & Tibshirani 1993, chapter 13.
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
    """Return the 95 % interval of a share, which stays valid for few rows and near 0 and 1.

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
