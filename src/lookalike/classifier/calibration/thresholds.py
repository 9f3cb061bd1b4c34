"""Decision thresholds: the lowest probability at which a label is assigned at a target. Pure.

The lower of two thresholds is used. The estimated one is where the mean probability of the items
above it falls to the target precision; the certified one is proven by random answers alone
(`intervals.certified_threshold`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import EVEN, certified_threshold, checks_needed
from lookalike.classifier.calibration.logistic import Vector

UNREACHABLE = 2.0
"""The threshold if nothing can be accepted at the target precision."""

CERTAINTY = 0.90
"""The confidence level of a certificate."""

_PROVABLE = 0.999
"""The highest target that answers can prove: it takes 2,300; no number proves a precision of 1."""


@dataclass(frozen=True, slots=True)
class PredictedItems:
    """Items (m,): predicted column, its probability, and, where known, whether it is right."""

    winners: NDArray[np.int64]
    p: Vector
    right: NDArray[np.bool_]

    def of(self, rows: NDArray[np.bool_]) -> PredictedItems:
        """Return some of the items."""
        return PredictedItems(self.winners[rows], self.p[rows], self.right[rows])


@dataclass(frozen=True, slots=True)
class Threshold:
    """The `lowest` accepted probability; whether a certificate set it, and about how many more
    random answers would certify one, if all are right.
    """

    lowest: float
    certified: bool
    drawn_missing: int


def threshold_for(
    target: float, p: Vector, sampled: PredictedItems, labels: NDArray[np.bool_]
) -> Threshold:
    """Return the lower of two thresholds: estimated from the `p` of waiting items, and certified.

    Random answers, `sampled`, certify it; only those with predictions among `labels` (labels,)
    count.
    """
    sampled = sampled.of(labels[sampled.winners])
    descending = np.sort(p)[::-1]
    good = np.flatnonzero(np.cumsum(descending) / np.arange(1, len(descending) + 1) >= target)
    estimated = float(descending[good[-1]]) if len(good) else UNREACHABLE
    provable = min(target, _PROVABLE)
    proven = certified_threshold(sampled.p, sampled.right, provable, CERTAINTY)
    certified = UNREACHABLE if proven is None else proven
    return Threshold(
        lowest=max(min(estimated, certified), min(EVEN, target)),
        certified=certified < estimated,
        drawn_missing=_drawn_missing(provable, sampled),
    )


def _drawn_missing(target: float, sampled: PredictedItems) -> int:
    wrong = ~sampled.right[np.argsort(-sampled.p, kind="stable")]
    leading = int(wrong.argmax()) if wrong.any() else len(wrong)
    missing = max(checks_needed(target, CERTAINTY) - leading, 0)
    return math.ceil(missing * (len(wrong) + 1) / (leading + 1))
