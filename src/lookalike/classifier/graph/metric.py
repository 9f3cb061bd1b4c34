"""Centring and whitening of vectors: from embeddings to directions. Pure.

A vector of a combined space has a block for each **member** (say, one for the picture and one for
the text). Each block is normalised to unit length, centred, and scaled by the root of its member's
weight. The cosine of two whole directions is then the weighted mean of the members' cosines. If a
member has no vector for an item, its block is zero and the other members make up the direction
alone.

Each block is also whitened on its own: whitening all blocks together would undo the weights.
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
    FixedPoint,
    Floats,
    empty_growable,
    matrix_to_fixed_point,
    products,
    to_fixed_point,
    to_int8,
)

WHOLE_ITEMS = 200_000
"""Up to this many items are processed at once, and the metric is estimated from all of them;
beyond, from about as many, evenly spaced."""

_SPAN_ITEMS = 50_000
_METRIC_SHRINKAGE = 0.1
_TINY = np.float32(1e-12)


Places = NDArray[np.int64]
Rows = Callable[[Places | slice], Floats]


def spans(count: int) -> list[slice]:
    """Return the slices in which `count` items are processed: one, or several if there are many."""
    step = max(count, 1) if count <= WHOLE_ITEMS else _SPAN_ITEMS
    return [slice(start, min(start + step, count)) for start in range(0, max(count, 1), step)]


@dataclass(frozen=True, slots=True)
class Blend:
    """The `lengths` of the members' blocks in a vector, and the members' `weights`, of sum 1."""

    lengths: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def blocks(self) -> list[slice]:
        """Return the slice of each member's block in a vector."""
        ends = np.cumsum(self.lengths).tolist()
        return [slice(end - size, end) for end, size in zip(ends, self.lengths, strict=True)]

    def scaled(self, rows: Floats) -> Floats:
        """Return rows (n, d) with each block scaled to the root of its weight; zero blocks stay
        zero.
        """
        scaled = unit_blocks(rows, self.blocks)
        for block, weight in zip(self.blocks, self.weights, strict=True):
            scaled[:, block] *= np.float32(weight**0.5)
        return scaled


def blend(lengths: tuple[int, ...], weights: tuple[float, ...]) -> Blend | None:
    """Return the blend of members by `weights`, or equal weights if empty; None without members."""
    even = (1 / max(len(lengths), 1),) * len(lengths)
    return Blend(lengths, weights or even) if lengths else None


def unit_blocks(rows: Floats, blocks: list[slice]) -> Floats:
    """Return rows (n, d) with each block at unit length; zero blocks stay zero."""
    units = np.zeros(rows.shape, np.float32)
    for block in blocks:
        lengths = np.linalg.norm(rows[:, block], axis=1, keepdims=True)
        units[:, block] = rows[:, block] / np.maximum(lengths, _TINY)
    return units


