"""The error rate of automatic labels, from a random sample that a person checks (audit). Pure.

A sample is drawn from all automatic labels at once, or from **strata** of similar confidence, each
with its own part of the sample. The intervals hold for any number of checks: by Clopper and Pearson
(1934) for a simple sample, by Hoeffding (1963) for strata.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import (
    Interval,
    certifies,
    lower_bound,
    upper_bound,
    wilson,
)
from lookalike.errors import BadInput
from lookalike.model import Verdict

CONFIDENCE = 0.95
"""The confidence level of intervals and certificates."""

_LEAST_ERROR = 0.02
"""The lowest error rate that `allocation` assumes of a stratum."""

_TILTS = np.geomspace(0.02, 60.0, 80)
"""The values of λ at which Hoeffding's bound is computed, in units of one answer."""

_EXACT_UP_TO = 10_000
"""Above this number of checks, plans use Wilson's interval: nearly the same, and much faster."""

_HALVINGS = 60
_TINY = np.finfo(np.float64).tiny
_MOST_CHECKS = 10**7


@dataclass(frozen=True, slots=True)
class Stratum:
    """Automatic labels of similar confidence, from `low` to `high`, and the answers to them.

    Of `size` labels, `drawn` are in the sample. `checked` of these were answered right or wrong,
    `wrong` of them wrong; for `unclear` others the person could not tell.
    """

    low: float
    high: float
    size: int
    drawn: int = 0
    checked: int = 0
    wrong: int = 0
    unclear: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The share (`rate`) of automatic labels that are wrong; None until each stratum has a check.

    Of `size` labels `checked` were checked, and `wrong` were wrong. `low` and `high` are the bounds
    of the 95 % confidence interval.
    """

    size: int
    checked: int
    wrong: int
    rate: float | None
    low: float
    high: float

    def corrected(self, slips: float) -> Interval:
        """Return the interval for a person who answers a share of `slips` wrongly, in either way.

        Of a true share θ such a person finds θ (1 − s) + (1 − θ) s (Rogan and Gladen 1978). Raises
        BadInput unless 0 ≤ slips < 0.5.
        """
        if not 0 <= slips < 0.5:
            raise BadInput(f"slips of {slips} are too many; give a share from 0 to below 0.5")
        ends = ((one - slips) / (1 - 2 * slips) for one in (self.low, self.high))
        return Interval(*(min(max(one, 0.0), 1.0) for one in ends))


@dataclass(frozen=True, slots=True)
class AuditItem:
    """A label that was checked: the automatic `label`, and the person's answer.

    `truth` is the correct label, if the person gave it; `source` the reference that caused the
    automatic label; `probability` that of being sampled. `document` is None once it was erased.
    """

    document: str | None
    label: str | None
    confidence: float | None
    probability: float
    verdict: Verdict
    truth: str | None
    actor: str
    source: str | None


@dataclass(frozen=True, slots=True)
class Audit:
    """A frozen sample of the automatic labels of a field, and the estimates so far.

    `waiting` are the documents that nobody has answered yet, in the order of asking; their labels
    are hidden. `unanswered` counts these, also once the audit is closed, and documents that were
    erased before an answer. `labels` has the estimate of each label in the sample.
    """

    id: str
    collection: str
    field: str
    at: datetime
    actor: str
    closed_at: datetime | None
    estimate: Estimate
    labels: dict[str, Estimate]
    strata: tuple[Stratum, ...]
    cannot_tell: int
    unanswered: int
    waiting: tuple[str, ...]
    answered: tuple[AuditItem, ...]

    def at_least(self, confidence: float = CONFIDENCE) -> float | None:
        """Return a lower bound of the share of labels that are right, with a confidence.

        None while an answer is missing, as people may have answered the easy ones first. "Cannot
        tell" counts as wrong.
        """
        _check_confidence(confidence)
        if self.unanswered or not self.estimate.checked:
            return None
        strict = [
            replace(one, checked=one.checked + one.unclear, wrong=one.wrong + one.unclear)
            for one in self.strata
        ]
        return 1 - upper(strict, confidence)

    def more_checks(self, half_width: float) -> int:
        """Return about how many further checks narrow the interval to ± `half_width`."""
        return more_checks(self.strata, half_width)


def estimate(strata: Sequence[Stratum]) -> Estimate:
    """Return the share of wrong labels in all strata together, estimated from the checks."""
    tail = (1 + CONFIDENCE) / 2
    return Estimate(
        size=sum(one.size for one in strata),
        checked=sum(one.checked for one in strata),
        wrong=sum(one.wrong for one in strata),
        rate=_rate(strata),
        low=lower(strata, tail),
        high=upper(strata, tail),
    )


def interval(strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> Interval:
    """Return the confidence interval of the share of wrong labels.

    >>> found = interval([Stratum(0.0, 1.0, size=4000, drawn=50, checked=50, wrong=2)])
    >>> round(found.low, 3), round(found.high, 3)
    (0.005, 0.137)
    """
    tail = (1 + confidence) / 2
    return Interval(lower(strata, tail), upper(strata, tail))


def upper(strata: Sequence[Stratum], confidence: float) -> float:
    """Return the one-sided upper bound of the share of wrong labels, at a confidence.

    In one stratum the bound is exact (Clopper and Pearson). In several, the shares p_h of wrong
    labels are unknown, and the worst case counts: the bound is the highest θ for which some p_h
    with Σ w_h p_h = θ keep the probability of an estimate ≤ t above 1 − `confidence`. That
    probability is at most the minimum over λ of exp(λ t) Π (1 − p_h + p_h exp(−λ w_h / n_h))^n_h
    (Hoeffding 1963, theorem 1; theorem 4 for sampling without replacement, as here). w_h is the
    stratum's share of all labels, n_h its number of checks. A stratum without a check may be all
    wrong.
    """
    if len(strata) == 1:
        return upper_bound(strata[0].wrong, strata[0].checked, confidence)
    counts = [(one.size, one.checked, one.wrong) for one in strata if one.size]
    return _worst_share(np.array(counts, float).reshape(-1, 3), 1 - confidence)


def lower(strata: Sequence[Stratum], confidence: float) -> float:
    """Return the one-sided lower bound of the share of wrong labels, like `upper`."""
    if len(strata) == 1:
        return lower_bound(strata[0].wrong, strata[0].checked, confidence)
    return 1 - upper([replace(one, wrong=one.checked - one.wrong) for one in strata], confidence)


def more_checks(strata: Sequence[Stratum], half_width: float) -> int:
    """Return how many further checks, allocated as before, narrow the interval to ± `half_width`.

    It assumes the error rates seen so far, plus half an error. It never returns more than the
    number of unchecked labels: once all labels are checked, the share is known.
    """
    if not 0 < half_width < 1:
        raise BadInput(f"half_width is {half_width}; give a share between 0 and 1, such as 0.05")
    checked, size = sum(one.checked for one in strata), sum(one.size for one in strata)
    overall = (sum(one.wrong for one in strata) + 0.5) / (checked + 1)
    shares = [(one.wrong + overall) / (one.checked + 1) for one in strata]
    weights = np.array([one.drawn or one.size for one in strata], float)
    weights /= max(weights.sum(), 1)

    def is_enough(count: int) -> bool:
        planned = [
            replace(one, checked=round(count * weight), wrong=round(count * weight * share))
            for one, weight, share in zip(strata, weights.tolist(), shares, strict=True)
        ]
        if len(planned) == 1:
            return _is_narrow(planned[0].wrong, planned[0].checked, 2 * half_width)
        found = interval(planned)
        return found.high - found.low <= 2 * half_width

    low, high = checked, max(checked, 1)
    while not is_enough(high) and high < min(size, _MOST_CHECKS):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return max(min(high, size) - checked, 0)


def _is_narrow(wrong: int, checked: int, width: float) -> bool:
    """Return whether the interval for `wrong` of `checked` is at most `width` wide."""
    if checked > _EXACT_UP_TO:
        found = wilson(wrong, checked, CONFIDENCE)
        return found.high - found.low <= width
    tail = (1 + CONFIDENCE) / 2
    most = lower_bound(wrong, checked, tail) + width
    return most >= 1 or certifies(checked - wrong, checked, 1 - most, tail)


def strata_of(confidence: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the stratum (n,) of each label, 0 for the lowest confidence: strata of similar size.

    Labels with the same `confidence` (n,) are in one stratum, so there may be fewer than `count`.
    """
    cuts = np.unique(np.quantile(confidence, np.arange(1, count) / count))
    codes = np.searchsorted(cuts, confidence, side="right")
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def allocation(sizes: Sequence[int], errors: Sequence[float], count: int) -> list[int]:
    """Return how many labels to sample from each stratum, `count` altogether (Neyman 1934).

    The part of a stratum with `sizes` labels and the expected error rate `errors` is proportional
    to size · √(e (1 − e)): at least 1, at most its size.
    """
    e = np.clip(np.array(errors, float), _LEAST_ERROR, 0.5)
    sized = np.array(sizes)
    wanted = sized * np.sqrt(e * (1 - e))
    drawn = np.minimum(sized, 1)
    for _ in range(min(count, int(sized.sum())) - int(drawn.sum())):
        lack = np.where(drawn < sized, wanted / (drawn + 1), -1.0)
        drawn[int(lack.argmax())] += 1
    return [int(one) for one in drawn]


