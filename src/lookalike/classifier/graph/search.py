"""Exact k-nearest-neighbour search over arrays of vectors. Pure: no files, no engine.

A **similarity** is the dot product of two stored unit vectors (float16), summed in double precision
and rounded to float32. Products of float16 are exact in double precision, and a sum of a few
thousand of them errs by less than 1e-13. So the rounded value does not depend on the order of
summation, and an incremental update equals a full recompute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.labels import NO_LABEL

# --- neighbour lists with label codes ------------------------------------------------------------

NO_SIMILARITY = np.float32(-2.0)
"""The similarity in an empty place of a list: below every real one."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The nearest references of n documents, all (n, k): `ids` int64, `similarities` float32
    descending, `codes` int32. Ids are opaque here; decisions name them as sources. `weights`
    float32, if there are any, multiply the votes.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]
    codes: NDArray[np.int32]
    weights: NDArray[np.float32] | None = None


def with_codes(
    near: NDArray[np.int64],
    similarities: NDArray[np.float32],
    ids: NDArray[np.int64],
    codes: NDArray[np.int32],
) -> Matches:
    """Return neighbour lists as matches: the sorted `ids` (r,) have the labels `codes` (r,)."""
    labels = np.full(near.shape, NO_LABEL, np.int32)
    if len(ids):
        place = np.minimum(np.searchsorted(ids, near), len(ids) - 1)
        known = ids[place] == near
        labels[known] = codes[place[known]]
    return Matches(near, similarities, labels)


