"""Label propagation over the neighbour graph, direct and through other items. Pure arrays.

Nodes are items, named by their place; edges join near neighbours of the centred vectors. The
**graph** averages three scales (5, 10 and 20 neighbours), each with weights w_ij = exp(−(1 −
cos_ij)² / (σ_i σ_j)), σ_i the distance to the last neighbour of that scale. Weights are made
symmetric by the larger of w_ij and w_ji, and normalised as S = D^(−½) W D^(−½).

The **evidence** of node r is K_·r = Σ_{t=0..4} 0.9^t (S^t)_·r. It is computed by pushing one unit
from r, and truncated: small amounts are dropped, or kept but not pushed on (`Truncation`). The
result has some thousand entries, whatever the size of the graph. (Label spreading after Zhou et al.
2004, cut after four steps; local scaling after Zelnik-Manor and Perona 2004.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import sorted_unique

SCALES = (5, 10, 20)
"""The numbers of neighbours whose graphs are averaged."""

NEIGHBOURS = max(SCALES)
"""The number of neighbours that each item needs."""

STEPS = 4
DECAY = np.float32(0.9)
_LEAST_DISTANCE = np.float32(1e-3)
_SPARSE = 16
"""If fewer than one node in this many is reached, sum over the reached nodes only."""

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class Truncation(NamedTuple):
    """Where propagation stops: amounts below `drop_below` are dropped, and those below `stop_below`
    are kept but not pushed on.
    """

    drop_below: np.float32
    stop_below: np.float32


COARSE = Truncation(drop_below=np.float32(1e-4), stop_below=np.float32(4e-4))
FINE = Truncation(drop_below=np.float32(1e-5), stop_below=np.float32(1e-5))
"""Reaches two to five times as many items as COARSE; a push takes three times as long among
100,000."""


END = np.dtype([("column", np.int32), ("weight", np.float32)])
"""The other end of an edge and its weight, stored side by side: both are read together, at random
places of a graph too large for any cache."""

Ends = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Graph:
    """S in compressed sparse rows: row i has `ends[starts[i]:starts[i + 1]]`, of type END."""

    starts: Places
    ends: Ends

    @classmethod
    def of(cls, starts: Places, columns: NDArray[np.integer], weights: Floats) -> Graph:
        """Return the graph of edges given as columns and weights (edges,)."""
        return cls(starts, ends_of(columns, weights))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def columns(self) -> NDArray[np.int32]:
        """Return the other ends of all edges (edges,), a view: do not change it."""
        return np.asarray(self.ends["column"])

    @property
    def weights(self) -> Floats:
        """Return the weights of all edges (edges,), a view: do not change it."""
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
    """Sparse evidence that a node or a label gives to items: sorted `places` with `amounts` > 0."""

    places: Places
    amounts: Floats

    def at(self, places: Places) -> Floats:
        """Return the amounts at `places` of any shape, 0 at places without evidence."""
        if len(self.places) == 0:
            return np.zeros(places.shape, np.float32)
        found = self.places.searchsorted(places)
        reached = self.places.take(found, mode="clip") == places
        return np.where(reached, self.amounts.take(found, mode="clip"), np.float32(0))


def ends_of(columns: NDArray[np.integer], weights: Floats) -> Ends:
    """Return ends of type END (edges,)."""
    ends = np.empty(len(columns), END)
    ends["column"], ends["weight"] = columns, weights
    return ends


def scale_widths(cosines: Floats) -> Floats:
    """Return σ of lists (n, k) for each scale (3, n): the distance to the last neighbour of the
    scale.
    """
    return np.stack([_widths(cosines[:, :k]) for k in SCALES])


def push(
    graph: Graph, places: Places, mass: Floats, steps: int, truncation: Truncation = COARSE
) -> Evidence:
    """Return the evidence of up to `steps` propagation steps from `mass` on different `places`.

    One unit on one node gives the evidence of that node.
    """
    reached = Evidence(places, mass)
    visits = [reached]
    for _ in range(steps):
        continues = reached.amounts >= truncation.stop_below
        places, mass = reached.places[continues], reached.amounts[continues]
        places, amounts = propagate_once(graph, places, DECAY * mass, least=truncation.drop_below)
        reached = Evidence(places, amounts.astype(np.float32))
        visits.append(reached)
    places, sums = _summed(visits)
    return Evidence(places[sums != 0], sums[sums != 0].astype(np.float32))


def propagate_once(
    graph: Graph, places: Places, mass: NDArray[np.floating], *, least: np.floating | None = None
) -> tuple[Places, NDArray[np.float64]]:
    """Return the sorted places that `mass` on different `places` reaches in one step, and the
    amounts.

    Amounts below `least` are dropped.
    """
    edges, counts = graph.edges(places)
    columns, weights = graph.at(edges)
    return scatter_add(columns, weights * np.repeat(mass, counts), len(graph), least=least)


def scatter_add(
    columns: NDArray[np.integer],
    flow: NDArray[np.floating],
    nodes: int,
    *,
    least: np.floating | None = None,
) -> tuple[Places, NDArray[np.float64]]:
    """Add up `flow` by `columns`; return the sorted nodes with a sum of at least `least`, and the
    sums.

    Without `least`, return the nodes with a sum other than 0. The dense and the sparse way add up
    in the same order.
    """
    if len(columns) * _SPARSE > nodes:
        sums = np.asarray(np.bincount(columns, flow, minlength=nodes), np.float64)
        hit = np.flatnonzero(sums != 0 if least is None else sums >= least)
    else:
        sums = np.zeros(nodes)
        np.add.at(sums, columns, flow.astype(np.float64))
        there = sums.take(columns)
        hit = sorted_unique(columns[there != 0 if least is None else there >= least])
    return hit, sums.take(hit)


def mean_evidence(parts: list[Evidence], weights: Places | None = None) -> Evidence:
    """Return the mean of evidences, at least one, with `weights` if they do not count alike."""
    if weights is None:
        places, sums = _summed(parts)
        return Evidence(places, (sums / len(parts)).astype(np.float32))
    scaled = [
        Evidence(part.places, part.amounts * np.float32(weight))
        for part, weight in zip(parts, weights.tolist(), strict=True)
    ]
    places, sums = _summed(scaled)
    return Evidence(places, (sums / weights.sum()).astype(np.float32))


def _summed(parts: list[Evidence]) -> tuple[Places, NDArray[np.float64]]:
    """Return the sorted places of any of the parts, and the sums of their amounts."""
    every = np.concatenate([part.places for part in parts])
    amounts = np.concatenate([part.amounts for part in parts])
    places, sums = sorted_unique(every), np.bincount(every, amounts)
    return places, np.asarray(sums.take(places), np.float64)


def _widths(cosines: Floats) -> Floats:
    if cosines.shape[1] == 0:
        return np.full(len(cosines), _LEAST_DISTANCE, np.float32)
    return np.asarray(np.maximum(1 - cosines[:, -1], _LEAST_DISTANCE), np.float32)


# --- smoothed means over a short walk ------------------------------------------------------------

# Smoothed mean of a value: the expected value at the end of a random walk of three steps over the
# graph, whose transition probabilities are proportional to the edge weights. It measures what is
# usual around an item. Applied to the largest evidence of any label, it distinguishes items
# surrounded by references, as among items of a known label, from items without references around
# them, however much the item itself resembles one. (Smoothing over a graph, after Zhou et al.
# 2004.)
#
# Values and weights are rounded to whole numbers of small steps. So a small change dies out, sums
# of changes are exact in any order, and an incremental update equals a full recomputation.
# Out-of-graph items do not contribute to any mean; the first step of their own walk goes to their
# nearest nodes.

SMOOTHING_STEPS = 3
"""More steps are a little more informative, two a little less; each step reaches thirty times as
many items."""

_STEPS_TO_ONE = 64
_WEIGHT = np.float32(2**16)
_BLOCK = 65_536
_CACHED_WEIGHTS = 2048


Totals = NDArray[np.float64]


class SmoothableGraph(Protocol):
    """The parts of a neighbour graph that smoothing needs."""

    def __len__(self) -> int: ...

    @property
    def nodes(self) -> int:
        """Return how many items are in the graph; the rest are out of it."""

    @property
    def graph(self) -> Graph:
        """Return the edges between nodes."""

    @property
    def near(self) -> Places:
        """Return the nearest nodes of each item (n, ≤ 20)."""

    @property
    def near_cosines(self) -> Floats:
        """Return the cosines of each item with its nearest nodes (n, ≤ 20)."""

    @property
    def near_weights(self) -> Floats:
        """Return the entries of S between each item and its nearest nodes (n, ≤ 20)."""


class GraphSmoother:
    """Smoothed means of one value around all n items of a graph, updated as the value changes.

    Values and means are stored in whole steps, `steps` to one unit.

    `_means` are the means after walks of 0, 1, … steps, float32 (nodes,), the last one (n,).
    `_totals` are the numerators of the means after 1, 2, … steps, float64 (nodes,): sums of weights
    times the means of one step before. `_sums` (nodes,) are the sums of weights, at least 1. All
    are whole numbers.
    """

    def __init__(
        self, neighbour_graph: SmoothableGraph, values: Floats, *, steps: int = _STEPS_TO_ONE
    ) -> None:
        self._neighbour_graph, self._steps_per_unit = neighbour_graph, np.float32(steps)
        self._sums = np.maximum(self._weighted_sums(np.ones(neighbour_graph.nodes, np.float32)), 1)
        self._means = [self._in_steps(values[: neighbour_graph.nodes])]
        self._totals: list[Totals] = []
        for _ in range(SMOOTHING_STEPS):
            self._totals.append(self._weighted_sums(self._means[-1]))
            self._means.append(self._mean(self._totals[-1], slice(None)))
        self._cached_weights: dict[int, Evidence] = {}
        outside = np.arange(neighbour_graph.nodes, len(neighbour_graph))
        self._means[-1] = np.concatenate([self._means[-1], self._out_of_graph_means(outside)])

    def extended_to(self, neighbour_graph: SmoothableGraph) -> GraphSmoother:
        """Return the smoother of `neighbour_graph`, which is this graph with more out-of-graph
        items.
        """
        extended = GraphSmoother.__new__(GraphSmoother)
        extended._neighbour_graph, extended._steps_per_unit = neighbour_graph, self._steps_per_unit
        extended._sums, extended._cached_weights = self._sums, self._cached_weights
        extended._means = [means.copy() for means in self._means]
        extended._totals = [totals.copy() for totals in self._totals]
        more = extended._out_of_graph_means(
            np.arange(len(self._neighbour_graph), len(neighbour_graph))
        )
        extended._means[-1] = np.concatenate([extended._means[-1], more])
        return extended

    @property
    def means(self) -> Floats:
        """Return the mean around each item (n,)."""
        return np.asarray(self._means[-1] / self._steps_per_unit)

    def at(self, places: Places) -> Floats:
        """Return the means around items (m,)."""
        return np.asarray(self._means[-1][places] / self._steps_per_unit)

    def update(self, places: Places, values: Floats) -> Places:
        """Set new `values` (m,) of the items at `places` (m,); return the items whose mean may have
        changed.
        """
        inside = places < self._neighbour_graph.nodes
        moved, by = self._set_means(0, places[inside], self._in_steps(values[inside]))
        outside = moved[:0]
        for step in range(SMOOTHING_STEPS):
            if step == SMOOTHING_STEPS - 1:
                outside = self._update_out_of_graph(moved)
            rows = self._add_to_totals(step, moved, by)
            means = self._mean(self._totals[step], rows)
            moved, by = self._set_means(step + 1, rows, means)
        return np.concatenate([moved, outside])

    def smoothing_weights(self, place: int) -> Evidence:
        """Return the weights of items in the smoothed mean at `place`, which sum to 1.

        The weights of a node never change, so they are cached: references are asked repeatedly.
        """
        if place >= self._neighbour_graph.nodes:
            return self._walk(place)
        found = self._cached_weights.get(place)
        if found is None:
            if len(self._cached_weights) >= _CACHED_WEIGHTS:
                self._cached_weights.clear()
            found = self._cached_weights[place] = self._walk(place)
        return found

    def _walk(self, place: int) -> Evidence:
        neighbour_graph, steps = self._neighbour_graph, SMOOTHING_STEPS
        places, shares = np.array([place]), np.ones(1)
        if place >= neighbour_graph.nodes:
            steps -= 1
            near_weights = neighbour_graph.near_weights[place].astype(np.float64)
            places, shares = (
                neighbour_graph.near[place],
                near_weights / max(near_weights.sum(), np.finfo(float).tiny),
            )
        for _ in range(steps):
            places, shares = propagate_once(
                neighbour_graph.graph, places, shares / self._sums[places]
            )
        shares /= max(shares.sum(), np.finfo(float).tiny)
        return Evidence(places, shares.astype(np.float32))

    def _set_means(self, step: int, places: Places, means: Floats) -> tuple[Places, Floats]:
        """Set the means after `step` steps; return the places that changed, and their changes."""
        by = means - self._means[step][places]
        moved = np.flatnonzero(by != 0)
        rows = places[moved]
        self._means[step][rows] = means[moved]
        return rows, by[moved]

    def _add_to_totals(self, step: int, places: Places, by: Floats) -> Places:
        """Add the changes `by` of nodes to the totals of the next step; return the nodes whose
        totals changed.
        """
        graph, totals = self._neighbour_graph.graph, self._totals[step]
        edges, counts = graph.edges(places)
        columns, weights = graph.at(edges)
        flow = _integer_weights(weights) * np.repeat(by.astype(np.float64), counts)
        rows, more = scatter_add(columns, flow, len(totals))
        totals[rows] += more
        return rows

    def _update_out_of_graph(self, moved: Places) -> Places:
        neighbour_graph = self._neighbour_graph
        if neighbour_graph.nodes == len(neighbour_graph):
            return moved[:0]
        among = np.zeros(neighbour_graph.nodes, bool)
        among[moved] = True
        outside = neighbour_graph.nodes + np.flatnonzero(
            among[neighbour_graph.near[neighbour_graph.nodes :]].any(axis=1)
        )
        self._means[-1][outside] = self._out_of_graph_means(outside)
        return outside

    def _weighted_sums(self, values: Floats) -> Totals:
        """Return the sums of weights times `values` (nodes,), whole numbers, over each node's
        neighbours.
        """
        graph, nodes = self._neighbour_graph.graph, self._neighbour_graph.nodes
        totals = np.empty(nodes, np.float64)
        for start in range(0, nodes, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, nodes))
            edges, counts = graph.edges(rows)
            columns, weights = graph.at(edges)
            flow = _integer_weights(weights) * values[columns].astype(np.float64)
            totals[rows] = np.bincount(np.repeat(rows - start, counts), flow, minlength=len(rows))
        return totals

    def _mean(self, totals: Totals, rows: Places | slice) -> Floats:
        """Return the means at nodes `rows` (m,) from `totals` (nodes,)."""
        means = np.rint(totals[rows] / self._sums[rows])
        return np.asarray(means, np.float32)

    def _out_of_graph_means(self, outside: Places) -> Floats:
        """Return the means around out-of-graph items (m,)."""
        neighbour_graph = self._neighbour_graph
        near_weights, near = (
            neighbour_graph.near_weights[outside].astype(np.float64),
            neighbour_graph.near[outside],
        )
        sums = np.maximum(near_weights.sum(axis=1), np.finfo(float).tiny)
        means = (near_weights * self._means[SMOOTHING_STEPS - 1][near]).sum(axis=1) / sums
        return np.asarray(np.rint(means), np.float32)

    def _in_steps(self, values: Floats) -> Floats:
        """Return values in whole steps."""
        return np.asarray(np.rint(values * self._steps_per_unit), np.float32)


def remoteness(neighbour_graph: SmoothableGraph) -> Floats:
    """Return how far each item lies from its neighbours, relative to the items around it, (n,).

    log σ − the smoothed mean of log σ, σ the distance to the tenth neighbour. (After the local
    outlier factor, Breunig et al. 2000.)
    """
    cosines = neighbour_graph.near_cosines[:, : SCALES[1]]
    if cosines.shape[1] == 0:
        return np.zeros(len(neighbour_graph), np.float32)
    widths = np.log(np.maximum(1 - cosines[:, -1], _LEAST_DISTANCE))
    return np.asarray(widths - GraphSmoother(neighbour_graph, widths).means, np.float32)


def _integer_weights(weights: Floats) -> Totals:
    return np.asarray(np.rint(weights * _WEIGHT), np.float64)
