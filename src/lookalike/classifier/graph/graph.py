"""Neighbour graph of all items of an embedding space, over which evidence propagates. Pure.

The graph needs no labels, and the same vectors always give the same graph. It is frozen once built.
Items that arrive later are **out-of-graph items**: each is attached to its nearest nodes by one
hop, until the graph is rebuilt.

A `NeighbourGraph` also holds the **whitened vectors**. Class similarity is the cosine of centred
vectors under M = (C + 0.1·tr(C)/d·I)⁻¹, where C is the covariance of the differences between near
neighbours: directions that vary among look-alikes count little. (Unlabelled counterpart of
within-class whitening.)

Vectors are stored twice in fixed point (`arrays`): centred, and **whitened** by a root of M, so
that M's inner product becomes the plain one. Whitened vectors are also mixed by random signs and a
cosine transform: then no component stands out, and an int8 holds each. `metric` makes both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import (
    Bytes,
    FixedPoint,
    Number,
    append_growable,
    empty_growable,
    fixed_point_length,
    squares,
    to_fixed_point,
)
from lookalike.classifier.graph.metric import Blend, Whitening, spans
from lookalike.classifier.graph.neighbours import FindLists, neighbour_lists, neighbours
from lookalike.classifier.graph.propagation import (
    COARSE,
    DECAY,
    END,
    NEIGHBOURS,
    SCALES,
    STEPS,
    Evidence,
    Floats,
    Graph,
    Places,
    Truncation,
    ends_of,
    push,
    scale_widths,
)

# --- building the graph from neighbour lists, block by block --------------------------------------

_NODES = 65_536


class _Edges(NamedTuple):
    """Edges (m,) of some nodes, sorted by node, then by the other end.

    `rows` is the node, `columns` the other end. `ranks` is the rank of the edge, from 0, in the
    neighbour list of the end that ranks it higher.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    cosines: Floats
    ranks: NDArray[np.int8]

    def weights(self, scale: int, widths: Floats) -> tuple[Places, Floats]:
        """Return the indices of the edges of a scale, and their weights, equal from either end."""
        some = np.flatnonzero(self.ranks < SCALES[scale])
        spread = widths[scale][self.rows[some]] * widths[scale][self.columns[some]]
        return some, np.exp(-((1 - self.cosines[some]) ** 2) / spread)


