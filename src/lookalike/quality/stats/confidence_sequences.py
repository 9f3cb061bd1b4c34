"""Betting on answers: where the mean of what they bring lies, however often one looks. Pure.

A gambler who has one coin stakes a part of it on each answer x, at rates λ that are fixed before,
and has Π (1 + λ (x − m)) after n of them. Where the true mean is m or less the game is not in his
favour, so that he ever has 1/δ or more happens with chance δ at most (Ville 1939). A mean m at
which he would have so much is therefore excluded, and it may be looked after every answer and
stopped at any: what is excluded was so with at most that risk over all looks together. A coin is
shared out evenly over many rates, as nobody knows the best one before (Robbins 1970; Waudby-Smith
and Ramdas 2024). The product does not depend on the order of the answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import Interval

Vector = NDArray[np.float64]

_LEAST_RATE = 1 / 64
"""The lowest rate, as a share of what can be lost at most."""

_RATIO = 1.5
_HALVINGS = 40
_MOST_ANSWERS = 10**6
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class PairedGains:
    """What n answers brought, all (n,), and what each might have brought at `least` and `most`.

    These two must have been known before the answer. `weights` above 0 tell how many documents one
    stands for, up to a factor; `unit` and `scale` are the smallest and the greatest amount that
    ever are at stake.
    """

    gains: Vector
    least: Vector
    most: Vector
    weights: Vector
    unit: float
    scale: float

    def turned(self) -> PairedGains:
        """Return the same answers as who bets on the other side sees them."""
        return PairedGains(
            -self.gains, -self.most, -self.least, self.weights, self.unit, self.scale
        )

    def __len__(self) -> int:
        return len(self.gains)


def bounds(stakes: PairedGains, confidence: float) -> Interval:
    """Return where the weighted mean gain lies: at all looks, with a confidence, both ends.

    >>> import numpy as np
    >>> one = np.ones(40)
    >>> wins = PairedGains(one, -one, one, one, unit=1.0, scale=1.0)
    >>> bounds(wins, 0.95).low > 0.6
    True
    """
    risk = (1 - confidence) / 2
    return Interval(_lowest(stakes, risk), -_lowest(stakes.turned(), risk))


def favours(stakes: PairedGains, confidence: float) -> int:
    """Return 1 where the mean gain is above zero, −1 where it is below, 0 where nobody can tell.

    It is what `bounds` say of zero, at less expense.
    """
    bar = -math.log((1 - confidence) / 2)
    if _log_mean(_log_wealth(stakes, 0.0)) >= bar:
        return 1
    return -1 if _log_mean(_log_wealth(stakes.turned(), 0.0)) >= bar else 0


def more_needed(stakes: PairedGains, confidence: float) -> int | None:
    """Return how many answers like these, and one that brings nothing, tell the mean from zero.

    Counted beyond those that are here; None where so many are not to be expected.
    """
    risk = (1 - confidence) / 2
    totals = [_total_needed(one, risk) for one in (stakes, stakes.turned())]
    known = [one for one in totals if one is not None]
    return max(min(known) - len(stakes), 1) if known else None


def mcnemar(first: int, second: int) -> float:
    """Return the two-sided p of McNemar's exact test: of so many that one alone got right.

    It holds for one look that was decided on beforehand. (McNemar 1947.)

    >>> round(mcnemar(1, 9), 4)
    0.0215
    """
    total, fewer = first + second, min(first, second)
    tail = sum(math.comb(total, hits) for hits in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**total)) if total else 1.0


def _lowest(stakes: PairedGains, risk: float) -> float:
    """Return the greatest mean that is excluded from below; the least of all where none is."""
    floor = float(stakes.least.min(initial=-stakes.scale))
    low, high = floor, float(stakes.most.max(initial=stakes.scale))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        excluded = _log_mean(_log_wealth(stakes, middle)) >= -math.log(risk)
        low, high = (middle, high) if excluded else (low, middle)
    return low


def _rates(stakes: PairedGains) -> Vector:
    """Return the rates (k,), for one unit of what is at stake."""
    lowest, highest = _LEAST_RATE / stakes.scale, 1 / stakes.unit
    count = math.ceil(math.log(highest / lowest) / math.log(_RATIO)) + 1
    return np.geomspace(lowest, highest, count)


def _log_wealth(stakes: PairedGains, mean: float) -> Vector:
    """Return the logarithm of what each rate has made of its coin (k,).

    A rate that could have lost more than there was has stopped, with nothing.
    """
    rates = _rates(stakes)
    weights = stakes.weights / stakes.weights.max(initial=_ROUNDING)
    could_lose = float((weights * (mean - stakes.least)).max(initial=0.0))
    growth = np.full(len(rates), -np.inf)
    alive = rates * could_lose <= 1 + _ROUNDING
    factors = 1 + rates[alive, None] * (weights * (stakes.gains - mean))
    with np.errstate(divide="ignore"):
        growth[alive] = np.log(np.maximum(factors, 0)).sum(axis=1)
    return growth


def _log_mean(logs: Vector) -> float:
    most = float(logs.max())
    if most == -math.inf:
        return most
    return most + math.log(float(np.exp(logs - most).mean()))


def _total_needed(stakes: PairedGains, risk: float) -> int | None:
    if len(stakes) == 0:
        return None
    growth = _log_wealth(stakes, 0.0) / (len(stakes) + 1)

    def is_enough(count: int) -> bool:
        return _log_mean(count * growth) >= -math.log(risk)

    if not is_enough(_MOST_ANSWERS):
        return None
    low, high = 0, _MOST_ANSWERS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
