"""How much each member of a combined space counts: learned from the references. Pure.

Each reference is left out and given back its label by the others: label c of reference i says
log mean exp(s·k_ir) over c's references r ≠ i, k the cosine of blended directions, and the best
weights are those of the largest conditional likelihood, for the best slope s. (Neighbourhood
components analysis, Goldberger et al. 2004, with a mean for each label and one number a member.) A
prior draws them together: it counts as much as one answer that was best explained by all alike.
References that have something for every member tell how these compare; others count only where
there are not enough of them.

No member is lost altogether: an item may have nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import Floats

_HUNDRED = 100
_LEAST = 1
_STEPS = (20, 5)
"""Hundredths that one member gives another, first by large steps."""

_SLOPES = (4.0, 8.0, 16.0, 32.0, 64.0)
_NOTICED = 1.0
"""Weights in force stay where others are no more likely than by so much, in nats."""

_LEARN_FROM = 1000
_FLOOR = np.float32(1e-12)

Columns = NDArray[np.int64]


def weigh(members: Sequence[Floats], own: Columns, before: tuple[float, ...]) -> tuple[float, ...]:
    """Return the weight of each member, of sum 1, none of which is 0.

    `members` are the directions of r references for each member, float32 (r, d), at unit length or
    zero; `own` int64 (r,) their labels as numbers. The weights in force `before` stay unless others
    are noticeably more likely.
    """
    every = np.arange(len(own))
    complete = np.all([rows.any(axis=1) for rows in members], axis=0)
    chosen = _chosen(every[complete], own)
    if len(np.unique(own[chosen])) < 2:
        chosen = _chosen(every, own)
    if len(np.unique(own[chosen])) < 2:
        return before
    trials = _Trials.of([rows[chosen] for rows in members], own[chosen])
    best, loss = _descended(trials, _even(len(members)))
    known = tuple(round(_HUNDRED * weight) for weight in before)
    if sum(known) == _HUNDRED and trials.loss(known) - loss < _NOTICED:
        return before
    return tuple(part / _HUNDRED for part in best)


def _even(count: int) -> tuple[int, ...]:
    rest = _HUNDRED % count
    return tuple(_HUNDRED // count + (place < rest) for place in range(count))


def _chosen(among: Columns, own: Columns) -> Columns:
    """Return up to _LEARN_FROM of these references, label by label, of labels with two or more."""
    order = among[np.argsort(own[among], kind="stable")]
    order = order[:: max(1, -(-len(order) // _LEARN_FROM))]
    counts = np.bincount(own[order])
    return np.asarray(order[counts[own[order]] >= 2])


def _descended(trials: _Trials, start: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
    """Return the weights, in hundredths, that no step makes better, and their loss."""
    best, loss = start, trials.loss(start)
    for step in _STEPS:
        while True:
            found = min((trials.loss(other), other) for other in _beside(best, step))
            if found[0] >= loss:
                break
            loss, best = found
    return best, loss


def _beside(weights: tuple[int, ...], step: int) -> Iterator[tuple[int, ...]]:
    """Yield the weights in which one member gives another a step, or what it has."""
    for giver, taker in permutations(range(len(weights)), 2):
        moved = list(weights)
        given = min(step, weights[giver] - _LEAST)
        moved[giver] -= given
        moved[taker] += given
        yield tuple(moved)


@dataclass(frozen=True, slots=True)
class _Trials:
    """References left out one by one, in the order of their labels.

    `cosines` are those of each member (r, r), `there` (r, members) tells which has what; `own` are
    the labels as columns, which begin at `starts`, and `others` (r, labels) the references of each
    label without the one that is left out.
    """

    cosines: Sequence[Floats]
    there: Floats
    own: Columns
    starts: Columns
    others: Floats

    @staticmethod
    def of(members: Sequence[Floats], labels: Columns) -> _Trials:
        _, starts, own, counts = np.unique(
            labels, return_index=True, return_inverse=True, return_counts=True
        )
        others = np.repeat(counts[None].astype(np.float32), len(own), axis=0)
        others[np.arange(len(own)), own] -= 1
        there = np.stack([rows.any(axis=1) for rows in members], axis=1).astype(np.float32)
        return _Trials([rows @ rows.T for rows in members], there, own, starts, others)

    def loss(self, weights: tuple[int, ...]) -> float:
        """Return the negative logarithm of likelihood and prior for weights in hundredths."""
        shares = np.array(weights, np.float32) / _HUNDRED
        summed = sum(share * part for share, part in zip(shares, self.cosines, strict=True))
        lengths = np.sqrt(np.maximum(self.there @ shares, _FLOOR))
        cosines = summed / (lengths[:, None] * lengths)
        prior = float(np.log(shares.astype(np.float64) * len(weights)).sum())
        return round(min(self._loss(cosines, slope) for slope in _SLOPES) - prior, 6)

    def _loss(self, cosines: Floats, slope: float) -> float:
        said = np.exp(np.float32(slope) * (cosines - 1))
        np.fill_diagonal(said, 0)
        means = np.add.reduceat(said, self.starts, axis=1) / np.maximum(self.others, 1)
        means = means.astype(np.float64) + _FLOOR
        rows = np.arange(len(self.own))
        return float((np.log(means.sum(axis=1)) - np.log(means[rows, self.own])).sum())
