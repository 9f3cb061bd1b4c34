"""How vectors become directions: centred, then turned into the direct metric. Pure.

A vector of a combined space has a block for each **member** (a picture's, a text's). Each block is
brought to unit length and centred by itself, and scaled by the root of its member's weight: so the
cosine of two whole directions is the weighted mean of the members' cosines. Where a member says
nothing of an item its block is zero, and what is there makes up the direction alone.

The direct metric is made of each block by itself, too: whitening all of them together would undo
the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import (
    Bytes,
    Floats,
    Grid,
    in_bytes,
    matrix_on_grid,
    on_grid,
    products,
    roomy,
)

WHOLE_ITEMS = 200_000
"""Up to so many items are taken at once, and the metric is learned from all; of more, from about
as many, spread over them."""

_SPAN_ITEMS = 50_000
_METRIC_SHRINKAGE = 0.1
_TINY = np.float32(1e-12)


Places = NDArray[np.int64]
Rows = Callable[[Places | slice], Floats]


def spans(count: int) -> list[slice]:
    """Return the parts in which so many items are taken: one, or several where they are many."""
    step = max(count, 1) if count <= WHOLE_ITEMS else _SPAN_ITEMS
    return [slice(start, min(start + step, count)) for start in range(0, max(count, 1), step)]


@dataclass(frozen=True, slots=True)
class Blend:
    """The `lengths` of the members' blocks in a vector, and the members' `weights`, of sum 1."""

    lengths: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def blocks(self) -> list[slice]:
        """Return where each member's numbers are in a vector."""
        ends = np.cumsum(self.lengths).tolist()
        return [slice(end - size, end) for end, size in zip(ends, self.lengths, strict=True)]

    def scaled(self, rows: Floats) -> Floats:
        """Return rows (n, d) with each block at the root of its weight long; zeros stay zeros."""
        scaled = unit_blocks(rows, self.blocks)
        for block, weight in zip(self.blocks, self.weights, strict=True):
            scaled[:, block] *= np.float32(weight**0.5)
        return scaled


def blend(lengths: tuple[int, ...], weights: tuple[float, ...]) -> Blend | None:
    """Return the blend of members by `weights`, without any by equal ones; None without members."""
    even = (1 / max(len(lengths), 1),) * len(lengths)
    return Blend(lengths, weights or even) if lengths else None


def unit_blocks(rows: Floats, blocks: list[slice]) -> Floats:
    """Return rows (n, d) with each block at unit length; a block of zeros stays one."""
    units = np.zeros(rows.shape, np.float32)
    for block in blocks:
        lengths = np.linalg.norm(rows[:, block], axis=1, keepdims=True)
        units[:, block] = rows[:, block] / np.maximum(lengths, _TINY)
    return units


@dataclass(frozen=True, slots=True)
class Whitening:
    """What makes directions of the vectors of a space: their `mean` (d,), and a `blend` where the
    space has members.
    """

    mean: Floats
    blend: Blend | None = None

    @staticmethod
    def of(parts: Iterable[NDArray[np.float16]], blend: Blend | None) -> Whitening:
        """Return the frame of all vectors, which come in parts (m, d), at least one.

        Each block's mean is of those who have it.
        """
        total, counts = np.zeros(1), np.zeros(1)
        for vectors in parts:
            wide = vectors.astype(np.float32)
            if blend is None:
                counts = counts + len(wide)
            else:
                wide = unit_blocks(wide, blend.blocks)
                there = [
                    np.repeat(wide[:, block].any(axis=1).sum(), size)
                    for block, size in zip(blend.blocks, blend.lengths, strict=True)
                ]
                counts = counts + np.concatenate(there)
            total = total + wide.sum(axis=0, dtype=np.float64)
        return Whitening((total / np.maximum(counts, 1)).astype(np.float32), blend)

    def centred(self, vectors: NDArray[np.float16]) -> Floats:
        """Return vectors (n, d) without what all have in common."""
        wide = vectors.astype(np.float32)
        if self.blend is None:
            return np.asarray(wide - self.mean)
        units = unit_blocks(wide, self.blend.blocks)
        for block in self.blend.blocks:
            units[:, block] -= np.where(
                units[:, block].any(axis=1, keepdims=True), self.mean[block], 0
            )
        return self.blend.scaled(units)

    def turn_for(self, centred: Rows, near: NDArray[np.int64]) -> Grid:
        """Return T of the metric M = T Tᵀ, up to a factor, block by block where there are any.

        `centred(places)` gives centred vectors, `near` int64 (n, k) are neighbours. T = (L⁻¹)ᵀ R
        for M⁻¹ = L Lᵀ and an orthonormal R that mixes all components.
        """
        if self.blend is None:
            return _turn(centred, near)
        blocks = self.blend.blocks
        turn = np.zeros((sum(self.blend.lengths),) * 2, np.int16)
        for block in blocks:

            def units(places: Places | slice, block: slice = block) -> Floats:
                return unit_blocks(centred(places), blocks)[:, block]

            turn[block, block] = _turn(units, near)
        return turn

    def turned(self, centred: Grid, turn: Grid) -> Bytes:
        """Return the turned directions, int8 (n, d), of centred ones on the grid.

        Each product is one of whole numbers, hence exact.
        """
        turned = roomy(len(centred), len(turn), np.int8)
        for block, rows in products(centred, turn.T.astype(np.float32)):
            if self.blend is not None:
                mixed = products(on_grid(self.blend.scaled(rows)), _mixing_on_grid(len(turn)).T)
                rows = np.concatenate([part for _, part in mixed])
            turned[block] = in_bytes(rows)
        return turned


