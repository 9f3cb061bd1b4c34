"""Two-dimensional map of the items of a space (t-SNE), without labels. Pure.

Up to `LAID_ITEMS` items are laid out by t-SNE on their neighbour lists: first a few of them, then
all, starting from the positions of the few. These items are the **anchors**. All other items, and
those that arrive later, are placed at once among their nearest anchors, until the layout is made
again.

Neighbours are found in the first 128 principal components of the centred vectors, which find
look-alikes as well as all components do. The same vectors give the same layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import FixedPoint, to_fixed_point
from lookalike.classifier.graph.metric import Blend, Whitening
from lookalike.classifier.graph.neighbours import (
    Lists,
    approximate_neighbours,
    neighbour_lists,
    neighbours,
)

# --- t-SNE ---------------------------------------------------------------------------------------

# This is t-SNE (van der Maaten and Hinton 2008) on neighbour lists. With symmetric affinities p_ij
# of sum 1, q_ij = 1 / (1 + |y_i − y_j|²) and Z = Σ q_ij, each step descends the gradient
#
#     4 Σ_j (ρ p_ij q_ij − q_ij² / Z) (y_i − y_j).
#
# The second sum runs over all pairs. It is a convolution, computed on a grid by Fourier transform
# (Linderman et al. 2019), here with bilinear weights: the time is linear in the number of items,
# and nothing is random. The step is n/ρ (Belkina et al. 2019), the start a plane of principal
# components (Kobak and Berens 2019). The exaggeration ρ > 1 stays to the end and draws groups
# together (Böhm, Berens and Kobak 2022).

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
    """The affinities p_ij > 0, sorted by i: those of item i start at `starts[i]`.

    `counts` (n,) is the number of affinities of each item; `columns` (m,) are the j, `values` (m,)
    the p_ij.
    """

    starts: Places
    counts: Places
    columns: NDArray[np.int32]
    values: Floats


class Phase(NamedTuple):
    """A phase of the optimisation: its number of `steps`, exaggeration ρ, momentum, and the largest
    number of grid `nodes` per side.
    """

    steps: int
    exaggeration: float
    momentum: float
    nodes: int


def affinities(near: Places, cosines: Floats) -> Affinities:
    """Return the affinities of items with neighbours `near` (n, k), nearest first.

    Each row is exp(−β d²) of the chord d between directions, with β such that the perplexity is
    k/3; p_ij is the mean of both directions.
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
    """Return rows of sum 1 (n, k) that decrease with the squared chord, each of perplexity k/3."""
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


def initial_layout(plane: Floats) -> Floats:
    """Return a first layout (n, 2) from a plane (n, 2), scaled so small that all items can move."""
    spread = max(float(plane[:, 0].std()), 1e-12)
    return np.asarray(plane * (_START_WIDTH / np.float32(spread)), np.float32)


def optimised(
    places: Floats, near: Affinities, phase: Phase, report: Callable[[], None] = lambda: None
) -> Floats:
    """Return `places` (n, 2) after the steps of a phase. `report` is called at every step."""
    y = np.ascontiguousarray(places.T)
    step = np.float32(max(len(places) / phase.exaggeration, _LEAST_STEP))
    velocity, gains = np.zeros_like(y), np.ones_like(y)
    for _ in range(phase.steps):
        attraction, repulsion = _attraction(y, near), _repulsion(y, phase.nodes)
        gradient = 4 * (np.float32(phase.exaggeration) * attraction - repulsion)
        same_sign = (gradient > 0) == (velocity > 0)
        gains = np.maximum(np.where(same_sign, gains * _GAIN_DOWN, gains + _GAIN_UP), _LEAST_GAIN)
        velocity = np.float32(phase.momentum) * velocity - step * gains * gradient
        np.clip(velocity, -_MOST_MOVE, _MOST_MOVE, out=velocity)
        y += velocity
        y -= y.mean(axis=1, keepdims=True)
        report()
    return np.ascontiguousarray(y.T)


def _attraction(y: Floats, near: Affinities) -> Floats:
    """Return Σ_j p_ij q_ij (y_i − y_j), (2, n)."""
    dx, dy = (np.repeat(axis, near.counts) - axis[near.columns] for axis in y)
    pulls = near.values / (1 + dx * dx + dy * dy)
    return np.stack([np.add.reduceat(pulls * d, near.starts) for d in (dx, dy)])


