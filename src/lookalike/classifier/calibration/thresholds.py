"""From which probability on a label is given, so that a target holds. Pure.

Of two limits the lower counts. The estimated one is where the mean of the probabilities above it
falls to the target; the certified one is proven by answers alone (`claims.certified_threshold`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import EVEN, certified_threshold, checks_needed
from lookalike.classifier.calibration.logistic import Vector

UNREACHABLE = 2.0
"""The limit where nothing can be accepted at the target."""

CERTAINTY = 0.90
"""How sure a certificate is."""

_PROVABLE = 0.999
"""No number of answers proves that all are right; so much takes 2,300."""


@dataclass(frozen=True, slots=True)
class JudgedItems:
    """Items (m,): what each would be taken for, how surely, and, where known, whether rightly."""

    winners: NDArray[np.int64]
    p: Vector
    right: NDArray[np.bool_]

    def of(self, rows: NDArray[np.bool_]) -> JudgedItems:
        """Return some of them."""
        return JudgedItems(self.winners[rows], self.p[rows], self.right[rows])


@dataclass(frozen=True, slots=True)
class Threshold:
    """The `lowest` probability that will do; whether a certificate set it, and about how many more
    random answers would let one do so, all going well.
    """

    lowest: float
    certified: bool
    drawn_missing: int


def threshold_for(
    target: float, p: Vector, trials: JudgedItems, labels: NDArray[np.bool_]
) -> Threshold:
    """Return the lower limit of two: estimated from the `p` of what waits, and certified by trials
    of some `labels` (labels,).
    """
    trials = trials.of(labels[trials.winners])
    falling = np.sort(p)[::-1]
    good = np.flatnonzero(np.cumsum(falling) / np.arange(1, len(falling) + 1) >= target)
    estimated = float(falling[good[-1]]) if len(good) else UNREACHABLE
    provable = min(target, _PROVABLE)
    proven = certified_threshold(trials.p, trials.right, provable, CERTAINTY)
    certified = UNREACHABLE if proven is None else proven
    return Threshold(
        lowest=max(min(estimated, certified), min(EVEN, target)),
        certified=certified < estimated,
        drawn_missing=_drawn_missing(provable, trials),
    )


def _drawn_missing(target: float, trials: JudgedItems) -> int:
    wrong = ~trials.right[np.argsort(-trials.p, kind="stable")]
    leading = int(wrong.argmax()) if wrong.any() else len(wrong)
    missing = max(checks_needed(target, CERTAINTY) - leading, 0)
    return math.ceil(missing * (len(wrong) + 1) / (leading + 1))
