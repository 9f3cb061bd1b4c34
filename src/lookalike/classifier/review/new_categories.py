"""New categories: clusters of unlabelled items that may have a label nobody named yet. Pure.

Only items without a person's label and with a low probability of a known label are clustered. Each
of them points to the most similar denser item among its 10 nearest. Items without a denser
neighbour are density peaks, the representatives; the items that lead to a peak are its group (mode
seeking on a neighbour graph, after Koontz, Narendra and Fukunaga 1976). A chain of look-alikes does
not join two peaks, and the number of groups need not be known.

Labels are paths, `Shoes > Running`. The **place** of a group in the label tree is the deepest
label, or prefix of one, that most of its members' evidence lies below, or "" for the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.scores import Scores
from lookalike.model import LABEL_SEPARATOR

MAJORITY = 0.6
"""More than this share of the evidence must lie below a place for it to be proposed."""

MIN_ITEMS, MAX_ITEMS = 3, 200
"""The smallest group, and how many items of a larger one are returned, nearest first."""

MAX_GROUPS = 50

_NEAREST = 10
_UNKNOWN = 0.5
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class NewCategory:
    """Items that resemble each other and no known label, the representative first.

    `cohesion` is the mean cosine (centred) of the others with it; `place` the proposed place in the
    label tree, "" for the root, with `share` of the evidence (0 if there is none).
    """

    places: Places
    cohesion: float
    place: str
    share: float


def group_new_categories(
    neighbour_graph: NeighbourGraph,
    scores: Scores | None,
    known: NDArray[np.float64],
    settled: NDArray[np.bool_],
) -> list[NewCategory]:
    """Return groups that may be new categories, the largest first, at most MAX_GROUPS.

    `known` (n,) is the probability that an item has a known label. `settled` (n,) items are in no
    group: pass items with a person's or an automatic label.
    """
    unknown = np.flatnonzero(~settled & (known < _UNKNOWN))
    peaks = _peaks(neighbour_graph, unknown)
    order = np.lexsort((unknown, peaks))
    ends = np.flatnonzero(np.diff(peaks[order])) + 1
    found = [part for part in np.split(unknown[order], ends) if len(part) >= MIN_ITEMS]
    found.sort(key=lambda part: (-len(part), int(part[0])))
    peak_of = dict(zip(unknown.tolist(), peaks.tolist(), strict=True))
    found = found[:MAX_GROUPS]
    ranked = [_ranked(neighbour_graph, part, peak_of[int(part[0])]) for part in found]
    places = _common_places(scores, [members for members, _ in ranked])
    return [
        NewCategory(members, cohesion, place, round(share, 3))
        for (members, cohesion), (place, share) in zip(ranked, places, strict=True)
    ]


def common_place(labels: Sequence[str], weights: Sequence[float]) -> tuple[str, float]:
    """Return the deepest path below which more than MAJORITY of the weight lies, and its share.

    >>> common_place(["Shoes > Running", "Shoes > Hiking", "Bags"], [2.0, 2.0, 1.0])
    ('Shoes', 0.8)
    """
    total = sum(weights)
    if total <= _TINY:
        return "", 0.0
    sums: dict[tuple[str, ...], float] = {}
    for label, weight in zip(labels, weights, strict=True):
        parts = tuple(label.split(LABEL_SEPARATOR))
        for depth in range(1, len(parts) + 1):
            sums[parts[:depth]] = sums.get(parts[:depth], 0.0) + weight
    least = MAJORITY * total
    deepest = max((path for path, weight in sums.items() if weight > least), key=len, default=())
    return LABEL_SEPARATOR.join(deepest), float(sums.get(deepest, total) / total)


def _peaks(neighbour_graph: NeighbourGraph, unknown: Places) -> Places:
    """Return the density peak (m,) that each of the sorted places `unknown` leads to, as a
    place.
    """
    if len(unknown) == 0:
        return unknown
    row_of = np.full(len(neighbour_graph), -1)
    row_of[unknown] = np.arange(len(unknown))
    near = row_of[neighbour_graph.near[unknown, :_NEAREST]]
    near_weights = neighbour_graph.near_weights[unknown, :_NEAREST]
    within = np.where(near >= 0, near_weights, 0)
    density = within.sum(axis=1)
    rank = np.empty(len(unknown), np.int64)
    rank[np.lexsort((unknown, -density))] = np.arange(len(unknown))
    denser = (near >= 0) & (rank[near] < rank[:, None])
    weight = np.where(denser, within, -1)
    own = np.arange(len(unknown))
    if weight.shape[1] == 0:
        return unknown
    best = weight.argmax(axis=1)
    parent = np.where(weight[own, best] > 0, near[own, best], own)
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return unknown[parent]


def _ranked(neighbour_graph: NeighbourGraph, members: Places, peak: int) -> tuple[Places, float]:
    """Return the first members, the representative first, and the others' mean cosine with it."""
    cosines = neighbour_graph.cosines(members, np.array([peak]))[:, 0]
    order = np.lexsort((members, -cosines, members != peak))[:MAX_ITEMS]
    return members[order], round(float(cosines[order][1:].mean()), 3)


def _common_places(scores: Scores | None, groups: Sequence[Places]) -> list[tuple[str, float]]:
    """Return the common place of each group: each member has one vote, split by evidence."""
    if scores is None or not scores.labels or not groups:
        return [("", 0.0)] * len(groups)
    evidence = scores.evidence(np.concatenate(groups)).astype(np.float64)
    votes = evidence / np.maximum(evidence.sum(axis=1, keepdims=True), _TINY)
    ends = np.cumsum([len(members) for members in groups])[:-1]
    return [
        common_place(scores.labels, part.sum(axis=0).tolist()) for part in np.split(votes, ends)
    ]
