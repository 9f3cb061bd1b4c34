"""Groups among what has no label that may be of a kind nobody named yet. Pure.

Only items without a label of a person, whose chance to be of a known label is low, are looked at.
Among them each item points to the one most like it, of its 10 nearest, that stands denser. The
peaks that remain are the representatives, and what leads to a peak is its group (mode seeking on a
neighbour graph, after Koontz, Narendra and Fukunaga 1976): a chain of look-alikes does not join two
peaks, and the number of groups need not be known.

Labels are paths, `Shoes > Running`. A group's **place** is the deepest label or part of one below
which most of what its members lean to lies, or "" for the root: weighed by evidence.
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
"""This share of the evidence must lie below a place for it to be proposed."""

MIN_ITEMS, MAX_ITEMS = 3, 200
"""How many items make a group, and how many of a larger one are given, nearest first."""

MAX_GROUPS = 50

_NEAREST = 10
_UNKNOWN = 0.5
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class NewCategory:
    """Items that look like each other and like nothing named, the representative first.

    `cohesion` is the mean cosine (centred) of the others to it; `place` where in the label tree it
    may belong, "" for the root, which got `share` of the evidence (0 where there is none).
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
    """Return groups that may be new kinds, the largest first, at most MAX_GROUPS.

    `known` (n,) is the probability that an item is of a known label; items that a person `settled`
    (n,), or that labelled themselves and so are passed as settled, are in no group.
    """
    lost = np.flatnonzero(~settled & (known < _UNKNOWN))
    peaks = _peaks(neighbour_graph, lost)
    order = np.lexsort((lost, peaks))
    ends = np.flatnonzero(np.diff(peaks[order])) + 1
    found = [part for part in np.split(lost[order], ends) if len(part) >= MIN_ITEMS]
    found.sort(key=lambda part: (-len(part), int(part[0])))
    peak_of = dict(zip(lost.tolist(), peaks.tolist(), strict=True))
    found = found[:MAX_GROUPS]
    ranked = [_ranked(neighbour_graph, part, peak_of[int(part[0])]) for part in found]
    leaning = _leaning(scores, [members for members, _ in ranked])
    return [
        NewCategory(members, cohesion, place, round(share, 3))
        for (members, cohesion), (place, share) in zip(ranked, leaning, strict=True)
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
    bar = MAJORITY * total
    deepest = max((path for path, weight in sums.items() if weight > bar), key=len, default=())
    return LABEL_SEPARATOR.join(deepest), float(sums.get(deepest, total) / total)


def _peaks(neighbour_graph: NeighbourGraph, lost: Places) -> Places:
    """Return the peak (m,) that each of the rising places `lost` leads to, as a place."""
    if len(lost) == 0:
        return lost
    row_of = np.full(len(neighbour_graph), -1)
    row_of[lost] = np.arange(len(lost))
    near = row_of[neighbour_graph.near[lost, :_NEAREST]]
    near_weights = neighbour_graph.near_weights[lost, :_NEAREST]
    within = np.where(near >= 0, near_weights, 0)
    density = within.sum(axis=1)
    rank = np.empty(len(lost), np.int64)
    rank[np.lexsort((lost, -density))] = np.arange(len(lost))
    denser = (near >= 0) & (rank[near] < rank[:, None])
    pull = np.where(denser, within, -1)
    own = np.arange(len(lost))
    if pull.shape[1] == 0:
        return lost
    best = pull.argmax(axis=1)
    parent = np.where(pull[own, best] > 0, near[own, best], own)
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return lost[parent]


def _ranked(neighbour_graph: NeighbourGraph, members: Places, peak: int) -> tuple[Places, float]:
    """Return the first members, the representative first, and how close the others are to it."""
    cosines = neighbour_graph.cosines(members, np.array([peak]))[:, 0]
    order = np.lexsort((members, -cosines, members != peak))[:MAX_ITEMS]
    return members[order], round(float(cosines[order][1:].mean()), 3)


def _leaning(scores: Scores | None, groups: Sequence[Places]) -> list[tuple[str, float]]:
    """Return the place that the members of each group lean to: each has one vote, split by
    evidence.
    """
    if scores is None or not scores.labels or not groups:
        return [("", 0.0)] * len(groups)
    evidence = scores.evidence(np.concatenate(groups)).astype(np.float64)
    votes = evidence / np.maximum(evidence.sum(axis=1, keepdims=True), _TINY)
    ends = np.cumsum([len(members) for members in groups])[:-1]
    return [
        common_place(scores.labels, part.sum(axis=0).tolist()) for part in np.split(votes, ends)
    ]
