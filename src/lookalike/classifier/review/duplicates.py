"""Near-duplicates among references: redundant with one label, a conflict with several. Pure.

A **near-duplicate** is so similar that hardly any random pair is; see `duplicate_bound`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.matches import Matches
from lookalike.classifier.graph.search import similarities
from lookalike.labels import NO_LABEL

_LEAST_QUANTILE = 0.999
_CHANCE_NEIGHBOURS = 0.1
IDENTICAL = 0.999
"""From this similarity on two documents are the same but for rounding, in every space."""

_SAMPLE = 2000
_NO_CODE = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """References that are near-duplicates, each of at least one other; `labels` are theirs."""

    references: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def conflict(self) -> bool:
        """Return whether they contradict each other; if not, all but one are redundant."""
        return len(set(self.labels)) > 1


def duplicate_bound(vectors: NDArray[np.floating], references: int, seed: int = 0) -> float:
    """Return the similarity from which two documents are near-duplicates.

    It is the quantile of random pairs of `vectors` (n, d) above which a random document has a tenth
    of one of the `references` on average, and never below the 99.9 % one: so the share of what is
    taken for a duplicate by chance does not grow with the references. What is identical up to
    rounding always is one; where there are too few pairs to know the quantile, only that is.
    """
    quantile = max(_LEAST_QUANTILE, 1 - _CHANCE_NEIGHBOURS / max(references, 1))
    count = min(len(vectors), _SAMPLE)
    if count * (count - 1) / 2 * (1 - quantile) < 1:
        return IDENTICAL
    chosen = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    sample = vectors[np.sort(chosen)]
    pairs = similarities(sample, sample)[np.triu_indices(count, 1)]
    return min(float(np.quantile(pairs, quantile)), IDENTICAL)


def duplicates(
    ids: NDArray[np.int64], codes: NDArray[np.integer], matches: Matches, bound: float
) -> list[DuplicateGroup]:
    """Return the groups of near-duplicate references, conflicts first.

    `ids` (r,) rise, `codes` (r,) are their labels; `matches` (r, k) each one's nearest references
    without itself.
    """
    rows, places = np.nonzero(near_duplicates(matches, bound))
    others = np.searchsorted(ids, matches.ids[rows, places])
    group = _connected(len(ids), rows, others)
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    found = [
        DuplicateGroup(tuple(ids[members].tolist()), tuple(codes[members].tolist()))
        for members in np.split(order, cuts)
        if len(members) > 1
    ]
    return sorted(found, key=lambda one: (not one.conflict, one.references))


def conflicting(matches: Matches, bound: float) -> NDArray[np.bool_]:
    """Return of which documents (n,) the near-duplicate references contradict each other.

    `matches` (n, k) are their nearest references.
    """
    near = near_duplicates(matches, bound)
    lowest = np.where(near, matches.codes, _NO_CODE).min(axis=1, initial=_NO_CODE)
    highest = np.where(near, matches.codes, NO_LABEL).max(axis=1, initial=NO_LABEL)
    return np.asarray(highest > lowest)


def with_copies(similarities: NDArray[np.float32], bound: float) -> NDArray[np.int64]:
    """Return the places of lists, falling (n, k), with two near-duplicates or more: few to look at.

    Without two there is nothing to contradict.
    """
    return np.flatnonzero(similarities[:, :2].min(axis=1) >= np.float32(bound))


def near_duplicates(matches: Matches, bound: float) -> NDArray[np.bool_]:
    """Return which matches (n, k) are near-duplicates of the document whose list they are in."""
    alike = matches.similarities >= np.float32(bound)
    return np.asarray(alike & (matches.codes != NO_LABEL))


def _connected(count: int, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `count` nodes the lowest that it is joined to by edges (rows, others)."""
    group = np.arange(count)
    while True:
        least = np.minimum(group[rows], group[others])
        lower = group.copy()
        np.minimum.at(lower, rows, least)
        np.minimum.at(lower, others, least)
        lower = lower[lower]
        if np.array_equal(lower, group):
            return group
        group = lower
