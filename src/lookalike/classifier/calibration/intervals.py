"""Confidence intervals for shares, and how many answers they need. Pure.

All of them are about answers to a uniform random sample, each right or wrong, none selected by its
result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

EVEN = 0.5
"""Labels that are more likely wrong than right are never assigned, however precise the rest is."""

_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """A share lies between `low` and `high`, both in 0..1, with the requested confidence."""

    low: float
    high: float


def lower_bound(right: int, checked: int, confidence: float) -> float:
    """Return a lower bound of the share of right answers, from `right` of `checked`
    (Clopper–Pearson).

    One-sided and exact: at most 1 − `confidence` of such bounds lie above the true share.

    >>> round(lower_bound(45, 45, 0.90), 3)
    0.95
    """
    low, high = 0.0, 1.0
    log_counts = _log_counts(right, checked)
    for _ in range(_HALVINGS if right else 0):
        share = (low + high) / 2
        rare = _at_least(log_counts, checked, share) <= 1 - confidence
        low, high = (share, high) if rare else (low, share)
    return low


def upper_bound(hits: int, checked: int, confidence: float) -> float:
    """Return an upper bound of the share of `hits`: one-sided and exact, like `lower_bound`."""
    return 1 - lower_bound(checked - hits, checked, confidence)


def certifies(right: int, checked: int, target: float, confidence: float) -> bool:
    """Return whether `lower_bound` reaches a `target` above 0, without computing the bound."""
    return _at_least(_log_counts(right, checked), checked, target) <= 1 - confidence


def checks_needed(target: float, confidence: float, wrong: int = 0) -> int:
    """Return how many answers, `wrong` of them wrong, certify a share of right answers of `target`.

    >>> [checks_needed(0.95, 0.90, wrong) for wrong in range(4)]
    [45, 77, 105, 132]
    """
    high = wrong + 1
    while not certifies(high - wrong, high, target, confidence):
        high *= 2
    low = wrong
    while high - low > 1:
        middle = (low + high) // 2
        enough = certifies(middle - wrong, middle, target, confidence)
        low, high = (low, middle) if enough else (middle, high)
    return high


def certified_threshold(
    p: NDArray[np.float64], right: NDArray[np.bool_], target: float, confidence: float
) -> float | None:
    """Return the lowest p from which answers are certified to be right at `target`, or None.

    `p` (m,) are a rule's probabilities for random samples that it had not seen, `right` (m,)
    whether it was right. Thresholds are tested from the strictest down, each as soon as the answers
    above it could pass with one more wrong, and the first failure ends the tests: such a fixed
    sequence needs no correction for multiple testing. (Maurer, Hothorn and Lehmacher 1995.)
    """
    order = np.argsort(-p, kind="stable")
    descending, hits = p[order], np.cumsum(right[order])
    threshold, wrong = None, 0
    while (size := checks_needed(target, confidence, wrong)) <= len(descending):
        last = int(np.searchsorted(-descending, -descending[size - 1], side="right"))
        if not certifies(int(hits[last - 1]), last, target, confidence):
            break
        threshold, wrong = float(descending[size - 1]), wrong + 1
    return threshold


def wilson(hits: int, checked: int, confidence: float) -> Interval:
    """Return the confidence interval of a share estimated by `hits` of `checked` (Wilson 1927)."""
    if checked == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = hits / checked, z * z / checked
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / checked + spread / (4 * checked)) / (1 + spread)
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0))


def _log_counts(right: int, checked: int) -> NDArray[np.float64]:
    """Return the logarithms of the binomial coefficients of 0, 1, … up to `checked` − `right`
    misses.
    """
    misses = np.arange(1, checked - right + 1)
    return np.concatenate([[0.0], np.cumsum(np.log((checked - misses + 1) / misses))])


def _at_least(log_counts: NDArray[np.float64], checked: int, share: float) -> float:
    """Return the probability of at most that many misses in `checked` trials of success rate
    `share`.

    `share` is in (0, 1); `log_counts` are those of `_log_counts`, from 0 misses on.
    """
    wrong = np.arange(len(log_counts))
    logs = log_counts + wrong * math.log1p(-share) + (checked - wrong) * math.log(share)
    return float(np.exp(logs).sum())
