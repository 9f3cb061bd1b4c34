"""What lies around an item farther than its neighbours: means over a short walk on the graph. Pure.

A walk goes from an item to one that it is joined to, by their shares of its weights, three times.
The mean of a value where walks from an item end is smooth: it tells what is usual around there. Of
the largest evidence of any label it tells whether references are spread all around, as among items
of a known label, or whether there are none, however much the item itself looks like one. (Smoothing
over a graph, after Zhou et al. 2004.)

Values are kept on a grid. So a change dies out where it is small, only what it reaches is made
again, and the result is that of making all. Leaves are no part of anybody's surroundings; their
walk takes its first step to their nearest nodes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.propagation import SCALES, Evidence, Floats, Graph, Places, arrivals
from lookalike.rising import distinct

STEPS = 3
"""More tell a little more, two a little less; each reaches thirty times as many items."""

_GRID = np.float32(64)
_LEAST_DISTANCE = np.float32(1e-3)
_BLOCK = 65_536
_KEPT_ENDS = 2048


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

    `_means` are those after 0, 1, … steps, float32 (nodes,), of the last (n,). `_sums` (nodes,) are
    the sums of each node's weights.
    """

    def __init__(self, landscape: Joined, values: Floats) -> None:
        self._landscape = landscape
        self._sums = _sums_of_weights(landscape)
        self._means = [_on_grid(values[: landscape.nodes])]
        nodes = np.arange(landscape.nodes)
        blocks = np.split(nodes, range(_BLOCK, len(nodes), _BLOCK))
        for _ in range(STEPS):
            self._means.append(np.concatenate([self._mean(b, self._means[-1]) for b in blocks]))
        self._ends: dict[int, Evidence] = {}
        leaves = np.arange(landscape.nodes, len(landscape))
        self._means[-1] = np.concatenate([self._means[-1], self._of_leaves(leaves)])

    def over(self, landscape: Joined) -> Surroundings:
        """Return those of `landscape`, which is ours and more leaves."""
        wider = Surroundings.__new__(Surroundings)
        wider._landscape, wider._sums, wider._ends = landscape, self._sums, self._ends
        wider._means = [means.copy() for means in self._means]
        more = wider._of_leaves(np.arange(len(self._landscape), len(landscape)))
        wider._means[-1] = np.concatenate([wider._means[-1], more])
        return wider

    @property
    def means(self) -> Floats:
        """Return the mean around each item (n,)."""
        return self._means[-1].copy()

    def at(self, places: Places) -> Floats:
        """Return the means around items (m,)."""
        return np.asarray(self._means[-1][places])

    def follow(self, places: Places, values: Floats) -> None:
        """Take over other `values` (m,) of the items at `places` (m,)."""
        land = self._landscape
        moved, values = places[places < land.nodes], values[places < land.nodes]
        moved = self._replace(0, moved, _on_grid(values))
        for step in range(STEPS):
            if step == STEPS - 1:
                self._follow_to_leaves(moved)
            rows = distinct(land.graph.joined(moved))
            moved = self._replace(step + 1, rows, self._mean(rows, self._means[step]))

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
        return Evidence(places, shares.astype(np.float32))

    def _replace(self, step: int, places: Places, means: Floats) -> Places:
        """Put in what is the mean now; return the places where it was another."""
        differs = self._means[step][places] != means
        self._means[step][places] = means
        return np.asarray(places[differs])

    def _follow_to_leaves(self, moved: Places) -> None:
        land = self._landscape
        if land.nodes == len(land):
            return
        among = np.zeros(land.nodes, bool)
        among[moved] = True
        leaves = land.nodes + np.flatnonzero(among[land.near[land.nodes :]].any(axis=1))
        self._means[-1][leaves] = self._of_leaves(leaves)

    def _mean(self, rows: Places, values: Floats) -> Floats:
        """Return the means of `values` (nodes,) one step from nodes `rows` (m,)."""
        edges, counts = self._landscape.graph.edges(rows)
        flow = self._landscape.graph.weights[edges] * values[self._landscape.graph.columns[edges]]
        sums = np.bincount(np.repeat(np.arange(len(rows)), counts), flow, minlength=len(rows))
        return _on_grid(sums / self._sums[rows])

    def _of_leaves(self, leaves: Places) -> Floats:
        """Return the means around leaves (m,)."""
        land = self._landscape
        hops, near = land.hops[leaves].astype(np.float64), land.near[leaves]
        sums = np.maximum(hops.sum(axis=1), np.finfo(float).tiny)
        return _on_grid((hops * self._means[STEPS - 1][near]).sum(axis=1) / sums)


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


def _on_grid(values: NDArray[np.floating]) -> Floats:
    return np.asarray(np.round(values * _GRID) / _GRID, np.float32)


def _sums_of_weights(landscape: Joined) -> NDArray[np.float64]:
    counts = np.diff(landscape.graph.starts)
    rows = np.repeat(np.arange(landscape.nodes), counts)
    sums = np.bincount(rows, landscape.graph.weights, minlength=landscape.nodes)
    return np.maximum(sums, np.finfo(float).tiny)