@dataclass(frozen=True, slots=True)
class Whitening:
    """How vectors of a space become directions: their `mean` (d,), and a `blend` if the space has
    members.
    """

    mean: Floats
    blend: Blend | None = None

    @staticmethod
    def of(parts: Iterable[NDArray[np.float16]], blend: Blend | None) -> Whitening:
        """Return the whitening of all vectors, which come in parts (m, d), at least one.

        The mean of each block is over the items that have it.
        """
        total, counts = np.zeros(1), np.zeros(1)
        for vectors in parts:
            wide = vectors.astype(np.float32)
            if blend is None:
                counts = counts + len(wide)
            else:
                wide = unit_blocks(wide, blend.blocks)
                present = [
                    np.repeat(wide[:, block].any(axis=1).sum(), size)
                    for block, size in zip(blend.blocks, blend.lengths, strict=True)
                ]
                counts = counts + np.concatenate(present)
            total = total + wide.sum(axis=0, dtype=np.float64)
        return Whitening((total / np.maximum(counts, 1)).astype(np.float32), blend)

    def centred(self, vectors: NDArray[np.float16]) -> Floats:
        """Return vectors (n, d) minus the mean, float32 (n, d)."""
        wide = vectors.astype(np.float32)
        if self.blend is None:
            return np.asarray(wide - self.mean)
        units = unit_blocks(wide, self.blend.blocks)
        for block in self.blend.blocks:
            units[:, block] -= np.where(
                units[:, block].any(axis=1, keepdims=True), self.mean[block], 0
            )
        return self.blend.scaled(units)

    def matrix_for(self, centred: Rows, near: NDArray[np.int64]) -> FixedPoint:
        """Return the whitening matrix T of the metric M = T Tᵀ, up to a factor, block by block.

        `centred(places)` returns centred vectors, `near` int64 (n, k) are neighbours. T = (L⁻¹)ᵀ R
        for M⁻¹ = L Lᵀ and an orthonormal R that mixes all components.
        """
        if self.blend is None:
            return _whitening_matrix(centred, near)
        blocks = self.blend.blocks
        whitening_matrix = np.zeros((sum(self.blend.lengths),) * 2, np.int16)
        for block in blocks:

            def units(places: Places | slice, block: slice = block) -> Floats:
                return unit_blocks(centred(places), blocks)[:, block]

            whitening_matrix[block, block] = _whitening_matrix(units, near)
        return whitening_matrix

    def whiten(self, centred: FixedPoint, whitening_matrix: FixedPoint) -> Bytes:
        """Return the whitened directions, int8 (n, d), of centred fixed-point ones.

        All products are of whole numbers, hence exact.
        """
        whitened = empty_growable(len(centred), len(whitening_matrix), np.int8)
        for block, rows in products(centred, whitening_matrix.T.astype(np.float32)):
            if self.blend is not None:
                mixed = products(
                    to_fixed_point(self.blend.scaled(rows)),
                    _fixed_point_mixing(len(whitening_matrix)).T,
                )
                rows = np.concatenate([part for _, part in mixed])
            whitened[block] = to_int8(rows)
        return whitened


def _whitening_matrix(centred: Rows, near: NDArray[np.int64]) -> FixedPoint:
    if len(near) > WHOLE_ITEMS:
        root = _cholesky(_sampled_covariance(centred, near))
    else:
        try:
            root = _cholesky(_local_covariance(centred(slice(0, len(near))), near))
        except np.linalg.LinAlgError:  # neighbours are copies: what is left of C is its rounding
            root = _cholesky(_sampled_covariance(centred, near))
    return matrix_to_fixed_point(np.linalg.solve(root.T, _mixing(len(root))))


def _cholesky(covariance: NDArray[np.float64]) -> Floats:
    """Return L of L Lᵀ = C plus the floor. Raises LinAlgError if rounding made C negative."""
    dimension = len(covariance)
    floor = max(_METRIC_SHRINKAGE * np.trace(covariance) / dimension, 1e-9)
    return np.linalg.cholesky(covariance + floor * np.eye(dimension)).astype(np.float32)