def _repulsion(y: Floats, most_nodes: int) -> Floats:
    """Return Σ_j q_ij² (y_i − y_j) / Z, (2, n), on a grid of at most `most_nodes` per side."""
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
    """Return q, and q² times the distance along each axis, around the origin of a periodic grid."""
    steps = np.arange(side)
    along = (np.where(steps > side // 2, steps - side, steps) * width).astype(np.float32)
    q: Floats = np.asarray(1 / (1 + along[:, None] ** 2 + along**2), np.float32)
    squared = q * q
    return q, squared * along[:, None], squared * along


def _good_size(least: int) -> int:
    """Return the next size that is fast for a Fourier transform (factors 2, 3 and 5 only)."""
    size = least
    while (rest := size) > 0:
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
    return size


# -------------------------------------------------------------------------------------------------

Vectors = Callable[[Places], NDArray[np.float16]]
ReportProgress = Callable[[float], None]

LAID_ITEMS = 100_000
"""Up to this many items are laid out by t-SNE; further items are placed among them."""

GROWTH = 1.2
"""Make the layout again when there are this many times the items that it was made of."""

SIDE = 65_535
"""The largest coordinate on the map."""

_NEIGHBOURS = 12
_PLACED_BY = 6
_DIMENSION = 128
_AXES_FROM = 20_000
_COARSE_ITEMS, _COARSE_ABOVE = 8_000, 20_000
_EXACT_ITEMS, _CELLS_TRIED = 8_000, 8
_EXACT_PAIRS = 400_000_000
_VECTOR_BLOCK = 16_384
_PLACED_BLOCK = 500_000
_FEWEST = 4
_MARGIN = 0.02
_JITTER = 1 / 400
_GOLDEN = 0x9E3779B97F4A7C15

_PHASES = (Phase(80, 12, 0.5, 192), Phase(200, 2, 0.8, 192))
"""Measured on photos and texts: more steps, neighbours or nodes keep labels no better together."""

_FINE = Phase(50, 2, 0.8, 256)


@dataclass(frozen=True, slots=True)
class Axes:
    """Reduction of vectors: the `frame` that centres them, and a `basis` float32 (d, k)."""

    frame: Whitening
    basis: Floats

    @staticmethod
    def of(vectors: NDArray[np.float16], blend: Blend | None) -> Axes:
        """Return the principal axes of vectors (n, d), the first one first."""
        frame = Whitening.of([vectors], blend)
        wide = frame.centred(vectors)
        _, axes = np.linalg.eigh((wide.T @ wide).astype(np.float64))
        axes = axes[:, ::-1][:, :_DIMENSION]
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
        return Axes(frame, (axes * np.sign(largest)).astype(np.float32))

    def reduced(self, pks: Places, vectors: Vectors) -> FixedPoint:
        """Return the reduced directions of items in fixed point, int16 (n, k)."""
        small = np.empty((len(pks), self.basis.shape[1]), np.int16)
        for start in range(0, len(pks), _VECTOR_BLOCK):
            block = slice(start, start + _VECTOR_BLOCK)
            small[block] = to_fixed_point(self.frame.centred(vectors(pks[block])) @ self.basis)
        return small


@dataclass(frozen=True, slots=True)
class Layout:
    """Items of one space sorted by pk, each with the slot of its vector and its place on the map.

    `places` are float32 (n, 2), in a square of side 1. `anchors` (m,) are the pks of the items that
    t-SNE laid out, `reduced` int16 (m, k) their directions. `made_of` is the number of items when
    the layout was made.
    """

    pks: Places
    slots: Places
    places: Floats
    axes: Axes
    anchors: Places
    reduced: FixedPoint
    made_of: int

    def __len__(self) -> int:
        return len(self.pks)

    @property
    def is_outgrown(self) -> bool:
        """Return whether the number of items changed so much that a new layout is due."""
        return not self.made_of / GROWTH <= len(self) <= self.made_of * GROWTH

    def square(self) -> NDArray[np.uint16]:
        """Return the places as whole numbers from 0 to SIDE, uint16 (n, 2)."""
        return np.rint(self.places * SIDE).astype(np.uint16)

    def without(self, pks: Places) -> Layout:
        """Return the layout without some items."""
        kept, left = ~np.isin(self.pks, pks), ~np.isin(self.anchors, pks)
        return replace(
            self,
            pks=self.pks[kept],
            slots=self.slots[kept],
            places=self.places[kept],
            anchors=self.anchors[left],
            reduced=self.reduced[left],
        )

    def with_more(self, pks: Places, slots: Places, vectors: Vectors) -> Layout:
        """Return the layout with more items (m,) placed, `pks` sorted and not in the layout yet.

        Each is placed between the anchors that it resembles, mostly at the nearest one. Needs
        anchors.
        """
        starts = range(0, len(pks), _PLACED_BLOCK)
        placed = [self._placed(pks[start : start + _PLACED_BLOCK], vectors) for start in starts]
        every = np.concatenate([self.pks, pks])
        order = np.argsort(every, kind="stable")
        return replace(
            self,
            pks=every[order],
            slots=np.concatenate([self.slots, slots])[order],
            places=np.concatenate([self.places, *placed])[order],
        )

    def _placed(self, pks: Places, vectors: Vectors) -> Floats:
        small, count = self.axes.reduced(pks, vectors), min(_PLACED_BY, len(self.anchors))
        near, cosines = _nearest(small, self.reduced, count)
        shares = perplexity_rows(cosines)
        anchor_places = self.places[np.searchsorted(self.pks, self.anchors)]
        places = (anchor_places[near] * shares[:, :, None]).sum(axis=1)
        places += np.float32(_JITTER) * _jitter(pks)
        return np.asarray(np.clip(places, 0, 1), np.float32)


def lay_out(
    pks: Places, slots: Places, vectors: Vectors, blend: Blend | None, report: ReportProgress
) -> Layout:
    """Return the layout of at least one item: `pks` (n,) sorted, the `slots` of their vectors.

    `report` is called with the share of the work that is done, up to 1.
    """
    anchors = _some(len(pks), LAID_ITEMS)
    axes = Axes.of(vectors(pks[anchors[_some(len(anchors), _AXES_FROM)]]), blend)
    reduced = axes.reduced(pks[anchors], vectors)
    report(0.05)
    places = _in_square(_layout_of(reduced, lambda done: report(0.05 + 0.75 * done)))
    layout = Layout(pks[anchors], slots[anchors], places, axes, pks[anchors], reduced, len(pks))
    rest = np.ones(len(pks), bool)
    rest[anchors] = False
    if rest.any():
        layout = layout.with_more(pks[rest], slots[rest], vectors)
    report(1.0)
    return layout


def _layout_of(reduced: FixedPoint, report: ReportProgress) -> Floats:
    """Return positions of items (n, k), float32 (n, 2), in arbitrary units."""
    plane = np.zeros((len(reduced), 2), np.float32)
    plane[:, : reduced.shape[1]] = reduced[:, :2]
    if len(reduced) < _FEWEST:
        return plane
    if len(reduced) <= _COARSE_ABOVE:
        return _optimised(initial_layout(plane), _lists(reduced), _PHASES, report)
    some = _some(len(reduced), _COARSE_ITEMS)
    coarse = _optimised(
        initial_layout(plane[some]), _lists(reduced[some]), _PHASES, lambda done: report(done / 3)
    )
    lists = _lists(reduced)
    first = _interpolated(lists[0], some, coarse)
    first += np.float32(0.1) * _jitter(np.arange(len(first)))
    return _optimised(first, lists, (_FINE,), lambda done: report((2 + done) / 3))


def _optimised(
    places: Floats, lists: Lists, phases: tuple[Phase, ...], report: ReportProgress
) -> Floats:
    near, steps, done = affinities(*lists), sum(phase.steps for phase in phases), 0

    def count() -> None:
        nonlocal done
        done += 1
        report(done / steps)

    for phase in phases:
        places = optimised(places, near, phase, count)
    return places


def _lists(reduced: FixedPoint) -> Lists:
    count = min(_NEIGHBOURS, len(reduced) - 1)
    return neighbour_lists(reduced, count, exact_items=_EXACT_ITEMS, cells_tried=_CELLS_TRIED)


def _nearest(queries: FixedPoint, rows: FixedPoint, count: int) -> Lists:
    if len(queries) * len(rows) <= _EXACT_PAIRS:
        return neighbours(queries, rows, count)
    return approximate_neighbours(queries, rows, count, cells_tried=_CELLS_TRIED)


def _interpolated(near: Places, known: Places, places: Floats) -> Floats:
    """Return positions (n, 2) of all items: the `known` ones theirs, the others their neighbours'
    mean.

    It continues from the items reached so far; items that are never reached stay in the middle.
    """
    every, there = np.zeros((len(near), 2), np.float32), np.zeros(len(near), bool)
    every[known], there[known] = places, True
    while not there.all():
        left = np.flatnonzero(~there)
        left = left[there[near[left]].any(axis=1)]
        if len(left) == 0:
            break
        shares = there[near[left]].astype(np.float32)
        sums = (every[near[left]] * shares[:, :, None]).sum(axis=1)
        every[left] = sums / shares.sum(axis=1, keepdims=True)
        there[left] = True
    return every


def _in_square(places: Floats) -> Floats:
    """Return positions scaled into a square of side 1, with a margin; the longer side fills it."""
    low, high = places.min(axis=0), places.max(axis=0)
    span = max(float((high - low).max()), 1e-12)
    centred = (places - (low + high) / 2) / np.float32(span)
    return np.asarray(centred * np.float32(1 - 2 * _MARGIN) + np.float32(0.5), np.float32)


def _some(count: int, most: int) -> Places:
    """Return up to `most` of `count` places, sorted, always the same ones."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def shuffled(pks: Places) -> Places:
    """Return the places of items (n,) in a pseudo-random order that is always the same.

    Any prefix is a sample of all items; items that are added later do not change the others' order.
    """
    return np.argsort(_hashed(pks, 0), kind="stable")


def _jitter(numbers: Places) -> Floats:
    """Return two numbers from −1 to 1 for each of (n,), (n, 2): the same for the same number."""
    parts = np.stack([_hashed(numbers, step) >> np.uint64(11) for step in (1, 2)], axis=1)
    return (parts * (2.0 / 2**53) - 1).astype(np.float32)


def _hashed(numbers: Places, step: int) -> NDArray[np.uint64]:
    """Return pseudo-random numbers by SplitMix64 (Steele, Lea and Flood 2014)."""
    z = (numbers.astype(np.uint64) * np.uint64(3) + np.uint64(step + 1)) * np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
