"""How all items of a space lie to each other, labels aside: what evidence travels over. Pure.

Frozen when it is made: items that come later are **leaves**, attached to their nearest nodes by one
hop, until it is made again. It needs no label, and the same vectors give the same landscape.

Besides the graph it holds the **direct metric**: the cosine of centred vectors under
M = (C + 0.1·tr(C)/d·I)⁻¹, where C is the covariance of the differences between near neighbours:
what varies among look-alikes counts little. (Unlabelled counterpart of within-class whitening.)

Vectors are kept on the grid (see `grid`), once centred and once **turned** by a root of M, so that
M's inner product is the plain one. Turned vectors are spread by random signs and a cosine transform
besides: no component stands out, and a byte holds each. `directions` makes both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import (
    Bytes,
    Grid,
    Number,
    appended,
    grid_length,
    on_grid,
    roomy,
    squares,
)
from lookalike.classifier.graph.metric import Blend, Whitening, spans
from lookalike.classifier.graph.neighbours import FindLists, neighbour_lists, neighbours
from lookalike.classifier.graph.propagation import (
    DECAY,
    END,
    NEIGHBOURS,
    SCALES,
    STEPS,
    Evidence,
    Floats,
    Graph,
    Places,
    ends_of,
    push,
    scale_widths,
)

# --- joining neighbours to a graph, block by block -----------------------------------------------

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


# -------------------------------------------------------------------------------------------------

Vectors = Callable[[Places | slice], NDArray[np.float16]]

_METRIC_NEIGHBOURS = (3, 5)
"""The differences to so few and so many neighbours make the direct metric. The nearest ones differ
as things of one label do: with three of 5,421 pictures accuracy is .004 higher than with five, and
of texts fewer answers settle all. Of few items they do not tell all directions apart: with two of
533 pictures precision fell.
"""

_DIFFERENCES_EACH = 8
"""So many differences for each dimension are enough."""

_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class NeighbourGraph:
    """Items of one space by rising pk; the first `nodes` are in the graph, the rest are leaves.

    `centred` int16 (n, d) are the directions that `frame` makes of vectors, on the grid; `turned`
    int8 (n, d) those of centred @ `turn` (int16 (d, d)), of lengths `turned_lengths` float64 (n,).
    `near` int64 and `near_cosines` float32 (n, ≤ 20) are each item's nearest nodes; `hops` float32
    (n, ≤ 20) the entries of S between them.
    """

    pks: Places
    nodes: int
    frame: Whitening
    centred: Grid
    turn: Grid
    turned: Bytes
    turned_lengths: NDArray[np.float64]
    near: Places
    near_cosines: Floats
    hops: Floats
    graph: Graph
    widths: Floats
    degrees: Floats

    def __len__(self) -> int:
        return len(self.pks)

    def places_of(self, pks: Places) -> Places:
        """Return the places of items that are here, in the order asked."""
        if len(self.pks) == 0:
            return np.empty(0, np.int64)
        found = np.minimum(np.searchsorted(self.pks, pks), len(self.pks) - 1)
        return np.asarray(found[self.pks[found] == pks])

    def cosines(self, places: Places, others: Places) -> Floats:
        """Return the centred cosines (m, k) of the items at `places` (m,) and `others` (k,)."""
        scale = np.float32(grid_length(self.centred.shape[1]) ** -2)
        rows, columns = (
            self.centred.take(part, axis=0).astype(np.float32) for part in (places, others)
        )
        return (rows @ columns.T) * scale

    def evidence(self, place: int) -> Evidence:
        """Return what the item at `place` says of all others."""
        if place < self.nodes:
            return push(self.graph, np.array([place]), np.ones(1, np.float32), STEPS)
        spread = push(self.graph, self.near[place], DECAY * self.hops[place], STEPS - 1)
        return Evidence(np.append(spread.places, place), np.append(spread.amounts, np.float32(1)))

    def with_leaves(self, said: Evidence, first: int | None = None) -> Evidence:
        """Return evidence with what leaves hear by one hop: those from place `first` on, or all.

        A leaf that has an entry of its own (it is the reference) keeps it on top.
        """
        start = self.nodes if first is None else first
        if start == len(self):
            return said
        column = np.zeros(len(self), np.float32)
        column[said.places] = said.amounts
        column[start:] += DECAY * (self.hops[start:] * column[self.near[start:]]).sum(axis=1)
        leaves = start + np.flatnonzero(column[start:])
        places = np.concatenate([said.places[said.places < start], leaves])
        return Evidence(places, column[places])


class KnownGraph(NamedTuple):
    """What was found out about a landscape's items before: its `near`, `near_cosines` and `turn`,
    its `graph` and `degrees`.

    To find `near` is what takes long. `turn` may differ in its last digits with the number of
    threads: whoever builds the same landscape again takes over the one there was.
    """

    near: Places
    near_cosines: Floats
    turn: Grid
    graph: Graph
    degrees: Floats


def build_neighbour_graph(
    pks: Places,
    vectors: NDArray[np.float16],
    known: KnownGraph | None = None,
    *,
    blend: Blend | None = None,
) -> NeighbourGraph:
    """Return the landscape of all items: `pks` (n,) rising, unit `vectors` (n, d).

    `known` is what a landscape of the same items had, by the same `blend` of their members.
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
    """Return that of vectors that are read some at a time where they are many: `vectors(places)`.

    `find` finds their neighbours, where they are not known.
    """
    count = len(pks)
    frame = Whitening.of((vectors(part) for part in spans(count)), blend)
    centred = _grid(frame, vectors, count)
    near, cosines = known[:2] if known else find(centred, NEIGHBOURS)
    turn = known.turn if known else _turn(frame, vectors, centred, near)
    graph, degrees = known[3:] if known else build_graph(near, cosines)
    turned = frame.turned(centred, turn)
    widths = scale_widths(cosines)
    return NeighbourGraph(
        pks=pks,
        nodes=len(pks),
        frame=frame,
        centred=centred,
        turn=turn,
        turned=turned,
        turned_lengths=_lengths(turned),
        near=near,
        near_cosines=cosines,
        hops=_hops(near, cosines, widths, degrees),
        graph=graph,
        widths=widths,
        degrees=degrees,
    )


