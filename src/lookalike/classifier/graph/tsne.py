"""Where items lie on a plane, so that near neighbours lie together. Pure.

This is t-SNE (van der Maaten and Hinton 2008) on neighbour lists. With symmetric affinities p_ij of
sum 1, q_ij = 1 / (1 + |y_i − y_j|²) and Z = Σ q_ij, each step goes down the gradient

    4 Σ_j (ρ p_ij q_ij − q_ij² / Z) (y_i − y_j).

The second sum goes over all pairs. It is a convolution, computed on a grid by Fourier transform
(Linderman et al. 2019), here with bilinear weights: the time is linear in the items, and nothing is
drawn by chance. The step is n/ρ (Belkina et al. 2019), the start a principal component plane (Kobak
and Berens 2019). ρ > 1 stays to the end and draws groups together (Böhm, Berens and Kobak 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_BISECTIONS = 30
_NEIGHBOURS_A_PERPLEXITY = 3
_LEAST_NODES = 64
_NODE_WIDTH = 0.5
_LEAST_STEP = 50.0
_MOST_MOVE = np.float32(5)
_GAIN_UP, _GAIN_DOWN, _LEAST_GAIN = np.float32(0.2), np.float32(0.8), np.float32(0.01)
_START_WIDTH = np.float32(1e-2)


@dataclass(frozen=True, slots=True)
class Affinities:
    """The affinities p_ij > 0, by rising i: item i has those from `starts[i]` on.

    `counts` (n,) is how many each item has; `columns` (m,) are the j, `values` (m,) the p_ij.
    """

    starts: Places
    counts: Places
    columns: NDArray[np.int32]
    values: Floats


class Phase(NamedTuple):
    """So many `steps` with exaggeration ρ, some momentum, and a grid of at most `nodes` a side."""

    steps: int
    exaggeration: float
    momentum: float
    nodes: int


def affinities(near: Places, cosines: Floats) -> Affinities:
    """Return the affinities of items with neighbours `near` (n, k), nearest first.

    Each item's row is exp(−β d²) of the chord d between directions, with β such that its perplexity
    is k/3; then p_ij is the mean of both directions.
    """
    n, k = near.shape
    weights = perplexity_rows(cosines)
    rows, columns = np.repeat(np.arange(n), k), near.ravel()
    edges = np.concatenate([rows * n + columns, columns * n + rows])
    order = np.argsort(edges, kind="stable")
    edges, halves = edges[order], np.tile(weights.ravel(), 2)[order]
    firsts = np.flatnonzero(np.concatenate([[True], edges[1:] != edges[:-1]]))
    values = np.asarray(np.add.reduceat(halves, firsts) / (2 * n), np.float32)
    counts = np.bincount(edges[firsts] // n, minlength=n)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return Affinities(starts, counts, (edges[firsts] % n).astype(np.int32), values)


def perplexity_rows(cosines: Floats) -> Floats:
    """Return rows of sum 1 (n, k) that fall with the squared chord, each of perplexity k/3."""
    squares = np.maximum(2 * (cosines[:, :1] - cosines), 0).astype(np.float32)
    n, k = squares.shape
    target = np.log(max(k / _NEIGHBOURS_A_PERPLEXITY, 1.0))
    beta = 1 / np.maximum(squares.mean(axis=1), 1e-6)
    low, high = np.zeros(n, np.float32), np.full(n, np.inf, np.float32)
    for _ in range(_BISECTIONS):
        weights = np.exp(-squares * beta[:, None])
        total = weights.sum(axis=1)
        wide = np.log(total) + beta * (weights * squares).sum(axis=1) / total > target
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        beta = np.where(np.isinf(high), np.minimum(2 * beta, 1e9), (low + high) / 2)
    weights = np.exp(-squares * beta[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def started(plane: Floats) -> Floats:
    """Return a first layout (n, 2) from a plane (n, 2): the same, so small that all may move."""
    spread = max(float(plane[:, 0].std()), 1e-12)
    return np.asarray(plane * (_START_WIDTH / np.float32(spread)), np.float32)


def moved(
    places: Floats, near: Affinities, phase: Phase, tell: Callable[[], None] = lambda: None
) -> Floats:
    """Return `places` (n, 2) after the steps of a phase. `tell` is called at every step."""
    y = np.ascontiguousarray(places.T)
    step = np.float32(max(len(places) / phase.exaggeration, _LEAST_STEP))
    velocity, gains = np.zeros_like(y), np.ones_like(y)
    for _ in range(phase.steps):
        pulled, pushed = _attraction(y, near), _repulsion(y, phase.nodes)
        gradient = 4 * (np.float32(phase.exaggeration) * pulled - pushed)
        turned = (gradient > 0) == (velocity > 0)
        gains = np.maximum(np.where(turned, gains * _GAIN_DOWN, gains + _GAIN_UP), _LEAST_GAIN)
        velocity = np.float32(phase.momentum) * velocity - step * gains * gradient
        np.clip(velocity, -_MOST_MOVE, _MOST_MOVE, out=velocity)
        y += velocity
        y -= y.mean(axis=1, keepdims=True)
        tell()
    return np.ascontiguousarray(y.T)


def _attraction(y: Floats, near: Affinities) -> Floats:
    """Return Σ_j p_ij q_ij (y_i − y_j), (2, n)."""
    dx, dy = (np.repeat(axis, near.counts) - axis[near.columns] for axis in y)
    pulls = near.values / (1 + dx * dx + dy * dy)
    return np.stack([np.add.reduceat(pulls * d, near.starts) for d in (dx, dy)])


def _repulsion(y: Floats, most_nodes: int) -> Floats:
    """Return Σ_j q_ij² (y_i − y_j) / Z, (2, n), by a grid of at most `most_nodes` a side."""
    low = y.min(axis=1, keepdims=True)
    span = max(float((y - low).max()), 1e-6)
    nodes = int(min(most_nodes, max(_LEAST_NODES, span / _NODE_WIDTH)))
    width, side = span / (nodes - 2), _good_size(2 * nodes)
    cells = np.minimum((y - low) / np.float32(width), np.float32(nodes - 2))
    corner = cells.astype(np.int32)
    part = cells - corner
    shares = [(1 - part[0], part[0]), (1 - part[1], part[1])]
    flat = corner[0] * side + corner[1]
    corners = [(flat + (i * side + j), shares[0][i] * shares[1][j]) for i in (0, 1) for j in (0, 1)]
    mass = sum(np.bincount(at, share, minlength=side * side) for at, share in corners)
    spectrum = np.fft.rfft2(np.asarray(mass, np.float32).reshape(side, side))
    pulls = []
    for kernel in _kernels(side, width):
        field = np.fft.irfft2(spectrum * np.fft.rfft2(kernel), s=(side, side)).ravel()
        pulls.append(sum(share * field[at] for at, share in corners))
    total = max(float(np.sum(pulls[0])) - y.shape[1], 1.0)
    return np.asarray(np.stack(pulls[1:]) / np.float32(total), np.float32)


def _kernels(side: int, width: float) -> tuple[Floats, Floats, Floats]:
    """Return q, and q² times the distance along each axis, around the origin of a round grid."""
    steps = np.arange(side)
    along = (np.where(steps > side // 2, steps - side, steps) * width).astype(np.float32)
    q: Floats = np.asarray(1 / (1 + along[:, None] ** 2 + along**2), np.float32)
    squared = q * q
    return q, squared * along[:, None], squared * along


def _good_size(least: int) -> int:
    """Return the next number that a Fourier transform is quick for."""
    size = least
    while (rest := size) > 0:
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
    return size