def build_graph(places: Places, cosines: Floats) -> tuple[Graph, Floats]:
    """Return the graph of n items with their neighbours (n, ≤ NEIGHBOURS), nearest first.

    Also return the sum of each node's symmetric weights for each scale, float32 (3, n).
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
    """Yield the edges of one block of nodes at a time: those in their lists, and those that list
    them.
    """
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
        is_first = np.ones(len(pair), bool)
        is_first[1:] = pair[1:] != pair[:-1]
        chosen = order[is_first]
        yield _Edges(
            rows[chosen].astype(np.int32),
            columns[chosen].astype(np.int32),
            values[at[chosen]],
            (at[chosen] % k).astype(np.int8),
        )


def _add_degrees(degrees: NDArray[np.float64], part: _Edges, some: Places, weights: Floats) -> None:
    """Add up the weights of each node, always in the same order: those of later nodes first."""
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


# -------------------------------------------------------------------------------------------------

Vectors = Callable[[Places | slice], NDArray[np.float16]]

_METRIC_NEIGHBOURS = (3, 5)
"""The fewest and the most neighbours whose differences estimate the metric. The nearest neighbours
differ as items of one label do: with three instead of five, accuracy on 5,421 pictures is .004
higher, and for texts fewer answers settle all items. With few items, few differences do not cover
all directions: with two of them, precision on 533 pictures fell."""

_DIFFERENCES_EACH = 8
"""This many differences per dimension are enough."""

_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class NeighbourGraph:
    """Items of one space sorted by pk; the first `nodes` are in the graph, the rest are out of it.

    `centred` int16 (n, d) are the directions that `frame` makes of the vectors, in fixed point.
    `whitened` int8 (n, d) are the directions of centred @ `whitening_matrix` (int16 (d, d)), with
    lengths `whitened_lengths` float64 (n,). `near` int64 and `near_cosines` float32 (n, ≤ 20) are
    each item's nearest nodes and their cosines; `near_weights` float32 (n, ≤ 20) the entries of S
    between the item and these nodes.
    """

    pks: Places
    nodes: int
    frame: Whitening
    centred: FixedPoint
    whitening_matrix: FixedPoint
    whitened: Bytes
    whitened_lengths: NDArray[np.float64]
    near: Places
    near_cosines: Floats
    near_weights: Floats
    graph: Graph
    widths: Floats
    degrees: Floats

    def __len__(self) -> int:
        return len(self.pks)

    def places_of(self, pks: Places) -> Places:
        """Return the places of the given items that are known here, in the order given."""
        if len(self.pks) == 0:
            return np.empty(0, np.int64)
        found = np.minimum(np.searchsorted(self.pks, pks), len(self.pks) - 1)
        return np.asarray(found[self.pks[found] == pks])

    def cosines(self, places: Places, others: Places) -> Floats:
        """Return the centred cosines (m, k) of the items at `places` (m,) and `others` (k,)."""
        scale = np.float32(fixed_point_length(self.centred.shape[1]) ** -2)
        rows, columns = (
            self.centred.take(part, axis=0).astype(np.float32) for part in (places, others)
        )
        return (rows @ columns.T) * scale

    def evidence(self, place: int, truncation: Truncation = COARSE) -> Evidence:
        """Return the evidence that the item at `place` gives to all others."""
        if place < self.nodes:
            return push(self.graph, np.array([place]), np.ones(1, np.float32), STEPS, truncation)
        mass = DECAY * self.near_weights[place]
        spread = push(self.graph, self.near[place], mass, STEPS - 1, truncation)
        return Evidence(np.append(spread.places, place), np.append(spread.amounts, np.float32(1)))

    def with_out_of_graph(self, evidence: Evidence, first: int | None = None) -> Evidence:
        """Return `evidence` with the amounts that out-of-graph items receive by one hop.

        It adds the items from place `first` on, or all out-of-graph items. If such an item has an
        entry already (it is the reference itself), the hop is added to it.
        """
        start = self.nodes if first is None else first
        if start == len(self):
            return evidence
        column = np.zeros(len(self), np.float32)
        column[evidence.places] = evidence.amounts
        column[start:] += DECAY * (self.near_weights[start:] * column[self.near[start:]]).sum(
            axis=1
        )
        outside = start + np.flatnonzero(column[start:])
        places = np.concatenate([evidence.places[evidence.places < start], outside])
        return Evidence(places, column[places])


class KnownGraph(NamedTuple):
    """Parts of a neighbour graph that were computed before for the same items: `near`,
    `near_cosines`, `whitening_matrix`, `graph` and `degrees`.

    Finding `near` takes longest. The last digits of `whitening_matrix` may depend on the number of
    threads: to rebuild the same graph exactly, reuse the stored matrix.
    """

    near: Places
    near_cosines: Floats
    whitening_matrix: FixedPoint
    graph: Graph
    degrees: Floats


def build_neighbour_graph(
    pks: Places,
    vectors: NDArray[np.float16],
    known: KnownGraph | None = None,
    *,
    blend: Blend | None = None,
) -> NeighbourGraph:
    """Return the neighbour graph of all items: `pks` (n,) sorted, unit `vectors` (n, d).

    `known` are parts of an earlier graph of the same items with the same `blend` of members.
    """
    return neighbour_graph_of(pks, vectors.__getitem__, known, blend=blend)


def neighbour_graph_of(
    pks: Places,
    vectors: Vectors,
    known: KnownGraph | None = None,
    *,
    blend: Blend | None = None,
    find: FindLists = neighbour_lists,
) -> NeighbourGraph:
    """Return the neighbour graph of vectors that `vectors(places)` reads, in blocks if there are
    many.

    `find` computes the neighbour lists if `known` has none.
    """
    count = len(pks)
    frame = Whitening.of((vectors(part) for part in spans(count)), blend)
    centred = _grid(frame, vectors, count)
    near, cosines = known[:2] if known else find(centred, NEIGHBOURS)
    whitening_matrix = (
        known.whitening_matrix if known else _whitening_matrix(frame, vectors, centred, near)
    )
    graph, degrees = known[3:] if known else build_graph(near, cosines)
    whitened = frame.whiten(centred, whitening_matrix)
    widths = scale_widths(cosines)
    return NeighbourGraph(
        pks=pks,
        nodes=len(pks),
        frame=frame,
        centred=centred,
        whitening_matrix=whitening_matrix,
        whitened=whitened,
        whitened_lengths=_lengths(whitened),
        near=near,
        near_cosines=cosines,
        near_weights=_near_weights(near, cosines, widths, degrees),
        graph=graph,
        widths=widths,
        degrees=degrees,
    )


def attach(
    neighbour_graph: NeighbourGraph,
    pks: Places,
    vectors: NDArray[np.float16],
    *,
    copy: bool = False,
) -> NeighbourGraph:
    """Return the graph with more out-of-graph items: `pks` (m,) above all known ones, `vectors` (m,
    d).

    The result shares buffers with `neighbour_graph`, so only the last of several results made from
    one graph is valid (`append_growable`). With `copy` all arrays are copied instead.
    """
    add = _append_copy if copy else append_growable
    centred = to_fixed_point(neighbour_graph.frame.centred(vectors))
    nodes, count = neighbour_graph.centred[: neighbour_graph.nodes], neighbour_graph.near.shape[1]
    near, cosines = neighbours(centred, nodes, count)
    whitened = neighbour_graph.frame.whiten(centred, neighbour_graph.whitening_matrix)
    widths, degrees = neighbour_graph.widths, neighbour_graph.degrees
    return NeighbourGraph(
        pks=add(neighbour_graph.pks, pks),
        nodes=neighbour_graph.nodes,
        frame=neighbour_graph.frame,
        centred=add(neighbour_graph.centred, centred),
        whitening_matrix=neighbour_graph.whitening_matrix,
        whitened=add(neighbour_graph.whitened, whitened),
        whitened_lengths=add(neighbour_graph.whitened_lengths, _lengths(whitened)),
        near=add(neighbour_graph.near, near),
        near_cosines=add(neighbour_graph.near_cosines, cosines),
        near_weights=add(
            neighbour_graph.near_weights, _near_weights(near, cosines, widths, degrees)
        ),
        graph=neighbour_graph.graph,
        widths=widths,
        degrees=degrees,
    )


def _append_copy(array: NDArray[Number], more: NDArray[Number]) -> NDArray[Number]:
    return np.concatenate([array, more])


def _grid(frame: Whitening, vectors: Vectors, count: int) -> FixedPoint:
    """Return the centred directions of all items in fixed point, made block by block."""
    grid = empty_growable(count, len(frame.mean), np.int16)
    for part in spans(count):
        grid[part] = to_fixed_point(frame.centred(vectors(part)))
    return grid


def _whitening_matrix(
    frame: Whitening, vectors: Vectors, centred: FixedPoint, near: Places
) -> FixedPoint:
    """Return the whitening matrix; for many items, estimate it from fixed-point directions."""
    count, dimension = centred.shape
    least, most = _METRIC_NEIGHBOURS
    near = near[:, : min(max(-(-_DIFFERENCES_EACH * dimension // max(count, 1)), least), most)]
    if len(spans(count)) == 1:
        wide = frame.centred(vectors(slice(0, count)))
        return frame.matrix_for(wide.__getitem__, near)
    length = np.float32(fixed_point_length(dimension))
    return frame.matrix_for(lambda places: centred[places].astype(np.float32) / length, near)


def _lengths(whitened: Bytes) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(squares(whitened), 1)))


def _near_weights(near: Places, cosines: Floats, widths: Floats, degrees: Floats) -> Floats:
    """Return the entries of S (m, k) from items to their nearest nodes, by the items' own lists."""
    near_weights = np.zeros(near.shape, np.float32)
    for part in spans(len(near)):
        for scale, k in enumerate(SCALES):
            some = near[part, :k]
            weights = _scale_weights(some, cosines[part, :k], widths[scale])
            own = np.maximum(weights.sum(axis=1, keepdims=True), _TINY)
            near_weights[part, :k] += weights / np.sqrt(own * degrees[scale][some])
    near_weights /= np.float32(len(SCALES))
    return near_weights


def _scale_weights(near: Places, cosines: Floats, widths: Floats) -> Floats:
    own = scale_widths(cosines)[-1] if cosines.shape[1] else np.ones(len(cosines), np.float32)
    return np.asarray(np.exp(-((1 - cosines) ** 2) / (own[:, None] * widths[near])))