def attach(
    neighbour_graph: NeighbourGraph,
    pks: Places,
    vectors: NDArray[np.float16],
    *,
    apart: bool = False,
) -> NeighbourGraph:
    """Return the landscape with more leaves: `pks` (m,) above all here, `vectors` (m, d).

    Of several that are made of one landscape only the last is good (see `growing`), unless they are
    kept `apart`: then all is copied.
    """
    add = _copied if apart else appended
    centred = on_grid(neighbour_graph.frame.centred(vectors))
    nodes, count = neighbour_graph.centred[: neighbour_graph.nodes], neighbour_graph.near.shape[1]
    near, cosines = neighbours(centred, nodes, count)
    turned = neighbour_graph.frame.turned(centred, neighbour_graph.turn)
    widths, degrees = neighbour_graph.widths, neighbour_graph.degrees
    return NeighbourGraph(
        pks=add(neighbour_graph.pks, pks),
        nodes=neighbour_graph.nodes,
        frame=neighbour_graph.frame,
        centred=add(neighbour_graph.centred, centred),
        turn=neighbour_graph.turn,
        turned=add(neighbour_graph.turned, turned),
        turned_lengths=add(neighbour_graph.turned_lengths, _lengths(turned)),
        near=add(neighbour_graph.near, near),
        near_cosines=add(neighbour_graph.near_cosines, cosines),
        hops=add(neighbour_graph.hops, _hops(near, cosines, widths, degrees)),
        graph=neighbour_graph.graph,
        widths=widths,
        degrees=degrees,
    )


def _copied(array: NDArray[Number], more: NDArray[Number]) -> NDArray[Number]:
    return np.concatenate([array, more])


def _grid(frame: Whitening, vectors: Vectors, count: int) -> Grid:
    """Return the centred directions of all items, made some at a time."""
    grid = roomy(count, len(frame.mean), np.int16)
    for part in spans(count):
        grid[part] = on_grid(frame.centred(vectors(part)))
    return grid


def _turn(frame: Whitening, vectors: Vectors, centred: Grid, near: Places) -> Grid:
    """Return what `turned` is made by; of many items, from directions on the grid."""
    count, dimension = centred.shape
    least, most = _METRIC_NEIGHBOURS
    near = near[:, : min(max(-(-_DIFFERENCES_EACH * dimension // max(count, 1)), least), most)]
    if len(spans(count)) == 1:
        wide = frame.centred(vectors(slice(0, count)))
        return frame.turn_for(wide.__getitem__, near)
    length = np.float32(grid_length(dimension))
    return frame.turn_for(lambda places: centred[places].astype(np.float32) / length, near)


def _lengths(turned: Bytes) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(squares(turned), 1)))


def _hops(near: Places, cosines: Floats, widths: Floats, degrees: Floats) -> Floats:
    """Return the entries of S (m, k) from items to their nearest nodes, by own lists."""
    hops = np.zeros(near.shape, np.float32)
    for part in spans(len(near)):
        for scale, k in enumerate(SCALES):
            some = near[part, :k]
            weights = _scale_weights(some, cosines[part, :k], widths[scale])
            own = np.maximum(weights.sum(axis=1, keepdims=True), _TINY)
            hops[part, :k] += weights / np.sqrt(own * degrees[scale][some])
    hops /= np.float32(len(SCALES))
    return hops


def _scale_weights(near: Places, cosines: Floats, widths: Floats) -> Floats:
    own = scale_widths(cosines)[-1] if cosines.shape[1] else np.ones(len(cosines), np.float32)
    return np.asarray(np.exp(-((1 - cosines) ** 2) / (own[:, None] * widths[near])))
