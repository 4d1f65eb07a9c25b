"""Labels from the examples nearest to an input, blended with the model's own probabilities.

Sources: Xu, Wang, Guo, Zhang, Zhao, Wang 2023, "kNN Prompting: Beyond-Context Learning with Calibration-Free Nearest
Neighbor Inference", arXiv 2303.13824; Khandelwal, Levy, Jurafsky, Zettlemoyer, Lewis 2020, "Generalization through
Memorization: Nearest Neighbor Language Models", arXiv 1911.00172.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bot.core.classification import calibrate_logprobs
from bot.core.statistics import ClassifyOutcome
from bot.core.templates.template import Example, Neighbours

Numbers = NDArray[np.float64]

NUMS_NEAREST: Final = (1, 2, 4, 8, 16, 32)
WEIGHTS: Final = tuple(step / 10 for step in range(11))
# Smaller savings are rounding: the smaller weight and then the fewer examples win.
_MIN_GAIN_BITS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Near:
    """An example near an input: its index among the kept ones, and how alike they are (-1 to 1)."""

    index: int
    likeness: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The setting that leave-one-out chose, and each row's bits of the right label without it and with it."""

    num_nearest: int
    weight: float
    bits_before: tuple[float, ...]
    bits_after: tuple[float, ...]


class KeptRows:
    """Labelled examples that are not in the prompt, as the model reads them; inputs are compared with them.

    Every outcome has a sketch. Raises ValueError without rows, or if there are not as many outcomes.
    """

    def __init__(
        self,
        labels: Sequence[str],
        rows: Sequence[Example],
        outcomes: Sequence[ClassifyOutcome],
        prior: Sequence[float],
    ) -> None:
        if not rows or len(rows) != len(outcomes):
            raise ValueError("neighbours need an outcome for each of at least one row")
        index_of = {label: i for i, label in enumerate(labels)}
        self.rows = tuple(rows)
        self._prior = tuple(prior)
        self._right = np.array([index_of[row.output] for row in rows])  # (rows,)
        self._is_label = np.eye(len(labels))[self._right]  # (rows, labels)
        self._calibrated = np.array([calibrate_logprobs(one.logprobs, prior) for one in outcomes])  # (rows, labels)
        sketches = np.array([one.sketch for one in outcomes], dtype=np.float64)  # (rows, sketch)
        # What all rows have in common tells nothing apart.
        self._middle = sketches.mean(axis=0)
        self._directions = _directions(sketches - self._middle)

    def nearest(self, outcome: ClassifyOutcome, num: int) -> tuple[Near, ...]:
        """Return the `num` rows most like the input of `outcome`, the nearest first; of equals the earlier one."""
        likeness = self._likeness(outcome)
        return tuple(Near(int(i), float(likeness[i])) for i in np.argsort(-likeness, kind="stable")[:num])

    def blend(self, outcome: ClassifyOutcome, setting: Neighbours) -> tuple[float, ...]:
        """Return the log-probability of each label (nats): calibrated, mixed with the shares among the nearest rows."""
        order = np.argsort(-self._likeness(outcome), kind="stable")[: setting.num_nearest]
        shares = _shares(self._is_label[order].sum(axis=0), len(order))
        mixed = _mix(np.array(calibrate_logprobs(outcome.logprobs, self._prior)), shares, setting.weight)
        return tuple(float(logprob) for logprob in mixed)

    def choose(self) -> Choice:
        """Return the number of nearest rows and the weight with the fewest bits of the right label, left out in turn.

        Each row is answered from all others but those with the same input. Of equal settings the smaller weight wins,
        then the fewer rows.
        """
        every = np.arange(len(self.rows))
        own = self._calibrated
        before = _bits(own[every, self._right])
        best = Choice(NUMS_NEAREST[0], 0.0, tuple(before), tuple(before))
        lowest = float(before.mean())
        shares_by_num = {num: self._left_out_shares(num) for num in NUMS_NEAREST if num < len(self.rows)}
        for weight in WEIGHTS[1:]:
            for num, shares in shares_by_num.items():
                bits = _bits(_mix(own, shares, weight)[every, self._right])
                if bits.mean() < lowest - _MIN_GAIN_BITS:
                    lowest = float(bits.mean())
                    best = Choice(num, weight, tuple(before), tuple(bits))
        return best

    def left_out_answers(self, setting: Neighbours) -> tuple[int, ...]:
        """Return the index of each row's likeliest label, answered as in `choose`."""
        mixed = _mix(self._calibrated, self._left_out_shares(setting.num_nearest), setting.weight)
        return tuple(int(i) for i in mixed.argmax(axis=1))

    def _left_out_shares(self, num: int) -> Numbers:
        """Return the shares of the labels among the `num` rows nearest to each row (rows, labels)."""
        likeness = self._directions @ self._directions.T
        group_of = {text: i for i, text in enumerate(dict.fromkeys(row.input.strip() for row in self.rows))}
        groups = np.array([group_of[row.input.strip()] for row in self.rows])
        is_same = groups[:, None] == groups
        likeness[is_same] = -np.inf
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :num]  # (rows, num)
        counts = np.take_along_axis(~is_same, order, axis=1)[:, :, None] * self._is_label[order]
        votes = counts.sum(axis=1)
        shares: Numbers = _shares(votes, votes.sum(axis=1, keepdims=True))
        return shares

    def _likeness(self, outcome: ClassifyOutcome) -> Numbers:
        likeness: Numbers = self._directions @ _directions(np.array(outcome.sketch)[None] - self._middle)[0]
        return likeness


def _directions(sketches: Numbers) -> Numbers:
    """Return each row divided by its length; a row of zeros stays one."""
    lengths = np.linalg.norm(sketches, axis=1, keepdims=True)
    divided: Numbers = sketches / np.where(lengths > 0, lengths, 1)
    return divided


def _shares(votes: Numbers, num: int | Numbers) -> Numbers:
    """Return the share of each label among `num` votes, with one more vote split among all, so that none is 0."""
    shares: Numbers = (votes + 1 / votes.shape[-1]) / (num + 1)
    return shares


def _mix(calibrated: Numbers, shares: Numbers, weight: float) -> Numbers:
    """Return log((1 - weight) exp(calibrated) + weight shares), exact for a weight of 0."""
    if weight == 0:
        return calibrated
    near: Numbers = np.log(shares) + math.log(weight)
    mixed: Numbers = near if weight == 1 else np.logaddexp(calibrated + math.log(1 - weight), near)
    return mixed


def _bits(logprobs: Numbers) -> Numbers:
    bits: Numbers = 0.0 - logprobs / math.log(2)
    return bits
