"""Audits: how many automatic labels are wrong, from a random sample that a person checks. Pure.

A sample is drawn from all automatic labels at once, or from **strata** of like confidence, each
with its own share of the sample. How many may be wrong is bounded for any number of checks: by
Clopper and Pearson (1934) in a simple sample, by Hoeffding (1963) in strata.
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
"""So often an interval holds what it speaks of, and a certificate is right."""

_LEAST_ERROR = 0.02
"""Nothing is taken to be surer than this when a sample is shared out."""

_TILTS = np.geomspace(0.02, 60.0, 80)
"""Where the bound of Hoeffding is looked for, in units of one answer."""

_EXACT_UP_TO = 10_000
"""From so many checks on, plans take Wilson's interval, which is the same by then and at once."""

_HALVINGS = 60
_TINY = np.finfo(np.float64).tiny
_MOST_CHECKS = 10**7


@dataclass(frozen=True, slots=True)
class Stratum:
    """Automatic labels of like confidence, from `low` to `high`, and what a person said of them.

    There were `size` of them, `drawn` are in the sample, of which `checked` were answered right or
    wrong, `wrong` of them wrong; of `unclear` ones a person cannot tell.
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
    """The share of automatic labels that are wrong; None until there is a check in each stratum.

    Of `size` labels `checked` were checked. `low` and `high` hold the share with 95 % confidence.
    """

    size: int
    checked: int
    wrong: int
    rate: float | None
    low: float
    high: float

    def corrected(self, slips: float) -> Interval:
        """Return the interval for who errs in a share of `slips` of all answers, in either way.

        Of a true share θ such a person finds θ (1 − s) + (1 − θ) s (Rogan and Gladen 1978). Raises
        BadInput for slips that leave nothing to be learned.
        """
        if not 0 <= slips < 0.5:
            raise BadInput(f"slips of {slips} tell nothing; give a share from 0 to below 0.5")
        ends = ((one - slips) / (1 - 2 * slips) for one in (self.low, self.high))
        return Interval(*(min(max(one, 0.0), 1.0) for one in ends))


@dataclass(frozen=True, slots=True)
class AuditItem:
    """A label that was checked: what the machine had said, and what the person says.

    `truth` is the right label, where the person named it; `source` the reference that had caused
    the label; `probability` that of having been drawn. A document that was forgotten since is None.
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
    """A frozen sample of the automatic labels of a field, and what it tells so far.

    `waiting` are the documents that nobody has answered yet, in the order of asking; their labels
    are not shown. `unanswered` counts them also once the audit is closed, and those that were
    forgotten before an answer. `labels` estimates each label that was drawn.
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
        """Return what share of the audited labels is right at least, with a confidence.

        None while an answer is missing: what has been answered so far may be what was easy. Who
        cannot tell counts as wrong.
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
        """Return how many further checks bring the interval to ± `half_width`, as things look."""
        return more_checks(self.strata, half_width)


def estimate(strata: Sequence[Stratum]) -> Estimate:
    """Return what the checks tell of the share of wrong ones among all of the strata."""
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
    """Return the interval that holds the share of wrong ones with a confidence.

    >>> found = interval([Stratum(0.0, 1.0, size=4000, drawn=50, checked=50, wrong=2)])
    >>> round(found.low, 3), round(found.high, 3)
    (0.005, 0.137)
    """
    tail = (1 + confidence) / 2
    return Interval(lower(strata, tail), upper(strata, tail))


def upper(strata: Sequence[Stratum], confidence: float) -> float:
    """Return what the share of wrong ones is at most: one-sided; 1 − `confidence` may be wrong.

    In one stratum the bound is exact (Clopper and Pearson). In several, each share p_h of wrong
    ones is unknown, and of all that give the same share altogether the worst counts: the highest θ
    for which some p_h with Σ w_h p_h = θ leave the chance of so low an estimate t above the risk,
    by min over λ of exp(λ t) Π (1 − p_h + p_h exp(−λ w_h / n_h))^n_h (Hoeffding 1963, theorem 1;
    theorem 4 for draws without replacement, as these are). w_h is the share of a stratum in all,
    n_h its checks. A stratum without a check may be all wrong.
    """
    if len(strata) == 1:
        return upper_bound(strata[0].wrong, strata[0].checked, confidence)
    counts = [(one.size, one.checked, one.wrong) for one in strata if one.size]
    return _worst_share(np.array(counts, float).reshape(-1, 3), 1 - confidence)


def lower(strata: Sequence[Stratum], confidence: float) -> float:
    """Return what the share of wrong ones is at least: one-sided, like `upper`."""
    if len(strata) == 1:
        return lower_bound(strata[0].wrong, strata[0].checked, confidence)
    return 1 - upper([replace(one, wrong=one.checked - one.wrong) for one in strata], confidence)


def more_checks(strata: Sequence[Stratum], half_width: float) -> int:
    """Return how many checks more, shared out alike, bring the interval to ± `half_width`.

    It takes the shares of wrong ones to be as seen so far, half an error more. When all labels are
    checked, the share is known: so many are enough at any rate.
    """
    if not 0 < half_width < 1:
        raise BadInput(f"±{half_width} is no half width of a share; give one such as 0.05")
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
    """Return whether the interval that `wrong` of `checked` give is at most so wide."""
    if checked > _EXACT_UP_TO:
        found = wilson(wrong, checked, CONFIDENCE)
        return found.high - found.low <= width
    tail = (1 + CONFIDENCE) / 2
    most = lower_bound(wrong, checked, tail) + width
    return most >= 1 or certifies(checked - wrong, checked, 1 - most, tail)


def strata_of(confidence: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the stratum (n,) of each label, from 0, the least sure first: about equally many each.

    Equal `confidence` (n,) is never torn apart, so there may be fewer than `count`.
    """
    cuts = np.unique(np.quantile(confidence, np.arange(1, count) / count))
    codes = np.searchsorted(cuts, confidence, side="right")
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def allocation(sizes: Sequence[int], errors: Sequence[float], count: int) -> list[int]:
    """Return how many of each stratum to draw, `count` altogether (Neyman 1934).

    A stratum of `sizes` labels, of which a share of `errors` may be wrong, gets its part by
    size · √(e (1 − e)), one at least, and never more than it has.
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
    """Return the highest share of wrong ones that is not excluded; `counts` (h, 3) as in `upper`.

    For one λ the p_h that leave the most chance solve a concave problem: where they are not 0 or 1,
    p_h = 1/a_h − n_h/(μ w_h) with a_h = 1 − exp(−λ w_h/n_h). The share rises and the chance falls
    with μ, so μ is found by halving, for all λ at once; each λ gives a bound, and the lowest holds.
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
        raise BadInput(f"{confidence} is no confidence; give a share such as 0.95")
