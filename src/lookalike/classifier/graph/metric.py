"""How vectors become directions: centred, then turned into the direct metric. Pure.

A vector of a combined space has a block for each **member** (a picture's, a text's). Each block is
brought to unit length and centred by itself, and scaled by the root of its member's weight: so the
cosine of two whole directions is the weighted mean of the members' cosines. Where a member says
nothing of an item its block is zero, and what is there makes up the direction alone.

The direct metric is made of each block by itself, too: whitening all of them together would undo
the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

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
)
from lookalike.classifier.graph.growing import roomy

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
class Frame:
    """What makes directions of the vectors of a space: their `mean` (d,), and a `blend` where the
    space has members.
    """

    mean: Floats
    blend: Blend | None = None

    @staticmethod
    def of(parts: Iterable[NDArray[np.float16]], blend: Blend | None) -> Frame:
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
        return Frame((total / np.maximum(counts, 1)).astype(np.float32), blend)

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
