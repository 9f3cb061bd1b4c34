"""Joins near neighbours to a graph: some nodes at a time, so that it takes little more memory than
the graph itself. Pure. What the graph is, `propagation` tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import (
    END,
    SCALES,
    Floats,
    Graph,
    Places,
    ends_of,
    scale_widths,
)

_NODES = 65_536


class _Edges(NamedTuple):
    """Edges (m,) of some nodes, rising by node, then by the other end: `rows` tells the node,
    `columns` the other end. `ranks` is how near it is in the nearer one's list, from 0.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    cosines: Floats
    ranks: NDArray[np.int8]

    def weights(self, scale: int, widths: Floats) -> tuple[Places, Floats]:
        """Return which edges a scale has, and their weights, the same from either end."""
        some = np.flatnonzero(self.ranks < SCALES[scale])
        spread = widths[scale][self.rows[some]] * widths[scale][self.columns[some]]
        return some, np.exp(-((1 - self.cosines[some]) ** 2) / spread)


def build_graph(places: Places, cosines: Floats) -> tuple[Graph, Floats]:
    """Return the graph of n items with their neighbours (n, ≤ NEIGHBOURS), nearest first.

    Besides, the sums of each node's symmetric weights for each scale, float32 (3, n).
    """
    count, widths = len(places), scale_widths(cosines)
    found = list(_edges(places, cosines))
    degrees = np.zeros((len(SCALES), count))
    for part in found:
        for scale in range(len(SCALES)):
            _add_degrees(degrees[scale], part, *part.weights(scale, widths))
    degrees = np.maximum(degrees, 1e-12)
    roots = degrees**-0.5
    starts, ends = np.zeros(count + 1, np.int64), [np.empty(0, END)]
    for place in range(len(found)):
        part, found[place] = found[place], _NO_EDGES
        starts[1:] += np.bincount(part.rows, minlength=count)
        ends.append(ends_of(part.columns, _shares(part, widths, roots)))
    return Graph(np.cumsum(starts), np.concatenate(ends)), degrees.astype(np.float32)


_NO_EDGES = _Edges(
    np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int8)
)


def _edges(places: Places, cosines: Floats) -> Iterator[_Edges]:
    """Yield the edges of some nodes at a time: who is in their lists, or has them in its own."""
    count, k = places.shape
    flat, values = places.ravel(), cosines.ravel()
    listing = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=count))
    for start in range(0, count, _NODES):
        stop = min(start + _NODES, count)
        own = np.arange(start * k, stop * k)
        others = listing[ends[start - 1] if start else 0 : ends[stop - 1]]
        at = np.concatenate([own, others])
        rows = np.concatenate([own // k, flat[others]])
        columns = np.concatenate([flat[own], others // k])
        key = ((rows - start) * count + columns) * k + at % k
        order = np.argsort(key)
        pair = key[order] // k
        once = np.ones(len(pair), bool)
        once[1:] = pair[1:] != pair[:-1]
        chosen = order[once]
        yield _Edges(
            rows[chosen].astype(np.int32),
            columns[chosen].astype(np.int32),
            values[at[chosen]],
            (at[chosen] % k).astype(np.int8),
        )


def _add_degrees(degrees: NDArray[np.float64], part: _Edges, some: Places, weights: Floats) -> None:
    """Add up the weights of each node, always in the same order: later nodes' first."""
    later = part.columns[some] > part.rows[some]
    order = np.concatenate([np.flatnonzero(later), np.flatnonzero(~later)])
    np.add.at(degrees, part.rows[some][order], weights[order].astype(np.float64))


def _shares(part: _Edges, widths: Floats, roots: NDArray[np.float64]) -> Floats:
    """Return the entries of S: the mean of the scales, added up from the widest."""
    total = np.zeros(len(part.rows), np.float32)
    for scale in reversed(range(len(SCALES))):
        some, weights = part.weights(scale, widths)
        root = roots[scale]
        share = weights * root[part.rows[some]] * root[part.columns[some]] / len(SCALES)
        total[some] += share.astype(np.float32)
    return total
