"""What lies around an item farther than its neighbours: means over a short walk on the graph. Pure.

A walk goes from an item to one that it is joined to, by their shares of its weights, three times.
The mean of a value where walks from an item end is smooth: it tells what is usual around there. Of
the largest evidence of any label it tells whether references are spread all around, as among items
of a known label, or whether there are none, however much the item itself looks like one. (Smoothing
over a graph, after Zhou et al. 2004.)

Values and weights are kept as whole numbers of small steps. So a change dies out where it is small,
sums of what changed are exact in any order, and the result is that of making all. Leaves are no
part of anybody's surroundings; their walk takes its first step to their nearest nodes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import (
    SCALES,
    Evidence,
    Floats,
    Graph,
    Places,
    added_up,
    arrivals,
)

STEPS = 3
"""More tell a little more, two a little less; each reaches thirty times as many items."""

_STEPS_TO_ONE = 64
_WEIGHT = np.float32(2**16)
_LEAST_DISTANCE = np.float32(1e-3)
_BLOCK = 65_536
_KEPT_ENDS = 2048


Totals = NDArray[np.float64]


class Joined(Protocol):
    """What walks need to know of a landscape."""

    def __len__(self) -> int: ...

    @property
    def nodes(self) -> int:
        """Return how many items are in the graph; the rest are leaves."""

    @property
    def graph(self) -> Graph:
        """Return how the nodes are joined."""

    @property
    def near(self) -> Places:
        """Return the nearest nodes of each item (n, ≤ 20)."""

    @property
    def near_cosines(self) -> Floats:
        """Return how near they are (n, ≤ 20)."""

    @property
    def hops(self) -> Floats:
        """Return the entries of S between an item and these (n, ≤ 20)."""


class Surroundings:
    """The means of one value around all n items of a landscape, kept up as the value changes.

    Values and means are kept on a `_grid` of so many `steps` to one.

    `_means` are those where walks of 0, 1, … steps end, in steps of the grid, float32 (nodes,), of
    the longest (n,). `_totals` are what they are made of after 1, 2, … steps, float64 (nodes,): the
    sums of weights times means one step before; `_sums` (nodes,) those of weights, at least 1. All
    are whole numbers.
    """

    def __init__(self, landscape: Joined, values: Floats, *, steps: int = _STEPS_TO_ONE) -> None:
        self._landscape, self._grid = landscape, np.float32(steps)
        self._sums = np.maximum(self._totalled(np.ones(landscape.nodes, np.float32)), 1)
        self._means = [self._on_grid(values[: landscape.nodes])]
        self._totals: list[Totals] = []
        for _ in range(STEPS):
            self._totals.append(self._totalled(self._means[-1]))
            self._means.append(self._mean(self._totals[-1], slice(None)))
        self._ends: dict[int, Evidence] = {}
        leaves = np.arange(landscape.nodes, len(landscape))
        self._means[-1] = np.concatenate([self._means[-1], self._of_leaves(leaves)])

    def over(self, landscape: Joined) -> Surroundings:
        """Return those of `landscape`, which is ours and more leaves."""
        wider = Surroundings.__new__(Surroundings)
        wider._landscape, wider._grid = landscape, self._grid
        wider._sums, wider._ends = self._sums, self._ends
        wider._means = [means.copy() for means in self._means]
        wider._totals = [totals.copy() for totals in self._totals]
        more = wider._of_leaves(np.arange(len(self._landscape), len(landscape)))
        wider._means[-1] = np.concatenate([wider._means[-1], more])
        return wider

    @property
    def means(self) -> Floats:
        """Return the mean around each item (n,)."""
        return np.asarray(self._means[-1] / self._grid)

    def at(self, places: Places) -> Floats:
        """Return the means around items (m,)."""
        return np.asarray(self._means[-1][places] / self._grid)

    def follow(self, places: Places, values: Floats) -> Places:
        """Take over other `values` (m,) of the items at `places` (m,); return around whom the mean
        may be another now.
        """
        inside = places < self._landscape.nodes
        moved, by = self._replace(0, places[inside], self._on_grid(values[inside]))
        leaves = moved[:0]
        for step in range(STEPS):
            if step == STEPS - 1:
                leaves = self._follow_to_leaves(moved)
            rows = self._pass_on(step, moved, by)
            means = self._mean(self._totals[step], rows)
            moved, by = self._replace(step + 1, rows, means)
        return np.concatenate([moved, leaves])

    def ends(self, place: int) -> Evidence:
        """Return where walks from the item at `place` end, and their shares, which sum to 1.

        Those of a node stay as they are, so they are kept: references are asked again.
        """
        if place >= self._landscape.nodes:
            return self._walked(place)
        found = self._ends.get(place)
        if found is None:
            if len(self._ends) >= _KEPT_ENDS:
                self._ends.clear()
            found = self._ends[place] = self._walked(place)
        return found

    def _walked(self, place: int) -> Evidence:
        land, steps = self._landscape, STEPS
        places, shares = np.array([place]), np.ones(1)
        if place >= land.nodes:
            steps -= 1
            hops = land.hops[place].astype(np.float64)
            places, shares = land.near[place], hops / max(hops.sum(), np.finfo(float).tiny)
        for _ in range(steps):
            places, shares = arrivals(land.graph, places, shares / self._sums[places])
        shares /= max(shares.sum(), np.finfo(float).tiny)
        return Evidence(places, shares.astype(np.float32))

    def _replace(self, step: int, places: Places, means: Floats) -> tuple[Places, Floats]:
        """Put in what is the mean now; return the places where it was another, and by how much."""
        by = means - self._means[step][places]
        moved = np.flatnonzero(by != 0)
        rows = places[moved]
        self._means[step][rows] = means[moved]
        return rows, by[moved]

    def _pass_on(self, step: int, places: Places, by: Floats) -> Places:
        """Add to the totals that follow `step` what changed `by` at nodes; return whose did."""
        graph, totals = self._landscape.graph, self._totals[step]
        edges, counts = graph.edges(places)
        columns, weights = graph.at(edges)
        flow = _whole(weights) * np.repeat(by.astype(np.float64), counts)
        rows, more = added_up(columns, flow, len(totals))
        totals[rows] += more
        return rows

    def _follow_to_leaves(self, moved: Places) -> Places:
        land = self._landscape
        if land.nodes == len(land):
            return moved[:0]
        among = np.zeros(land.nodes, bool)
        among[moved] = True
        leaves = land.nodes + np.flatnonzero(among[land.near[land.nodes :]].any(axis=1))
        self._means[-1][leaves] = self._of_leaves(leaves)
        return leaves

    def _totalled(self, values: Floats) -> Totals:
        """Return the sums of weights times `values` (nodes,), whole numbers, over who is joined."""
        graph, nodes = self._landscape.graph, self._landscape.nodes
        totals = np.empty(nodes, np.float64)
        for start in range(0, nodes, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, nodes))
            edges, counts = graph.edges(rows)
            columns, weights = graph.at(edges)
            flow = _whole(weights) * values[columns].astype(np.float64)
            totals[rows] = np.bincount(np.repeat(rows - start, counts), flow, minlength=len(rows))
        return totals

    def _mean(self, totals: Totals, rows: Places | slice) -> Floats:
        """Return the means at nodes `rows` (m,) that are made of `totals` (nodes,)."""
        means = np.rint(totals[rows] / self._sums[rows])
        return np.asarray(means, np.float32)

    def _of_leaves(self, leaves: Places) -> Floats:
        """Return the means around leaves (m,)."""
        land = self._landscape
        hops, near = land.hops[leaves].astype(np.float64), land.near[leaves]
        sums = np.maximum(hops.sum(axis=1), np.finfo(float).tiny)
        means = (hops * self._means[STEPS - 1][near]).sum(axis=1) / sums
        return np.asarray(np.rint(means), np.float32)

    def _on_grid(self, values: Floats) -> Floats:
        """Return values as numbers of steps."""
        return np.asarray(np.rint(values * self._grid), np.float32)


def remoteness(landscape: Joined) -> Floats:
    """Return how far each item lies from its neighbours, beside what is usual around it, (n,).

    log σ − the mean of log σ, σ the distance to the tenth neighbour. (After the local outlier
    factor, Breunig et al. 2000.)
    """
    cosines = landscape.near_cosines[:, : SCALES[1]]
    if cosines.shape[1] == 0:
        return np.zeros(len(landscape), np.float32)
    widths = np.log(np.maximum(1 - cosines[:, -1], _LEAST_DISTANCE))
    return np.asarray(widths - Surroundings(landscape, widths).means, np.float32)


def _whole(weights: Floats) -> Totals:
    return np.asarray(np.rint(weights * _WEIGHT), np.float64)