def _rate(strata: Sequence[Stratum]) -> float | None:
    size = sum(one.size for one in strata)
    if not size or any(one.size and not one.checked for one in strata):
        return None
    return sum(one.size * one.wrong / one.checked for one in strata if one.size) / size


def _worst_share(counts: NDArray[np.float64], risk: float) -> float:
    """Return the highest share of wrong labels that is not excluded at a risk.

    `counts` (h, 3) are size, checks and wrong ones of each stratum. For one λ the p_h with the
    highest probability solve a concave problem: where they are not 0 or 1, p_h = 1/a_h − n_h/(μ
    w_h) with a_h = 1 − exp(−λ w_h/n_h). The share rises and the probability falls with μ, so
    bisection finds μ, for all λ at once. Each λ gives a valid bound; the lowest one is returned.
    """
    weights = counts[:, 0] / counts[:, 0].sum()
    known = counts[:, 1] > 0
    unseen = float(weights[~known].sum())
    if not known.any():
        return 1.0
    w, n, k = weights[known], counts[known, 1], counts[known, 2]
    tilts = _TILTS * n.sum()
    seen, steps = float((w * k / n).sum()), tilts[:, None] * (w / n)
    a = -np.expm1(-steps)
    if (k >= n).all():
        return 1.0

    def shares(log_mu: NDArray[np.float64]) -> NDArray[np.float64]:
        free = 1 / a - np.exp(np.log(n / w) - log_mu[:, None])
        return np.asarray(free.clip(0.0, 1.0), np.float64)

    low = (np.log(n * a / w)).min(axis=1)
    high = (np.log(n * a / w) + steps).max(axis=1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        left = np.maximum(1 - a * shares(middle), _TINY)
        possible = tilts * seen + np.log(left) @ n >= math.log(risk)
        low, high = np.where(possible, middle, low), np.where(possible, high, middle)
    return min(unseen + float((shares(high) @ w).min()), 1.0)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise BadInput(f"confidence is {confidence}; give a share between 0 and 1, such as 0.95")
