"""Confidence sequences: bounds of a mean that hold at every number of answers. By betting. Pure.

For answers x and a rate λ fixed in advance, the wealth Π (1 + λ (x − m)) starts at 1. If the true
mean is m or less, the wealth is a supermartingale, so it reaches 1/δ with probability δ at most
(Ville 1939). A mean m at which the wealth reaches 1/δ is therefore excluded. This holds after every
answer, so a person may look at any time and stop: the risk of an error is δ over all looks
together. The wealth is the mean over many rates, as the best one is unknown in advance (Robbins
1970; Waudby-Smith and Ramdas 2024). The product does not depend on the order of the answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import Interval

Vector = NDArray[np.float64]

_LEAST_RATE = 1 / 64
"""The lowest rate, as a share of the greatest possible loss."""

_RATIO = 1.5
_HALVINGS = 40
_MOST_ANSWERS = 10**6
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class PairedGains:
    """The `gains` (n,) of n answers, with the `least` and `most` (n,) that each could have brought.

    These two must not depend on the answer. `weights` (n,), above 0, are proportional to the number
    of documents that an answer represents. `unit` and `scale` are the smallest and the greatest
    possible amount of a gain or loss.
    """

    gains: Vector
    least: Vector
    most: Vector
    weights: Vector
    unit: float
    scale: float

    def negated(self) -> PairedGains:
        """Return the same answers with the gains of the other side."""
        return PairedGains(
            -self.gains, -self.most, -self.least, self.weights, self.unit, self.scale
        )

    def __len__(self) -> int:
        return len(self.gains)


def bounds(gains: PairedGains, confidence: float) -> Interval:
    """Return the two-sided interval of the weighted mean gain, valid at all looks together.

    >>> import numpy as np
    >>> one = np.ones(40)
    >>> wins = PairedGains(one, -one, one, one, unit=1.0, scale=1.0)
    >>> bounds(wins, 0.95).low > 0.6
    True
    """
    risk = (1 - confidence) / 2
    return Interval(_lowest(gains, risk), -_lowest(gains.negated(), risk))


def favours(gains: PairedGains, confidence: float) -> int:
    """Return 1 if the mean gain is above zero, −1 if it is below, 0 while undecided.

    The same as comparing `bounds` with zero, but faster.
    """
    needed = -math.log((1 - confidence) / 2)
    if _log_mean(_log_wealth(gains, 0.0)) >= needed:
        return 1
    return -1 if _log_mean(_log_wealth(gains.negated(), 0.0)) >= needed else 0


def more_needed(gains: PairedGains, confidence: float) -> int | None:
    """Return how many more answers are needed until the mean differs from zero.

    It assumes that further answers are like these, plus one with no gain. None where too many would
    be needed.
    """
    risk = (1 - confidence) / 2
    totals = [_total_needed(one, risk) for one in (gains, gains.negated())]
    known = [one for one in totals if one is not None]
    return max(min(known) - len(gains), 1) if known else None


def mcnemar(first: int, second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947).

    `first` and `second` count the documents that only that side got right. The p-value holds for a
    single look, planned in advance.

    >>> round(mcnemar(1, 9), 4)
    0.0215
    """
    total, fewer = first + second, min(first, second)
    tail = sum(math.comb(total, hits) for hits in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**total)) if total else 1.0


def _lowest(gains: PairedGains, risk: float) -> float:
    """Return the lower bound of the mean: the greatest mean that is excluded.

    The least possible gain where no mean is excluded.
    """
    floor = float(gains.least.min(initial=-gains.scale))
    low, high = floor, float(gains.most.max(initial=gains.scale))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        excluded = _log_mean(_log_wealth(gains, middle)) >= -math.log(risk)
        low, high = (middle, high) if excluded else (low, middle)
    return low


def _rates(gains: PairedGains) -> Vector:
    """Return the rates λ (k,), per review."""
    lowest, highest = _LEAST_RATE / gains.scale, 1 / gains.unit
    count = math.ceil(math.log(highest / lowest) / math.log(_RATIO)) + 1
    return np.geomspace(lowest, highest, count)


def _log_wealth(gains: PairedGains, mean: float) -> Vector:
    """Return the logarithm of the wealth (k,) at each rate.

    −inf at a rate so high that the wealth could have become negative.
    """
    rates = _rates(gains)
    weights = gains.weights / gains.weights.max(initial=_ROUNDING)
    greatest_loss = float((weights * (mean - gains.least)).max(initial=0.0))
    log_wealth = np.full(len(rates), -np.inf)
    allowed = rates * greatest_loss <= 1 + _ROUNDING
    factors = 1 + rates[allowed, None] * (weights * (gains.gains - mean))
    with np.errstate(divide="ignore"):
        log_wealth[allowed] = np.log(np.maximum(factors, 0)).sum(axis=1)
    return log_wealth


def _log_mean(logs: Vector) -> float:
    """Return the logarithm of the mean of numbers that are given by their logarithms."""
    most = float(logs.max())
    if most == -math.inf:
        return most
    return most + math.log(float(np.exp(logs - most).mean()))


def _total_needed(gains: PairedGains, risk: float) -> int | None:
    if len(gains) == 0:
        return None
    growth = _log_wealth(gains, 0.0) / (len(gains) + 1)

    def is_enough(count: int) -> bool:
        return _log_mean(count * growth) >= -math.log(risk)

    if not is_enough(_MOST_ANSWERS):
        return None
    low, high = 0, _MOST_ANSWERS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
