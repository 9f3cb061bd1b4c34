"""Check sheets: which documents a person looks at together to show that labels may be given. Pure.

A **check** shows documents with the labels that they would get, drawn at random from a set that may
be labelled automatically: all that waits with a probability of at least a floor. One answer
confirms all but those that the person corrects. So it settles what it shows, and it is a random
sample of just what the target precision is about, whatever may be wrong there: new categories,
wrong references, a model that is too sure.

**Which floor?** The one with the largest gain, in actions saved for each action. With m documents
above the floor that wait, of mean probability q, k of them on the sheet and P the chance that the
sheet shows the target precision,

    gain = BASE + P (m − k) (1 − q + 1/k) / (1 + k (1 − q))

What becomes automatic saves its part of a sheet and, where it is wrong, a correction; the sheet
costs a confirmation and its corrections. P is beta-binomial: q is worth four answers before the
sheet. After a clean sheet q rises and a larger set pays, after a bad one a smaller.

One in eight was labelled automatically before: without these nobody would see what is wrong there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import EVEN

CHECK_ITEMS, CHECK_TEXTS = 24, 8
"""So many items, or texts, a sheet has at most."""

BASE = 1.5
"""Actions that a sheet saves for each of its own, whatever it shows: it need not be done again."""

_LEVELS = 1000
_GROWTH = 1.5
_AUTOMATIC_SHARE = 8
_BELIEVED = 4.0
_FIRST, _LATER = 3.0, 0.5
"""The estimate before a sheet counts as so many answers, and half of those of earlier sheets."""

_LEAST = 1e-3
_MIX = tuple(np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))

Mask = NDArray[np.bool_]
Probabilities = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """What to draw a sheet of `size` from: what waits with a probability of at least `floor`.

    `items` do so without a label, `automatic` with one. Answering settles about `worth` items and
    saves `gain` actions for each action.
    """

    floor: float
    items: int
    automatic: int
    size: int
    worth: float
    gain: float


@dataclass(frozen=True, slots=True)
class CheckDraw:
    """The rows that were drawn, and the probability of it for each (k,)."""

    rows: NDArray[np.int64]
    inclusion: NDArray[np.float64]


def plan_check(
    p: Probabilities, candidates: Mask, automatic: Mask, *, target: float, sampled: int, size: int
) -> CheckPlan | None:
    """Return what to draw the next sheet from; None where nothing is more likely right than wrong.

    `p` (n,) are probabilities; `candidates` (n,) wait with a suggestion, `automatic` (n,) have the
    label. `sampled` is how many random samples were answered.
    """
    counts, sums = _above(p, candidates)
    sure = float(p[automatic].sum(dtype=np.float64)), int(automatic.sum())
    best, last = None, 0
    for level in np.flatnonzero(np.diff(counts, append=counts[-1])).tolist():
        m = int(counts[level + 1]) if level + 1 < len(counts) else int(counts[-1])
        is_last = m == int(counts[-1])
        if m < min(size, int(counts[-1])) or (m < last * _GROWTH and not is_last):
            continue
        last, q = m, float(sums[level + 1]) / m
        plan = _plan(m, q, sure, (_LEVELS - level) / _LEVELS, target, sampled, size)
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
    """Return a uniform draw from what a plan names.

    Each document (`pks` (n,)) has its number by chance, which hangs on the `seed`; the smallest are
    drawn. So the same state draws the same, in every process.
    """
    floor = plan.floor - 0.5 / _LEVELS
    labelled = np.flatnonzero(automatic)
    again = min(len(labelled), plan.size // _AUTOMATIC_SHARE)
    parts, chances = [], []
    for rows, count in (
        (np.flatnonzero(candidates & (p >= floor)), plan.size - again),
        (labelled, again),
    ):
        order = np.argsort(_numbers(pks[rows], seed), kind="stable")[:count]
        parts.append(rows[order])
        chances.append(np.full(len(order), len(order) / max(len(rows), 1)))
    return CheckDraw(np.concatenate(parts), np.concatenate(chances))


def _above(p: Probabilities, candidates: Mask) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many candidates lie above each level, from 1 down to an even chance, and the sum
    of their probabilities; before each of them stands 0.
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
    sure: tuple[float, int],
    floor: float,
    target: float,
    sampled: int,
    size: int,
) -> CheckPlan:
    amount, labelled = sure
    k = min(size, m)
    together = (amount + q * m) / (labelled + m)
    known = _FIRST + _LATER * sampled * labelled / (labelled + m)
    needed = math.ceil(target * (known + k) - together * known - 1e-9)
    shown = _chance_of(needed, k, q)
    wrong = k * (1 - q)
    more = shown * max(m - k, 0)
    gain = BASE + more * (1 - q + 1 / size) / (1 + wrong)
    return CheckPlan(floor, m, labelled, k, k + more, gain)


def _chance_of(needed: int, k: int, q: float) -> float:
    """Return the chance that at least `needed` of `k` are right, each with a probability of mean q
    that is not known exactly (beta-binomial).
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
    """Return a number by chance for each document (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = pks.astype(np.uint64) + np.uint64(seed % 2**63) * _MIX[0] + _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
        return mixed ^ (mixed >> np.uint64(31))
