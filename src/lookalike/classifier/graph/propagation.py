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

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.rising import distinct

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