def _local_covariance(centred: Floats, near: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return C of the differences to neighbours `near` (n, k), without forming the differences."""
    n, k = near.shape
    seen = np.bincount(near.ravel(), minlength=n).astype(np.float32)
    half = centred * ((k + seen) / 2)[:, None]
    for column in near.T:
        half -= centred[column]
    product = centred.T @ half
    return np.asarray((product + product.T).astype(np.float64) / max(2 * n * k, 1))


def _sampled_covariance(centred: Rows, near: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return C of the differences to neighbours `near` (n, k) of evenly spaced items."""
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
def _fixed_point_mixing(dimension: int) -> Floats:
    return matrix_to_fixed_point(_mixing(dimension)).astype(np.float32)


# --- weights of the members of a combined space --------------------------------------------------

# Leave-one-out fit of the weights. The score of label c for a left-out reference i is log mean
# exp(s·k_ir) over the references r ≠ i of c, with k the cosine of blended directions. The best
# weights have the largest conditional likelihood of the references' own labels, at the best slope
# s. (Neighbourhood components analysis, Goldberger et al. 2004, with a mean per label and one
# parameter per member.) A prior pulls the weights towards equality: it counts as much as one answer
# that is explained best by equal weights.
#
# Only references that have a vector for every member are used, because only they compare the
# members. The others are used if there are too few of these.
#
# No member gets weight 0: an item may have no other member.

_HUNDRED = 100
_LEAST = 1
_STEPS = (20, 5)
"""Hundredths that are moved from one member to another: large steps first."""

_SLOPES = (4.0, 8.0, 16.0, 32.0, 64.0)
_LEAST_IMPROVEMENT = 1.0
"""Keep the current weights unless others improve the log-likelihood by more than this, in nats."""

_SAMPLE_SIZE = 1000
_FLOOR = np.float32(1e-12)

Columns = NDArray[np.int64]


def weigh(members: Sequence[Floats], own: Columns, current: tuple[float, ...]) -> tuple[float, ...]:
    """Return the weight of each member, of sum 1, none of which is 0.

    `members` are the directions of r references for each member, float32 (r, d), at unit length or
    zero; `own` int64 (r,) are the label codes. The `current` weights stay unless others are
    noticeably more likely.
    """
    every = np.arange(len(own))
    complete = np.all([rows.any(axis=1) for rows in members], axis=0)
    chosen = _sample(every[complete], own)
    if len(np.unique(own[chosen])) < 2:
        chosen = _sample(every, own)
    if len(np.unique(own[chosen])) < 2:
        return current
    trials = _Trials.of([rows[chosen] for rows in members], own[chosen])
    best, loss = _coordinate_descent(trials, _even(len(members)))
    known = tuple(round(_HUNDRED * weight) for weight in current)
    if sum(known) == _HUNDRED and trials.loss(known) - loss < _LEAST_IMPROVEMENT:
        return current
    return tuple(part / _HUNDRED for part in best)


def _even(count: int) -> tuple[int, ...]:
    rest = _HUNDRED % count
    return tuple(_HUNDRED // count + (place < rest) for place in range(count))


def _sample(among: Columns, own: Columns) -> Columns:
    """Return up to _SAMPLE_SIZE of the references of labels with two or more, by label."""
    order = among[np.argsort(own[among], kind="stable")]
    order = order[:: max(1, -(-len(order) // _SAMPLE_SIZE))]
    counts = np.bincount(own[order])
    return np.asarray(order[counts[own[order]] >= 2])


def _coordinate_descent(trials: _Trials, start: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
    """Return the weights, in hundredths, that no single step improves, and their loss."""
    best, loss = start, trials.loss(start)
    for step in _STEPS:
        while True:
            found = min((trials.loss(other), other) for other in _neighbouring_weights(best, step))
            if found[0] >= loss:
                break
            loss, best = found
    return best, loss


def _neighbouring_weights(weights: tuple[int, ...], step: int) -> Iterator[tuple[int, ...]]:
    """Yield all weights in which one member gives another a step, or all it can."""
    for giver, taker in permutations(range(len(weights)), 2):
        moved = list(weights)
        given = min(step, weights[giver] - _LEAST)
        moved[giver] -= given
        moved[taker] += given
        yield tuple(moved)


@dataclass(frozen=True, slots=True)
class _Trials:
    """Leave-one-out trials of references, sorted by label.

    `cosines` are one matrix (r, r) per member; `present` (r, members) is 1 where a reference has
    that member. `own` are the labels as columns, which begin at `starts`; `others` (r, labels)
    counts the references of each label without the one that is left out.
    """

    cosines: Sequence[Floats]
    present: Floats
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
        present = np.stack([rows.any(axis=1) for rows in members], axis=1).astype(np.float32)
        return _Trials([rows @ rows.T for rows in members], present, own, starts, others)

    def loss(self, weights: tuple[int, ...]) -> float:
        """Return the negative log-likelihood, plus the prior, for weights in hundredths."""
        shares = np.array(weights, np.float32) / _HUNDRED
        summed = sum(share * part for share, part in zip(shares, self.cosines, strict=True))
        lengths = np.sqrt(np.maximum(self.present @ shares, _FLOOR))
        cosines = summed / (lengths[:, None] * lengths)
        prior = float(np.log(shares.astype(np.float64) * len(weights)).sum())
        return round(min(self._loss(cosines, slope) for slope in _SLOPES) - prior, 6)

    def _loss(self, cosines: Floats, slope: float) -> float:
        weights = np.exp(np.float32(slope) * (cosines - 1))
        np.fill_diagonal(weights, 0)
        means = np.add.reduceat(weights, self.starts, axis=1) / np.maximum(self.others, 1)
        means = means.astype(np.float64) + _FLOOR
        rows = np.arange(len(self.own))
        return float((np.log(means.sum(axis=1)) - np.log(means[rows, self.own])).sum())