def _turn(centred: Rows, near: NDArray[np.int64]) -> Grid:
    if len(near) <= WHOLE_ITEMS:
        covariance = _local_covariance(centred(slice(0, len(near))), near)
    else:
        covariance = _sampled_covariance(centred, near)
    dimension = len(covariance)
    floor = max(_METRIC_SHRINKAGE * np.trace(covariance) / dimension, 1e-9)
    root = np.linalg.cholesky(covariance + floor * np.eye(dimension)).astype(np.float32)
    return matrix_on_grid(np.linalg.solve(root.T, _mixing(dimension)))


def _local_covariance(centred: Floats, near: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return C of the differences to neighbours `near` (n, k), summed without forming them."""
    n, k = near.shape
    seen = np.bincount(near.ravel(), minlength=n).astype(np.float32)
    half = centred * ((k + seen) / 2)[:, None]
    for column in near.T:
        half -= centred[column]
    product = centred.T @ half
    return np.asarray((product + product.T).astype(np.float64) / max(2 * n * k, 1))


def _sampled_covariance(centred: Rows, near: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return C of the differences to neighbours `near` (n, k) of some items."""
    every = -(-len(near) // WHOLE_ITEMS)
    some = np.arange(0, len(near), every)
    total: NDArray[np.float64] | float = 0.0
    for part in np.split(some, range(_SPAN_ITEMS, len(some), _SPAN_ITEMS)):
        here = centred(part)
        for column in near[part].T:
            difference = here - centred(column)
            total = total + (difference.T @ difference).astype(np.float64)
    return np.asarray(total / max(len(some) * near.shape[1], 1))


def _mixing(dimension: int) -> Floats:
    """Return an orthonormal matrix (d, d): random signs, then the cosine transform (DCT-II)."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), dimension)
    steps = np.arange(dimension)
    waves = np.cos(np.pi / dimension * (steps[:, None] + 0.5) * steps)
    waves *= np.where(steps == 0, dimension**-0.5, (2 / dimension) ** 0.5)
    return np.asarray(signs[:, None] * waves, np.float32)


@cache
def _mixing_on_grid(dimension: int) -> Floats:
    return matrix_on_grid(_mixing(dimension)).astype(np.float32)


# --- weights of the members of a combined space --------------------------------------------------

# Each reference is left out and given back its label by the others: label c of reference i says log
# mean exp(s·k_ir) over c's references r ≠ i, k the cosine of blended directions, and the best
# weights are those of the largest conditional likelihood, for the best slope s. (Neighbourhood
# components analysis, Goldberger et al. 2004, with a mean for each label and one number a member.)
# A prior draws them together: it counts as much as one answer that was best explained by all alike.
# References that have something for every member tell how these compare; others count only where
# there are not enough of them.
#
# No member is lost altogether: an item may have nothing else.

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
