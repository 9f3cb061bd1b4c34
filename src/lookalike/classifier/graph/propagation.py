"""Evidence that spreads over the neighbour graph: who looks like whom, directly and through others.

Pure arrays. Nodes are items by their place; edges join near neighbours of the centred vectors. The
**graph** averages three scales (5, 10 and 20 neighbours), each with weights
w_ij = exp(−(1 − cos_ij)² / (σ_i σ_j)), σ_i the distance to the last neighbour of that scale,
made symmetric by the larger of w_ij and w_ji and normalised as S = D^(−½) W D^(−½).

The **evidence** of node r is K_·r = Σ_{t=0..4} 0.9^t (S^t)_·r, computed by pushing one unit from r
and dropping what is below 1e-4 on the way; what is below 4e-4 stays, but goes no farther: a few
hundred entries, whatever the size of the graph.
(Label spreading after Zhou et al. 2004, cut after four steps; local scaling after Zelnik-Manor and
Perona 2004.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import distinct

SCALES = (5, 10, 20)
"""The numbers of neighbours whose graphs are averaged."""

NEIGHBOURS = max(SCALES)
"""How many neighbours an item needs."""

STEPS = 4
DECAY = np.float32(0.9)
_DROP = np.float32(1e-4)
_STAY = np.float32(4e-4)
_LEAST_DISTANCE = np.float32(1e-3)
_SPARSE = 16
"""What reaches less than one in so many nodes is not added up over all of them."""

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


END = np.dtype([("column", np.int32), ("weight", np.float32)])
"""The other end of an edge, and how strong the edge is: side by side, since they are asked together
all over a graph that no cache holds."""

Ends = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Graph:
    """S in compressed rows: row i has the `ends[starts[i]:starts[i + 1]]`, of type END."""

    starts: Places
    ends: Ends

    @classmethod
    def of(cls, starts: Places, columns: NDArray[np.integer], weights: Floats) -> Graph:
        """Return the graph of ends given as columns and weights (edges,)."""
        return cls(starts, ends_of(columns, weights))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def columns(self) -> NDArray[np.int32]:
        """Return the other ends of all edges (edges,); they are ours."""
        return np.asarray(self.ends["column"])

    @property
    def weights(self) -> Floats:
        """Return the weights of all edges (edges,); they are ours."""
        return np.asarray(self.ends["weight"])

    def at(self, edges: Places) -> tuple[NDArray[np.int32], Floats]:
        """Return columns and weights of some edges."""
        ends = self.ends.view(np.int64).take(edges).view(END)
        return ends["column"], ends["weight"]

    def edges(self, rows: Places) -> tuple[Places, Places]:
        """Return the places in `columns` of the edges of different `rows`, and their counts."""
        first = self.starts.take(rows)
        counts = self.starts.take(rows + 1) - first
        places = np.repeat(first - (np.cumsum(counts) - counts), counts)
        places += np.arange(len(places))
        return places, counts


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one node says of others: rising `places` with `amounts` > 0; sparse."""

    places: Places
    amounts: Floats

    def at(self, places: Places) -> Floats:
        """Return the amounts at `places` of any shape, 0 where there are none."""
        if len(self.places) == 0:
            return np.zeros(places.shape, np.float32)
        found = self.places.searchsorted(places)
        there = self.places.take(found, mode="clip") == places
        return np.where(there, self.amounts.take(found, mode="clip"), np.float32(0))


def ends_of(columns: NDArray[np.integer], weights: Floats) -> Ends:
    """Return ends of type END (edges,)."""
    ends = np.empty(len(columns), END)
    ends["column"], ends["weight"] = columns, weights
    return ends


def scale_widths(cosines: Floats) -> Floats:
    """Return σ of lists (n, k) for each scale (3, n): the distance to the last neighbour of it."""
    return np.stack([_widths(cosines[:, :k]) for k in SCALES])


def push(graph: Graph, places: Places, mass: Floats, steps: int) -> Evidence:
    """Return where `mass` on different `places` has been after up to `steps` steps.

    One unit on one node gives the evidence of that node.
    """
    there = Evidence(places, mass)
    visits = [there]
    for _ in range(steps):
        goes_on = there.amounts >= _STAY
        places, mass = there.places[goes_on], there.amounts[goes_on]
        places, amounts = arrivals(graph, places, DECAY * mass, least=_DROP)
        there = Evidence(places, amounts.astype(np.float32))
        visits.append(there)
    places, sums = _summed(visits)
    return Evidence(places[sums != 0], sums[sums != 0].astype(np.float32))


def arrivals(
    graph: Graph, places: Places, mass: NDArray[np.floating], *, least: np.floating | None = None
) -> tuple[Places, NDArray[np.float64]]:
    """Return where `mass` on different `places` is after one step, rising, and how much is there.

    Where there is less than `least` of it is passed over.
    """
    edges, counts = graph.edges(places)
    columns, weights = graph.at(edges)
    return added_up(columns, weights * np.repeat(mass, counts), len(graph), least=least)


def added_up(
    columns: NDArray[np.integer],
    flow: NDArray[np.floating],
    nodes: int,
    *,
    least: np.floating | None = None,
) -> tuple[Places, NDArray[np.float64]]:
    """Return at which of all `nodes`, rising, `flow` into `columns` adds up to `least` or more, or
    to anything but nothing, and to what.

    Both ways to add up do so in the same order.
    """
    if len(columns) * _SPARSE > nodes:
        reached = np.asarray(np.bincount(columns, flow, minlength=nodes), np.float64)
        hit = np.flatnonzero(reached != 0 if least is None else reached >= least)
    else:
        reached = np.zeros(nodes)
        np.add.at(reached, columns, flow.astype(np.float64))
        there = reached.take(columns)
        hit = distinct(columns[there != 0 if least is None else there >= least])
    return hit, reached.take(hit)


