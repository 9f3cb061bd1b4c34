"""Evidence that spreads over the neighbour graph: who looks like whom, directly and through others.

Pure arrays. Nodes are items by their place; edges join near neighbours of the centred vectors. The
**graph** averages three scales (5, 10 and 20 neighbours), each with weights
w_ij = exp(−(1 − cos_ij)² / (σ_i σ_j)), σ_i the distance to the last neighbour of that scale,
made symmetric by the larger of w_ij and w_ji and normalised as S = D^(−½) W D^(−½).

The **evidence** of node r is K_·r = Σ_{t=0..6} 0.9^t (S^t)_·r, computed by pushing one unit from r
and dropping what is below 1e-4 on the way: a few hundred entries, whatever the size of the graph.
(Label spreading after Zhou et al. 2004, cut after six steps; local scaling after Zelnik-Manor and
Perona 2004.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCALES = (5, 10, 20)
"""The numbers of neighbours whose graphs are averaged."""

NEIGHBOURS = max(SCALES)
"""How many neighbours an item needs."""

STEPS = 6
DECAY = np.float32(0.9)
_DROP = np.float32(1e-4)
_LEAST_DISTANCE = np.float32(1e-3)

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Graph:
    """S in compressed rows: row i has columns `columns[starts[i]:starts[i + 1]]` with `weights`."""

    starts: Places
    columns: Places
    weights: Floats

    def __len__(self) -> int:
        return len(self.starts) - 1

    def edges(self, rows: Places) -> tuple[Places, Places]:
        """Return the places in `columns` of the edges of different `rows`, and their counts."""
        first = self.starts[rows]
        counts = self.starts[rows + 1] - first
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        return np.arange(total) + np.repeat(first - (ends - counts), counts), counts

    def joined(self, rows: Places) -> Places:
        """Return the nodes that are joined to nodes `rows`, some of them several times."""
        return self.columns[self.edges(rows)[0]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one node says of others: rising `places` with `amounts` > 0; sparse."""

    places: Places
    amounts: Floats

    def at(self, places: Places) -> Floats:
        """Return the amounts at `places` of any shape, 0 where there are none."""
        if len(self.places) == 0:
            return np.zeros(places.shape, np.float32)
        found = np.minimum(np.searchsorted(self.places, places), len(self.places) - 1)
        return np.where(self.places[found] == places, self.amounts[found], np.float32(0))


def build_graph(places: Places, cosines: Floats) -> tuple[Graph, Floats]:
    """Return the graph of n items with their neighbours (n, ≤ NEIGHBOURS), nearest first.

    Besides, the sums of each node's symmetric weights for each scale, float32 (3, n).
    """
    count, edges, degrees = len(places), [], []
    for k in SCALES:
        rows, columns, weights = _symmetric(places[:, :k], cosines[:, :k])
        degree = np.maximum(np.bincount(rows, weights, minlength=count), 1e-12)
        root = degree**-0.5
        shares = weights * root[rows] * root[columns] / len(SCALES)
        edges.append((rows * count + columns, shares.astype(np.float32)))
        degrees.append(degree)
    edge, weights = _gather(*(np.concatenate(part) for part in zip(*edges, strict=True)))
    graph = _compressed(count, edge // max(count, 1), edge % max(count, 1), weights)
    return graph, np.stack(degrees).astype(np.float32)


def scale_widths(cosines: Floats) -> Floats:
    """Return σ of lists (n, k) for each scale (3, n): the distance to the last neighbour of it."""
    return np.stack([_widths(cosines[:, :k]) for k in SCALES])


def push(graph: Graph, places: Places, mass: Floats, steps: int) -> Evidence:
    """Return where `mass` on different `places` has been after up to `steps` steps.

    One unit on one node gives the evidence of that node.
    """
    total = np.asarray(np.bincount(places, mass, minlength=len(graph)), np.float64)
    for _ in range(steps):
        edges, counts = graph.edges(places)
        flow = graph.weights[edges] * np.repeat(DECAY * mass, counts)
        reached = np.bincount(graph.columns[edges], flow, minlength=len(graph))
        places = np.flatnonzero(reached >= _DROP)
        mass = reached[places].astype(np.float32)
        total[places] += mass
    places = np.flatnonzero(total)
    return Evidence(places, total[places].astype(np.float32))


def combine(parts: list[Evidence], size: int) -> Floats:
    """Return the mean of evidences as a dense column (size,); zeros where there is none."""
    places = np.concatenate([part.places for part in parts])
    amounts = np.concatenate([part.amounts for part in parts])
    column = np.bincount(places, amounts, minlength=size)[:size]
    return (column / len(parts)).astype(np.float32)


def _gather(places: Places, amounts: Floats) -> tuple[Places, Floats]:
    """Add up the amounts of equal places; the places rise."""
    order = np.argsort(places, kind="stable")
    ordered, values = places[order], amounts[order]
    if len(ordered) == 0:
        return ordered, values
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.add.reduceat(values, starts).astype(np.float32)


def _widths(cosines: Floats) -> Floats:
    if cosines.shape[1] == 0:
        return np.full(len(cosines), _LEAST_DISTANCE, np.float32)
    return np.asarray(np.maximum(1 - cosines[:, -1], _LEAST_DISTANCE), np.float32)


def _symmetric(places: Places, cosines: Floats) -> tuple[Places, Places, Floats]:
    """Return every edge in both directions, with the larger of its two weights."""
    n, k = places.shape
    widths = _widths(cosines)
    rows, columns = np.repeat(np.arange(n), k), places.ravel()
    spread = (widths[:, None] * widths[places]).ravel()
    weights = np.exp(-((1 - cosines.ravel()) ** 2) / spread)
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    edge = low * n + high
    order = np.lexsort((-weights, edge))
    once = np.ones(len(edge), bool)
    once[1:] = np.diff(edge[order]) > 0
    low, high, weights = low[order][once], high[order][once], weights[order][once]
    return np.concatenate([low, high]), np.concatenate([high, low]), np.tile(weights, 2)


def _compressed(n: int, rows: Places, columns: Places, weights: Floats) -> Graph:
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)
    return Graph(starts, columns.astype(np.int64), weights)
