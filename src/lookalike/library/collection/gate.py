"""Which of the documents that labelled themselves may vote, and why the others may not. Pure.

What labelled itself would teach the rule its own mistakes. So the gate lets through only what is
surer than labelling asks for, says something new, contradicts nobody, and does not outnumber what
people said. What has passed votes, but should not calibrate: it was chosen for being easy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.matches import Matches
from lookalike.classifier.graph.search import similarities
from lookalike.classifier.review.duplicates import near_duplicates

BAR = 0.99
"""The confidence that promotion asks for by default."""

CAP = 1.0
"""How many promoted references a label may have for each of people's, by default."""


class Hold(StrEnum):
    """Why a document is not promoted."""

    CONFLICT = "conflict"
    UNSURE = "unsure"
    DUPLICATE = "duplicate"
    ENOUGH = "enough"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Documents that labelled themselves, all (m,) but for `vectors` float16 (m, d).

    `ids` int64, `codes` their labels, `confidence` and `margin` of the decisions, `matches` (m, k)
    their nearest references.
    """

    ids: NDArray[np.int64]
    codes: NDArray[np.integer]
    confidence: NDArray[np.floating]
    margin: NDArray[np.floating]
    vectors: NDArray[np.float16]
    matches: Matches


def gate(
    candidates: Candidates,
    peoples: NDArray[np.integer],
    promoted: NDArray[np.integer],
    *,
    bound: float,
    bar: float = BAR,
    cap: float = CAP,
) -> list[Hold | None]:
    """Return for each candidate why it may not be promoted, None where it may.

    `peoples` and `promoted` count by code the references that people gave and those promoted
    before; `bound` is that of `duplicate_bound`. The surest candidates come first: a later one that
    is a near-duplicate of one let through is held, too.
    """
    holds: list[Hold | None] = [None] * len(candidates.ids)
    near = near_duplicates(candidates.matches, bound)
    other = candidates.matches.codes != candidates.codes[:, None]
    conflict = np.asarray((near & other).any(axis=1))
    known = np.asarray(near.any(axis=1))
    room = np.floor(cap * peoples) - promoted
    wide = candidates.vectors.astype(np.float64)
    chosen: list[int] = []
    for place in _surest_first(candidates):
        if conflict[place]:
            holds[place] = Hold.CONFLICT
        elif candidates.confidence[place] < bar:
            holds[place] = Hold.UNSURE
        elif known[place]:
            holds[place] = Hold.DUPLICATE
        elif room[candidates.codes[place]] < 1:
            holds[place] = Hold.ENOUGH
        elif twins := _twins(wide, place, chosen, bound):
            agree = {candidates.codes[twin] for twin in twins} == {candidates.codes[place]}
            holds[place] = Hold.DUPLICATE if agree else Hold.CONFLICT
        else:
            room[candidates.codes[place]] -= 1
            chosen.append(place)
    return holds


def _surest_first(candidates: Candidates) -> list[int]:
    order = np.lexsort((candidates.ids, -candidates.margin, -candidates.confidence))
    return [int(place) for place in order]


def _twins(vectors: NDArray[np.float64], place: int, chosen: list[int], bound: float) -> list[int]:
    """Return those of the `chosen` that are near-duplicates of the candidate at `place`."""
    if not chosen:
        return []
    similarity = similarities(vectors[place : place + 1], vectors[chosen])[0]
    return [chosen[twin] for twin in np.flatnonzero(similarity >= np.float32(bound))]