def shares(
    similarities: NDArray[np.float32],
    temperature: float,
    weights: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return each match's share of the evidence, float32 (n, k), for lists of similarities."""
    weight = np.exp((similarities - similarities[:, :1]) / np.float32(temperature))
    if weights is not None:
        weight *= weights
    weight[similarities <= NO_SIMILARITY] = 0
    total = np.maximum(weight.sum(axis=1, keepdims=True), np.float32(1e-12))
    return np.asarray(weight / total, np.float32)


def votes(matches: Matches, temperature: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the label with most evidence in each list (n,), and its share of the evidence (n,).

    A match has the weight exp((s − s₁) / temperature), s₁ the similarity of the nearest, times its
    own weight if it has one; a tie goes to the nearer. Lists without matches give NO_LABEL and 0.
    """
    codes = matches.codes
    weight = shares(matches.similarities, temperature, matches.weights)
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
    """Return the best similarity (n,) of any label other than `winner`, and that label.

    If a full list holds no other label, return its last similarity, an upper bound, and NO_LABEL.
    If a list that is not full holds none, there is none: NO_SIMILARITY.
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


# -------------------------------------------------------------------------------------------------

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

NO_ID = -1
"""The id in an empty place of a neighbour list."""

_BLOCK_ROWS = 4096
_BLOCK_CELLS = 8_000_000
_GROUPS_EACH = 4
_NONE = np.float32(0)
_SCREEN_FROM, _SCREEN_ROWS = 64, 512
"""With at least this many queries and rows, a first product in single precision pays."""
_PAIRS = 384
"""This many pairs of vectors in double precision fit into a core's cache."""


def similarities(queries: NDArray[np.floating], rows: NDArray[np.floating]) -> Floats:
    """Return the similarities of `queries` (n, d) and `rows` (m, d) as float32 (n, m)."""
    product = np.asarray(queries, np.float64) @ np.asarray(rows, np.float64).T
    return product.astype(np.float32)


def top_k(similarity: Floats, ids: Ids, k: int) -> tuple[Ids, Floats]:
    """Return the ids and similarities (n, k) of the k largest in each row of `similarity` (n, m).

    `ids` (m,) are sorted, one per column. Ties go to the lower id, so the result is unique. Places
    that cannot be filled hold NO_ID and NO_SIMILARITY.
    """
    n, m = similarity.shape
    if n and m > _GROUPS_EACH * k:
        return _listed(*_candidates_above(similarity, k), ids, k)
    return _listed(np.broadcast_to(np.arange(m), (n, m)), similarity, ids, k)


def _listed(columns: Ids, values: Floats, ids: Ids, k: int) -> tuple[Ids, Floats]:
    """Return the ids and similarities (n, k) of the best `values` (n, m) in sorted `columns`."""
    n = len(values)
    best = np.argsort(-values, axis=1, kind="stable")[:, :k]
    near = np.full((n, k), NO_ID, np.int64)
    near_similarities = np.full((n, k), NO_SIMILARITY, np.float32)
    near[:, : best.shape[1]] = ids[np.take_along_axis(columns, best, axis=1)]
    near_similarities[:, : best.shape[1]] = np.take_along_axis(values, best, axis=1)
    near[near_similarities <= NO_SIMILARITY] = NO_ID
    return near, near_similarities


def _candidates_above(similarity: Floats, k: int, margin: np.float32 = _NONE) -> tuple[Ids, Floats]:
    """Return, for each row, sorted columns and values that include its k best.

    They include all values within `margin` of the k-th best. The k-th largest of the maxima of
    groups of columns is a lower bound of the k-th best, and few values exceed it. Shorter rows are
    padded with −inf.
    """
    n, m = similarity.shape
    groups = _GROUPS_EACH * k
    even = similarity[:, : m - m % groups].reshape(n, m // groups, groups)
    bound = np.partition(even.max(axis=1), groups - k, axis=1)[:, groups - k]
    found = np.flatnonzero(similarity >= (bound - margin)[:, None])
    rows = found // m
    counts = np.bincount(rows, minlength=n)
    places = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = np.zeros((n, int(counts.max())), np.int64)
    values = np.full(columns.shape, -np.inf, np.float32)
    columns[rows, places] = found % m
    values[rows, places] = similarity.ravel()[found]
    return columns, values


def merge(
    near: Ids, near_similarities: Floats, more: Ids, more_similarities: Floats
) -> tuple[Ids, Floats]:
    """Return the k best of two lists per row: (n, k) and (n, m), no id in both.

    The order is that of `top_k`: by descending similarity, then by ascending id.
    """
    all_ids = np.concatenate([near, more], axis=1)
    values = np.concatenate([near_similarities, more_similarities], axis=1)
    ranked_ids = np.where(all_ids == NO_ID, np.iinfo(np.int64).max, all_ids)
    order = np.lexsort((ranked_ids, -values), axis=1)[:, : near.shape[1]]
    return np.take_along_axis(all_ids, order, axis=1), np.take_along_axis(values, order, axis=1)


def nearest(
    queries: NDArray[np.floating],
    rows: NDArray[np.floating],
    ids: Ids,
    k: int,
    *,
    query_ids: Ids | None = None,
    hidden: NDArray[np.bool_] | None = None,
) -> tuple[Ids, Floats]:
    """Return the k nearest of `rows` (m, d; sorted `ids`) for each of `queries` (n, d).

    With `query_ids` (n,) a row whose id equals the query's is not its own neighbour. With `hidden`
    (n, m) the marked rows are excluded.
    """
    if len(rows) == 0 or len(queries) == 0:
        shape = (len(queries), k)
        return np.full(shape, NO_ID, np.int64), np.full(shape, NO_SIMILARITY, np.float32)

    def seen(similarity: Floats, block: slice) -> Floats:
        if query_ids is not None:
            _hide_self(similarity, query_ids[block], ids)
        if hidden is not None:
            similarity[hidden[block]] = NO_SIMILARITY
        return similarity

    screened = len(queries) >= _SCREEN_FROM and len(rows) >= _SCREEN_ROWS
    wide: NDArray[np.floating] = np.asarray(rows, np.float32 if screened else np.float64)
    error = 2 * _roundoff(rows.shape[1]) * _longest(wide) if screened else 0.0
    parts = []
    for block in _blocks(len(queries), len(rows)):
        if screened:
            narrow = np.asarray(queries[block], np.float32)
            product = seen(narrow @ wide.T, block)
            columns, values = _candidates(product, k, np.float32(error * _longest(narrow)))
            if columns.shape[1] <= _GROUPS_EACH * k:
                exact = _pair_similarities(queries[block], wide, columns)
                np.copyto(exact, values, where=values <= NO_SIMILARITY)
                parts.append(_listed(columns, exact, ids, k))
                continue
        parts.append(top_k(seen(similarities(queries[block], wide), block), ids, k))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _roundoff(dimension: int) -> float:
    """Return the largest error of a single-precision product of vectors of length 1.

    γ = du / (1 − du) with u = 2⁻²⁴ bounds it (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, §3.1); a little more covers the rounding of the vectors and the result.
    """
    return 1.01 * (dimension + 4) * 2.0**-24


def _longest(vectors: Floats) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max()))


def _candidates(rough: Floats, k: int, margin: np.float32) -> tuple[Ids, Floats]:
    """Return, for each row, sorted columns and values: all within `margin` of its k-th best.

    Shorter rows are padded with −inf.
    """
    columns, values = _candidates_above(rough, k, margin)
    last = values.shape[1] - k
    values[values < (np.partition(values, last, axis=1)[:, last] - margin)[:, None]] = -np.inf
    none = np.isneginf(values)
    first = np.argsort(none, axis=1, kind="stable")[:, : int((~none).sum(axis=1).max())]
    return np.take_along_axis(columns, first, axis=1), np.take_along_axis(values, first, axis=1)


def _pair_similarities(
    queries: NDArray[np.floating], rows: NDArray[np.floating], columns: Ids
) -> Floats:
    """Return the similarities (n, w) of `queries` (n, d) and rows at each query's `columns`."""
    found = np.empty(columns.shape, np.float32)
    step = max(1, _PAIRS // columns.shape[1])
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        wide = np.asarray(queries[part], np.float64)
        others = np.asarray(rows[columns[part]], np.float64)
        found[part] = np.matmul(others, wide[:, :, None])[:, :, 0]
    return found


def _blocks(queries: int, rows: int) -> Iterator[slice]:
    step = max(1, min(_BLOCK_ROWS, _BLOCK_CELLS // max(rows, 1)))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))


def _hide_self(similarity: Floats, query_ids: Ids, ids: Ids) -> None:
    column = np.searchsorted(ids, query_ids)
    column[column == len(ids)] = 0
    same = np.flatnonzero(ids[column] == query_ids)
    similarity[same, column[same]] = NO_SIMILARITY


# --- references as arrays ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReferenceArrays:
    """References: `pks` int64 (r,) sorted, label `codes` int32 (r,), `vectors` float16 (r, d).

    `weights` float32 (r,) multiply their votes; None if all count alike, as in a collection.
    """

    pks: Ids
    codes: NDArray[np.int32]
    vectors: NDArray[np.float16]
    weights: NDArray[np.float32] | None = None

    @staticmethod
    def none(dimension: int) -> ReferenceArrays:
        """Return an empty set of references."""
        vectors = np.empty((0, dimension), np.float16)
        return ReferenceArrays(np.empty(0, np.int64), np.empty(0, np.int32), vectors)

    def __len__(self) -> int:
        return len(self.pks)

    def vectors_of(self, pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of some of these references, in the order given."""
        return self.vectors[np.searchsorted(self.pks, pks)]

    def matches(self, near: Ids, similarities: Floats) -> Matches:
        """Return lists of reference pks as matches with label codes, and weights if any."""
        found = with_codes(near, similarities, self.pks, self.codes)
        if self.weights is None:
            return found
        places = np.minimum(np.searchsorted(self.pks, near), len(self.pks) - 1)
        return replace(found, weights=self.weights[places])

    def without(self, pks: Ids) -> ReferenceArrays:
        """Return the references that are not among `pks`."""
        kept = ~np.isin(self.pks, pks)
        weights = None if self.weights is None else self.weights[kept]
        return ReferenceArrays(self.pks[kept], self.codes[kept], self.vectors[kept], weights)

    def joined(self, more: ReferenceArrays) -> ReferenceArrays:
        """Return these references and `more`, none of which is here; both without weights."""
        pks = np.concatenate([self.pks, more.pks])
        order = np.argsort(pks)
        codes = np.concatenate([self.codes, more.codes])
        return ReferenceArrays(
            pks[order], codes[order], np.concatenate([self.vectors, more.vectors])[order]
        )
