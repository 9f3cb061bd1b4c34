"""Check sheets: random samples that a person confirms, to measure precision. Pure.

A **check** shows documents with the labels that they would get, sampled at random from those that
may be labelled automatically: all waiting documents with a probability of at least a floor. One
answer confirms all except those that the person corrects. So a check settles what it shows, and is
a random sample of exactly the set whose precision is the target, whatever may be wrong in it: new
categories, wrong references, an overconfident model.

**Which floor?** The one with the largest gain, in actions saved per action. With m waiting
documents above the floor, of mean probability q, k of them on the sheet and P the probability that
the sheet shows the target precision,

    gain = BASE + P (m − k) (1 − q + 1/k) / (1 + k (1 − q))

Each document that becomes automatic saves its part of a sheet and, if it is wrong, a correction;
the sheet costs a confirmation and its corrections. P is beta-binomial: q weighs as much as four
answers before the sheet. After a sheet without errors q rises and a larger set pays; after a bad
one a smaller.

One in eight documents of a sheet has an automatic label already: otherwise errors among these would
stay unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import EVEN

CHECK_ITEMS, CHECK_TEXTS = 24, 8
"""The largest number of items, or texts, on a sheet."""

BASE = 1.5
"""Actions that a sheet saves per action, whatever it shows: its items need no other question."""

_LEVELS = 1000
_GROWTH = 1.5
_AUTOMATIC_SHARE = 8
_BELIEVED = 4.0
_FIRST, _LATER = 3.0, 0.5
"""The weight, in answers, of the estimate before a sheet, and of each answer of earlier sheets."""

_LEAST = 1e-3
_MIX = tuple(np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))

Mask = NDArray[np.bool_]
Probabilities = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """The set to sample a sheet of `size` from: documents with a probability of at least `floor`.

    `items` of them have no label, `automatic` have one. An answer settles about `value` items and
    saves `gain` actions per action.
    """

    floor: float
    items: int
    automatic: int
    size: int
    value: float
    gain: float


@dataclass(frozen=True, slots=True)
class CheckDraw:
    """The sampled rows, and the inclusion probability of each (k,)."""

    rows: NDArray[np.int64]
    inclusion: NDArray[np.float64]


def plan_check(
    p: Probabilities, candidates: Mask, automatic: Mask, *, target: float, sampled: int, size: int
) -> CheckPlan | None:
    """Return the plan of the next sheet; None if nothing is more likely right than wrong.

    `p` (n,) are probabilities; `candidates` (n,) wait with a suggestion, `automatic` (n,) have the
    label. `sampled` is the number of answered random samples.
    """
    counts, sums = _above(p, candidates)
    automatic_sum = float(p[automatic].sum(dtype=np.float64)), int(automatic.sum())
    best, last = None, 0
    for level in np.flatnonzero(np.diff(counts, append=counts[-1])).tolist():
        m = int(counts[level + 1]) if level + 1 < len(counts) else int(counts[-1])
        is_last = m == int(counts[-1])
        if m < min(size, int(counts[-1])) or (m < last * _GROWTH and not is_last):
            continue
        last, q = m, float(sums[level + 1]) / m
        plan = _plan(m, q, automatic_sum, (_LEVELS - level) / _LEVELS, target, sampled, size)
        if best is None or plan.gain > best.gain:
            best = plan
    return best


def draw_check(
    plan: CheckPlan,
    p: Probabilities,
    candidates: Mask,
    automatic: Mask,
    pks: NDArray[np.int64],
    seed: int,
) -> CheckDraw:
    """Return a uniform random sample of the documents of a plan.

    Each document (`pks` (n,)) has a pseudo-random number that depends on the `seed`; the smallest
    are sampled. So the same state gives the same sample in every process.
    """
    floor = plan.floor - 0.5 / _LEVELS
    labelled = np.flatnonzero(automatic)
    repeated = min(len(labelled), plan.size // _AUTOMATIC_SHARE)
    parts, chances = [], []
    for rows, count in (
        (np.flatnonzero(candidates & (p >= floor)), plan.size - repeated),
        (labelled, repeated),
    ):
        order = np.argsort(_numbers(pks[rows], seed), kind="stable")[:count]
        parts.append(rows[order])
        chances.append(np.full(len(order), len(order) / max(len(rows), 1)))
    return CheckDraw(np.concatenate(parts), np.concatenate(chances))


def _above(p: Probabilities, candidates: Mask) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the number of candidates above each level, from 1 down to 0.5, and the sum of their
    probabilities; each array begins with 0.
    """
    chosen = p[candidates & (p >= EVEN)]
    level = _LEVELS - np.rint(chosen * _LEVELS).astype(np.int64)
    bins = round(_LEVELS * (1 - EVEN)) + 1
    counts = np.bincount(level, minlength=bins)
    sums = np.bincount(level, chosen.astype(np.float64), minlength=bins)
    return np.append(0, np.cumsum(counts)), np.append(0.0, np.cumsum(sums))


def _plan(
    m: int,
    q: float,
    automatic_sum: tuple[float, int],
    floor: float,
    target: float,
    sampled: int,
    size: int,
) -> CheckPlan:
    amount, labelled = automatic_sum
    k = min(size, m)
    together = (amount + q * m) / (labelled + m)
    known = _FIRST + _LATER * sampled * labelled / (labelled + m)
    needed = math.ceil(target * (known + k) - together * known - 1e-9)
    probability_shown = _chance_of(needed, k, q)
    wrong = k * (1 - q)
    more = probability_shown * max(m - k, 0)
    gain = BASE + more * (1 - q + 1 / size) / (1 + wrong)
    return CheckPlan(floor, m, labelled, k, k + more, gain)


def _chance_of(needed: int, k: int, q: float) -> float:
    """Return the probability that at least `needed` of `k` are right (beta-binomial).

    Each is right with a probability of mean q that is not known exactly.
    """
    if needed > k:
        return 0.0
    a, b = max(_BELIEVED * q, _LEAST), max(_BELIEVED * (1 - q), _LEAST)
    whole = _log_beta(a, b)
    logs = [
        math.log(math.comb(k, n)) + _log_beta(n + a, k - n + b) - whole
        for n in range(max(needed, 0), k + 1)
    ]
    return min(math.fsum(map(math.exp, logs)), 1.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _numbers(pks: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return a pseudo-random number for each document (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = pks.astype(np.uint64) + np.uint64(seed % 2**63) * _MIX[0] + _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
        return mixed ^ (mixed >> np.uint64(31))
