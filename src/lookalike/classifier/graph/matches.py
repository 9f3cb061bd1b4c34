"""Lists of neighbours with label codes, and what can be read off them. Pure arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.labels import NO_LABEL

NO_SIMILARITY = np.float32(-2.0)
"""The similarity in an empty place: below every real one."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The nearest references of n documents, all (n, k): `ids` int64, `similarities` float32
    falling, `codes` int32. Ids are opaque here; what is decided on them names them as sources.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]
    codes: NDArray[np.int32]


def with_codes(
    near: NDArray[np.int64],
    similarities: NDArray[np.float32],
    ids: NDArray[np.int64],
    codes: NDArray[np.int32],
) -> Matches:
    """Return lists of neighbours as matches: `ids` (r,) rising have the labels `codes` (r,)."""
    labels = np.full(near.shape, NO_LABEL, np.int32)
    if len(ids):
        place = np.minimum(np.searchsorted(ids, near), len(ids) - 1)
        known = ids[place] == near
        labels[known] = codes[place[known]]
    return Matches(near, similarities, labels)


def shares(similarities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return each match's share of the evidence, float32 (n, k), for lists of similarities."""
    weight = np.exp((similarities - similarities[:, :1]) / np.float32(temperature))
    weight[similarities <= NO_SIMILARITY] = 0
    total = np.maximum(weight.sum(axis=1, keepdims=True), np.float32(1e-12))
    return np.asarray(weight / total, np.float32)


def votes(matches: Matches, temperature: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the label with most evidence in each list (n,), and its share of it (n,).

    A match weighs exp((s − s₁) / temperature), s₁ the nearest's similarity; a tie goes to the
    nearer. Lists without matches give NO_LABEL and 0.
    """
    similarity, codes = matches.similarities, matches.codes
    weight = shares(similarity, temperature)
    evidence = np.zeros_like(weight)
    for place in range(codes.shape[1]):
        evidence[:, place] = (weight * (codes == codes[:, place : place + 1])).sum(axis=1)
    evidence[codes == NO_LABEL] = 0
    place = evidence.argmax(axis=1)[:, None]
    winner = np.take_along_axis(codes, place, axis=1)[:, 0]
    return winner, np.take_along_axis(evidence, place, axis=1)[:, 0]


def rival_similarity(
    matches: Matches, winner: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the best similarity (n,) of another label than `winner`, and that label.

    Where a full list holds no other label, the last similarity bounds the rival's from above, and
    the label is NO_LABEL. Where a list that is not full holds none, there is none: NO_SIMILARITY.
    """
    other = (matches.codes != winner[:, None]) & (matches.codes != NO_LABEL)
    place = other.argmax(axis=1)[:, None]
    some = other.any(axis=1)
    rival = np.take_along_axis(matches.similarities, place, axis=1)[:, 0]
    label = np.take_along_axis(matches.codes, place, axis=1)[:, 0]
    return (
        np.where(some, rival, matches.similarities[:, -1]).astype(np.float32),
        np.where(some, label, NO_LABEL).astype(np.int32),
    )