def combine(parts: list[Evidence]) -> Evidence:
    """Return the mean of evidences, at least one."""
    places, sums = _summed(parts)
    return Evidence(places, (sums / len(parts)).astype(np.float32))


def _summed(parts: list[Evidence]) -> tuple[Places, NDArray[np.float64]]:
    """Return the places of any of the parts, rising, and the sums of what they say there."""
    every = np.concatenate([part.places for part in parts])
    amounts = np.concatenate([part.amounts for part in parts])
    places, sums = distinct(every), np.bincount(every, amounts)
    return places, np.asarray(sums.take(places), np.float64)


def _widths(cosines: Floats) -> Floats:
    if cosines.shape[1] == 0:
        return np.full(len(cosines), _LEAST_DISTANCE, np.float32)
    return np.asarray(np.maximum(1 - cosines[:, -1], _LEAST_DISTANCE), np.float32)


# --- smoothed means over a short walk ------------------------------------------------------------

# A walk goes from an item to one that it is joined to, by their shares of its weights, three times.
# The mean of a value where walks from an item end is smooth: it tells what is usual around there.
# Of the largest evidence of any label it tells whether references are spread all around, as among
# items of a known label, or whether there are none, however much the item itself looks like one.
# (Smoothing over a graph, after Zhou et al. 2004.)
#
# Values and weights are kept as whole numbers of small steps. So a change dies out where it is
# small, sums of what changed are exact in any order, and the result is that of making all. Leaves
# are no part of anybody's surroundings; their walk takes its first step to their nearest nodes.

SMOOTHING_STEPS = 3
"""More tell a little more, two a little less; each reaches thirty times as many items."""

_STEPS_TO_ONE = 64
_WEIGHT = np.float32(2**16)
_BLOCK = 65_536
_KEPT_ENDS = 2048


Totals = NDArray[np.float64]


class Walkable(Protocol):
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


class GraphSmoother:
    """The means of one value around all n items of a landscape, kept up as the value changes.

    Values and means are kept on a `_grid` of so many `steps` to one.

    `_means` are those where walks of 0, 1, … steps end, in steps of the grid, float32 (nodes,), of
    the longest (n,). `_totals` are what they are made of after 1, 2, … steps, float64 (nodes,): the
    sums of weights times means one step before; `_sums` (nodes,) those of weights, at least 1. All
    are whole numbers.
    """

    def __init__(
        self, neighbour_graph: Walkable, values: Floats, *, steps: int = _STEPS_TO_ONE
    ) -> None:
        self._landscape, self._grid = neighbour_graph, np.float32(steps)
        self._sums = np.maximum(self._totalled(np.ones(neighbour_graph.nodes, np.float32)), 1)
        self._means = [self._on_grid(values[: neighbour_graph.nodes])]
        self._totals: list[Totals] = []
        for _ in range(SMOOTHING_STEPS):
            self._totals.append(self._totalled(self._means[-1]))
            self._means.append(self._mean(self._totals[-1], slice(None)))
        self._ends: dict[int, Evidence] = {}
        leaves = np.arange(neighbour_graph.nodes, len(neighbour_graph))
        self._means[-1] = np.concatenate([self._means[-1], self._of_leaves(leaves)])

    def over(self, neighbour_graph: Walkable) -> GraphSmoother:
        """Return those of `neighbour_graph`, which is ours and more leaves."""
        wider = GraphSmoother.__new__(GraphSmoother)
        wider._landscape, wider._grid = neighbour_graph, self._grid
        wider._sums, wider._ends = self._sums, self._ends
        wider._means = [means.copy() for means in self._means]
        wider._totals = [totals.copy() for totals in self._totals]
        more = wider._of_leaves(np.arange(len(self._landscape), len(neighbour_graph)))
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
        for step in range(SMOOTHING_STEPS):
            if step == SMOOTHING_STEPS - 1:
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
        land, steps = self._landscape, SMOOTHING_STEPS
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
        means = (hops * self._means[SMOOTHING_STEPS - 1][near]).sum(axis=1) / sums
        return np.asarray(np.rint(means), np.float32)

    def _on_grid(self, values: Floats) -> Floats:
        """Return values as numbers of steps."""
        return np.asarray(np.rint(values * self._grid), np.float32)


def remoteness(neighbour_graph: Walkable) -> Floats:
    """Return how far each item lies from its neighbours, beside what is usual around it, (n,).

    log σ − the mean of log σ, σ the distance to the tenth neighbour. (After the local outlier
    factor, Breunig et al. 2000.)
    """
    cosines = neighbour_graph.near_cosines[:, : SCALES[1]]
    if cosines.shape[1] == 0:
        return np.zeros(len(neighbour_graph), np.float32)
    widths = np.log(np.maximum(1 - cosines[:, -1], _LEAST_DISTANCE))
    return np.asarray(widths - GraphSmoother(neighbour_graph, widths).means, np.float32)


def _whole(weights: Floats) -> Totals:
    return np.asarray(np.rint(weights * _WEIGHT), np.float64)
