"""How all items of a space lie to each other, labels aside: what evidence travels over. Pure.

Frozen when it is made: items that come later are **leaves**, attached to their nearest nodes by one
hop, until it is made again. It needs no label, and the same vectors give the same landscape.

Besides the graph it holds the **direct metric**: the cosine of centred vectors under
M = (C + 0.1·tr(C)/d·I)⁻¹, where C is the covariance of the differences between near neighbours:
what varies among look-alikes counts little. (Unlabelled counterpart of within-class whitening.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.propagation import (
    DECAY,
    NEIGHBOURS,
    SCALES,
    STEPS,
    Evidence,
    Floats,
    Graph,
    Places,
    Pusher,
    build_graph,
    neighbours,
    scale_degrees,
    scale_widths,
)

CONTEXT = 10
"""How many neighbours describe the surroundings of an item."""

_METRIC_NEIGHBOURS = 5
_METRIC_SHRINKAGE = 0.1
_BLOCK = 8192
_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class Landscape:
    """Items of one space by rising pk; the first `nodes` are in the graph, the rest are leaves.

    `centred` float32 (n, d) are vectors − `mean`; `lengths` (n,) their norms; `metric` (d, d) is M
    and `metric_lengths` (n,) the norms under it. `near` int64 and `near_cosines` float32 (n, ≤ 20)
    are each item's nearest nodes; `hops` float32 (n, ≤ 20) the entries of S between them.
    """

    pks: Places
    nodes: int
    mean: Floats
    centred: Floats
    lengths: Floats
    metric: Floats
    metric_lengths: Floats
    near: Places
    near_cosines: Floats
    hops: Floats
    context: Floats
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

    def evidence(self, pusher: Pusher, place: int) -> Evidence:
        """Return what the item at `place` says of all others; `pusher` is one of our graph."""
        if place < self.nodes:
            return pusher.push(np.array([place]), np.ones(1, np.float32), STEPS)
        spread = pusher.push(self.near[place], DECAY * self.hops[place], STEPS - 1)
        return Evidence(np.append(spread.places, place), np.append(spread.amounts, np.float32(1)))

    def with_leaves(self, column: Floats) -> Floats:
        """Return an evidence column (n,) with the leaves' entries filled in by one hop.

        A leaf that has an entry of its own (it is the reference) keeps it on top.
        """
        leaves = slice(self.nodes, len(self))
        column[leaves] += DECAY * (self.hops[leaves] * column[self.near[leaves]]).sum(axis=1)
        return column


def build_landscape(
    pks: Places, vectors: NDArray[np.float16], lists: tuple[Places, Floats] | None = None
) -> Landscape:
    """Return the landscape of all items: `pks` (n,) rising, unit `vectors` (n, d).

    `lists` are the `near` and `near_cosines` of a landscape of the same items: finding them is what
    takes long.
    """
    wide = vectors.astype(np.float32)
    mean = wide.mean(axis=0, dtype=np.float64).astype(np.float32) if len(wide) else wide.sum(axis=0)
    centred = wide - mean
    lengths = np.maximum(np.linalg.norm(centred, axis=1), _TINY)
    unit = centred / lengths[:, None]
    near, cosines = lists or neighbours(unit, unit, NEIGHBOURS, same=True)
    metric = _local_metric(centred, near[:, :_METRIC_NEIGHBOURS])
    widths, degrees = scale_widths(cosines), scale_degrees(near, cosines)
    return Landscape(
        pks=pks,
        nodes=len(pks),
        mean=mean,
        centred=centred,
        lengths=lengths,
        metric=metric,
        metric_lengths=_metric_lengths(centred, metric),
        near=near,
        near_cosines=cosines,
        hops=_hops(near, cosines, widths, degrees),
        context=_context(near, cosines, widths),
        graph=build_graph(near, cosines),
        widths=widths,
        degrees=degrees,
    )


def attach(landscape: Landscape, pks: Places, vectors: NDArray[np.float16]) -> Landscape:
    """Return the landscape with more leaves: `pks` (m,) above all here, `vectors` (m, d)."""
    nodes = slice(0, landscape.nodes)
    centred = vectors.astype(np.float32) - landscape.mean
    lengths = np.maximum(np.linalg.norm(centred, axis=1), _TINY)
    rows = landscape.centred[nodes] / landscape.lengths[nodes, None]
    near, cosines = neighbours(
        centred / lengths[:, None], rows, landscape.near.shape[1], same=False
    )
    widths = landscape.widths
    return Landscape(
        pks=np.concatenate([landscape.pks, pks]),
        nodes=landscape.nodes,
        mean=landscape.mean,
        centred=np.concatenate([landscape.centred, centred]),
        lengths=np.concatenate([landscape.lengths, lengths]),
        metric=landscape.metric,
        metric_lengths=np.concatenate(
            [landscape.metric_lengths, _metric_lengths(centred, landscape.metric)]
        ),
        near=np.concatenate([landscape.near, near]),
        near_cosines=np.concatenate([landscape.near_cosines, cosines]),
        hops=np.concatenate([landscape.hops, _hops(near, cosines, widths, landscape.degrees)]),
        context=np.concatenate([landscape.context, _context(near, cosines, widths)]),
        graph=landscape.graph,
        widths=widths,
        degrees=landscape.degrees,
    )


def _local_metric(centred: Floats, near: Places) -> Floats:
    """Return M for the differences to neighbours `near` (n, k), summed without forming them."""
    n, d = centred.shape
    k = near.shape[1]
    seen = np.bincount(near.ravel(), minlength=n).astype(np.float32)
    half = centred * ((k + seen) / 2)[:, None] - centred[near].sum(axis=1) if k else centred * 0
    product = centred.T @ half
    covariance = (product + product.T).astype(np.float64) / max(2 * n * k, 1)
    floor = max(_METRIC_SHRINKAGE * np.trace(covariance) / d, 1e-9)
    return np.linalg.inv(covariance + floor * np.eye(d)).astype(np.float32)


def _metric_lengths(centred: Floats, metric: Floats) -> Floats:
    squares = [
        np.einsum(
            "nd,nd->n", centred[start : start + _BLOCK] @ metric, centred[start : start + _BLOCK]
        )
        for start in range(0, len(centred), _BLOCK)
    ]
    joined = np.concatenate(squares) if squares else np.empty(0, np.float32)
    return np.sqrt(np.maximum(joined, _TINY)).astype(np.float32)


def _hops(near: Places, cosines: Floats, widths: Floats, degrees: Floats) -> Floats:
    """Return the entries of S (m, k) from items to their nearest nodes, by own lists."""
    hops = np.zeros(near.shape, np.float32)
    for scale, k in enumerate(SCALES):
        weights = _scale_weights(near[:, :k], cosines[:, :k], widths[scale])
        own = np.maximum(weights.sum(axis=1, keepdims=True), _TINY)
        hops[:, :k] += weights / np.sqrt(own * degrees[scale][near[:, :k]])
    return hops / np.float32(len(SCALES))


def _context(near: Places, cosines: Floats, widths: Floats) -> Floats:
    """Return the weights (m, ≤ CONTEXT) of the surroundings of items; each row sums to 1."""
    weights = _scale_weights(near[:, :CONTEXT], cosines[:, :CONTEXT], widths[SCALES.index(CONTEXT)])
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), _TINY))


def _scale_weights(near: Places, cosines: Floats, widths: Floats) -> Floats:
    own = scale_widths(cosines)[-1] if cosines.shape[1] else np.ones(len(cosines), np.float32)
    return np.asarray(np.exp(-((1 - cosines) ** 2) / (own[:, None] * widths[near])))
