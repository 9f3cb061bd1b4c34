"""What may be claimed from answers counted: bounds on shares, and how many answers they take. Pure.

All speak of answers to a uniform random draw, each right or wrong, none chosen by its result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

from scipy.stats import beta, norm


@dataclass(frozen=True, slots=True)
class Interval:
    """A share lies between `low` and `high`, both in 0..1, with the confidence that was asked."""

    low: float
    high: float


def lower_bound(right: int, checked: int, confidence: float) -> float:
    """Return what the share of right ones is at least, from `right` of `checked` (Clopper–Pearson).

    One-sided and exact: at most 1 − `confidence` of such bounds lie above the true share.

    >>> round(lower_bound(45, 45, 0.90), 3)
    0.95
    """
    if right == 0:
        return 0.0
    return float(beta.ppf(1 - confidence, right, checked - right + 1))


def upper_bound(hits: int, checked: int, confidence: float) -> float:
    """Return what the share of `hits` is at most: one-sided and exact, like `lower_bound`."""
    return 1 - lower_bound(checked - hits, checked, confidence)


def checks_needed(target: float, confidence: float, wrong: int = 0) -> int:
    """Return how many answers with `wrong` wrong ones certify a share of right ones of `target`.

    The smallest m whose `lower_bound(m − wrong, m, confidence)` is at least the target, in (0, 1).

    >>> [checks_needed(0.95, 0.90, wrong) for wrong in range(4)]
    [45, 77, 105, 132]
    """
    low, high = wrong, next(
        wrong + 2**power
        for power in count()
        if lower_bound(2**power, wrong + 2**power, confidence) >= target
    )
    while high - low > 1:
        middle = (low + high) // 2
        enough = lower_bound(middle - wrong, middle, confidence) >= target
        low, high = (low, middle) if enough else (middle, high)
    return high


def wilson(hits: int, count: int, confidence: float) -> Interval:
    """Return the interval of a share of which `hits` of `count` are an estimate (Wilson 1927)."""
    if count == 0:
        return Interval(0.0, 1.0)
    z = float(norm.ppf((1 + confidence) / 2))
    share, spread = hits / count, z * z / count
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0))


def risk_of_look(risk: float, look: int) -> float:
    """Return δ_j = 6δ / (π² j²), the risk that the `look`-th look, from 1, may take of δ = `risk`.

    All looks together take no more than δ, however many there are.
    """
    return 6 * risk / (math.pi * look) ** 2
