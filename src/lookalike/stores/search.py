"""Exact search over arrays of vectors. Pure: no files, no engine.

A **similarity** is the dot product of two stored unit vectors (float16), summed in double precision
and rounded to float32. Products of float16 are exact in double precision and a sum of a few
thousand of them errs by less than 1e-13, so the rounded value is the same whichever route computed
it, and an incremental update equals a full recompute.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lookalike.matches import NO_SIMILARITY

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

NOBODY = -1
"""The id in an empty place of a neighbour list."""

_BLOCK_ROWS = 4096
_BLOCK_CELLS = 8_000_000


def similarities(queries: NDArray[np.floating], rows: NDArray[np.floating]) -> Floats:
    """Return the similarities of `queries` (n, d) and `rows` (m, d) as float32 (n, m)."""
    product = np.asarray(queries, np.float64) @ np.asarray(rows, np.float64).T
    return product.astype(np.float32)


def top_k(similarity: Floats, ids: Ids, k: int) -> tuple[Ids, Floats]:
    """Return the ids and similarities (n, k) of the k largest in each row of `similarity` (n, m).

    `ids` (m,) ascend, one a column. Ties go to the lower id, so the answer is unique. Places that
    cannot be filled hold NOBODY and NO_SIMILARITY.
    """
    n, m = similarity.shape
    if m <= k:
        order = np.argsort(-similarity, axis=1, kind="stable")
    else:
        order = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order.sort(axis=1)
        values = np.take_along_axis(similarity, order, axis=1)
        order = np.take_along_axis(order, np.argsort(-values, axis=1, kind="stable"), axis=1)
        kth = np.take_along_axis(similarity, order[:, -1:], axis=1)
        tied = np.flatnonzero((similarity >= kth).sum(axis=1) > k)
        if len(tied):
            order[tied] = np.argsort(-similarity[tied], axis=1, kind="stable")[:, :k]
    near = np.full((n, k), NOBODY, np.int64)
    near_similarities = np.full((n, k), NO_SIMILARITY, np.float32)
    near[:, : order.shape[1]] = ids[order]
    values = np.take_along_axis(similarity, order, axis=1)
    near_similarities[:, : order.shape[1]] = values
    near[near_similarities <= NO_SIMILARITY] = NOBODY
    return near, near_similarities


def merge(
    near: Ids, near_similarities: Floats, more: Ids, more_similarities: Floats
) -> tuple[Ids, Floats]:
    """Return the k best of two lists a row: (n, k) and (n, m), no id in both.

    The order is that of `top_k`: by falling similarity, then by rising id.
    """
    all_ids = np.concatenate([near, more], axis=1)
    values = np.concatenate([near_similarities, more_similarities], axis=1)
    ranked_ids = np.where(all_ids == NOBODY, np.iinfo(np.int64).max, all_ids)
    order = np.lexsort((ranked_ids, -values), axis=1)[:, : near.shape[1]]
    return np.take_along_axis(all_ids, order, axis=1), np.take_along_axis(values, order, axis=1)


def nearest(
    queries: NDArray[np.floating],
    rows: NDArray[np.floating],
    ids: Ids,
    k: int,
    *,
    query_ids: Ids | None = None,
) -> tuple[Ids, Floats]:
    """Return the k nearest of `rows` (m, d; `ids` ascending) for each of `queries` (n, d).

    With `query_ids` (n,) a row whose id equals the query's is not its own neighbour.
    """
    if len(rows) == 0 or len(queries) == 0:
        shape = (len(queries), k)
        return np.full(shape, NOBODY, np.int64), np.full(shape, NO_SIMILARITY, np.float32)
    wide = np.asarray(rows, np.float64)
    parts = []
    for block in _blocks(len(queries), len(rows)):
        similarity = similarities(queries[block], wide)
        if query_ids is not None:
            _hide_self(similarity, query_ids[block], ids)
        parts.append(top_k(similarity, ids, k))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _blocks(queries: int, rows: int) -> Iterator[slice]:
    step = max(1, min(_BLOCK_ROWS, _BLOCK_CELLS // max(rows, 1)))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))


def _hide_self(similarity: Floats, query_ids: Ids, ids: Ids) -> None:
    column = np.searchsorted(ids, query_ids)
    column[column == len(ids)] = 0
    same = np.flatnonzero(ids[column] == query_ids)
    similarity[same, column[same]] = NO_SIMILARITY
