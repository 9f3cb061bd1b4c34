"""k-nearest-neighbour lists by cosine of fixed-point vectors: exact or approximate. Pure.

Lists are exact up to EXACT_ITEMS. Beyond, the items are partitioned into √n cells by their nearest
centre (an inverted file), and each item is compared only with the items of its nearest cells. More
than 95 of 100 entries are those of the exact lists, at a small part of the cost
(`benchmarks/neighbour_graph.py` measures it). Fixed-point products are exact, ties
go to the lower place and sampling is seeded: the same vectors give the same lists in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import FixedPoint, Floats, fixed_point_length, to_fixed_point
from lookalike.classifier.graph.search import NO_ID, NO_SIMILARITY, merge, top_k

Places = NDArray[np.int64]
Lists = tuple[Places, Floats]
FindLists = Callable[[FixedPoint, int], Lists]
"""A function that returns what `neighbour_lists` returns, to the last bit, wherever it runs."""

Ranked = NDArray[np.uint64]

EXACT_ITEMS = 50_000
"""Up to this many items all pairs are compared; beyond, that costs several times as much as cells.
"""

KEPT_EVERY = 2_000_000
"""Partial results are saved after this many searches of a row in a cell: about half a minute."""

CELLS_TRIED = 16
"""The number of cells that each row is compared with: more cells find more of the true neighbours.
"""

_FEW_ROWS, _LARGE_CELLS_TRIED = 200_000, 20
_ROUNDS = 3
_SAMPLES_PER_CELL = 20
_ROW_BLOCK = 32_768
_BLOCK_CELLS = 8_000_000
_UNIT = np.float32(2**-24)
_FEW = 64
"""Up to this many candidates of a row are listed; of more, the best are selected first."""

_NOTHING = np.uint64(2**64 - 1)
_ID_BITS = np.uint64(32)
_SIGN = np.uint32(2**31)


class Progress(Protocol):
    """Saves partial results of long work, so that another process can resume it."""

    def kept(self) -> tuple[int, Ranked] | None:
        """Return how many searches were done and what they had found, or None."""

    def keep(self, done: int, found: Ranked) -> None:
        """Save what was found so far."""


def neighbours(queries: FixedPoint, rows: FixedPoint, count: int) -> Lists:
    """Return places in `rows` (m, d) and cosines (n, count) of the nearest of `queries` (n, d).

    The lists are shorter if there are fewer rows than `count`.
    """
    places, everywhere = np.arange(len(rows)), np.full(len(queries), NO_ID)
    return _as_cosines(_among(queries, everywhere, rows, places, count), rows)


def neighbour_lists(
    rows: FixedPoint,
    count: int,
    *,
    exact_items: int = EXACT_ITEMS,
    cells_tried: int | None = None,
    progress: Progress | None = None,
    kept_every: int = KEPT_EVERY,
) -> Lists:
    """Return each row's nearest other rows, approximately if there are more than `exact_items`.

    The lists are shorter if there are not enough other rows. Approximate search saves its
    `progress` after every `kept_every` searches of a row in a cell.
    """
    places = np.arange(len(rows))
    if len(rows) <= exact_items:
        return _as_cosines(_among(rows, places, rows, places, min(count, len(rows) - 1)), rows)
    kept = (progress, kept_every)
    tried = cells_tried or enough_cells(len(rows))
    return _as_cosines(_by_cells(rows, places, rows, count, tried, *kept), rows)


def enough_cells(rows: int) -> int:
    """Return how many cells each row must be compared with to find 95 of 100 true neighbours.

    Measured on a million vectors of 24 hidden dimensions: 16 find 95, 20 find 96, 32 find 98.
    """
    return CELLS_TRIED if rows <= _FEW_ROWS else _LARGE_CELLS_TRIED


def approximate_neighbours(
    queries: FixedPoint, rows: FixedPoint, count: int, *, cells_tried: int
) -> Lists:
    """Return roughly what `neighbours` returns, for many queries and at least `count` rows."""
    nowhere = np.full(len(queries), NO_ID)
    return _as_cosines(_by_cells(queries, nowhere, rows, count, cells_tried), rows)


class Cells:
    """The cells of many rows, to find the neighbours of some of these rows.

    A row's list does not depend on which other rows are searched with it.
    """

    def __init__(self, rows: FixedPoint, cells_tried: int | None = None) -> None:
        self.centres = _centres(rows)
        self.cells_tried = cells_tried or enough_cells(len(rows))

    def tried(self, rows: FixedPoint) -> Places:
        """Return the cells (n, tried) that rows are compared with, their own first."""
        return _nearest_centres(rows, self.centres, self.cells_tried)


def lists_of(some: Places, rows: FixedPoint, count: int, tried: Places | None = None) -> Lists:
    """Return what `neighbour_lists` returns for the rows at places `some`.

    `tried` are the cells of all rows; without it all pairs are compared.
    """
    if tried is None:
        places = np.arange(len(rows))
        found = _among(rows[some], some, rows, places, min(count, len(rows) - 1))
    else:
        found = _in_cells(rows[some], some, tried[some], rows, tried[:, :1], count)
    return _as_cosines(found, rows)


def _by_cells(
    queries: FixedPoint,
    own: Places,
    rows: FixedPoint,
    count: int,
    cells_tried: int,
    progress: Progress | None = None,
    kept_every: int = KEPT_EVERY,
) -> Lists:
    """Return each query's nearest rows among those of its nearest cells, without its `own` row.

    The nearest cell is searched first: then few rows of the other cells enter a list.
    """
    cells = Cells(rows, cells_tried)
    tried = cells.tried(queries)
    own_cells = tried[:, :1] if queries is rows else _nearest_centres(rows, cells.centres, 1)
    return _in_cells(queries, own, tried, rows, own_cells, count, progress, kept_every)


def _in_cells(
    queries: FixedPoint,
    own: Places,
    tried: Places,
    rows: FixedPoint,
    own_cells: Places,
    count: int,
    progress: Progress | None = None,
    kept_every: int = KEPT_EVERY,
) -> Lists:
    """Return each query's nearest rows among those whose own cell is one of the `tried` cells."""
    members = _grouped(own_cells)
    kept = progress.kept() if progress else None
    done, ranked = kept or (0, np.full((len(queries), count), _NOTHING))
    searched = unsaved = 0
    for query_rows, row_places in _searches(tried, members):
        searched += 1
        if searched <= done:
            continue
        _merge_candidates(ranked, query_rows, queries, own, rows, row_places)
        unsaved += len(query_rows)
        if progress and unsaved >= kept_every:
            progress.keep(searched, ranked)
            unsaved = 0
    near, values = _listed(ranked)
    short = np.flatnonzero(near[:, -1] == NO_ID)
    every = np.arange(len(rows))
    near[short], values[short] = _among(queries[short], own[short], rows, every, count)
    return near, values


def _searches(tried: Places, members: dict[int, Places]) -> Iterator[tuple[Places, Places]]:
    """Yield queries with the rows of one cell to compare them with, the nearest cells first, always
    in the same order.
    """
    for cells in (tried[:, :1], tried[:, 1:]):
        for cell, query_rows in _grouped(cells).items():
            if cell in members:
                yield query_rows, members[cell]


def _merge_candidates(
    ranked: Ranked,
    query_rows: Places,
    queries: FixedPoint,
    own: Places,
    rows: FixedPoint,
    row_places: Places,
) -> None:
    """Merge the rows at sorted places `row_places` into the lists of the queries `query_rows`.

    A row as near as the last entry of a list is a candidate, too: the lower place wins the tie.
    """
    wide, count = rows[row_places].astype(np.float32) * _UNIT, ranked.shape[1]
    for block in _blocks(len(query_rows), len(row_places)):
        who = query_rows[block]
        table = _compared(queries[who], own[who], wide, row_places)
        lists = ranked[who]
        found = table >= _values(lists[:, -1:])
        counts = np.count_nonzero(found, axis=1)
        many, few = np.flatnonzero(counts > _FEW), np.flatnonzero((counts > 0) & (counts <= _FEW))
        for some, more in (
            (many, _ranked(*top_k(table[many], row_places, count))),
            (few, _candidates(table[few], found[few], counts[few], row_places)),
        ):
            lists[some] = np.sort(np.concatenate([lists[some], more], axis=1), axis=1)[:, :count]
        ranked[who] = lists


def _candidates(table: Floats, found: NDArray[np.bool_], counts: Places, places: Places) -> Ranked:
    """Return the entries marked `found` in each row of `table` (m, rows), padded with _NOTHING."""
    more = np.full((len(table), int(counts.max(initial=0))), _NOTHING)
    row, column = np.nonzero(found)
    at = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    more[row, at] = _ranked(places[column], table[row, column])
    return more


def _ranked(places: Places, values: Floats) -> Ranked:
    """Return places and values packed into numbers that sort by descending value, then by ascending
    place. NO_ID sorts last.
    """
    bits = (values + np.float32(0)).view(np.uint32)
    descending = np.where(bits & _SIGN, bits, ~(bits | _SIGN))
    ranked = (descending.astype(np.uint64) << _ID_BITS) | places.astype(np.uint32)
    return np.where(places == NO_ID, _NOTHING, ranked)


def _values(ranked: Ranked) -> Floats:
    """Return the values in ranked lists; NO_SIMILARITY in empty places."""
    descending = (ranked >> _ID_BITS).astype(np.uint32)
    bits = np.where(descending & _SIGN, descending, ~descending & ~_SIGN)
    return np.where(ranked == _NOTHING, NO_SIMILARITY, bits.view(np.float32))


def _listed(ranked: Ranked) -> Lists:
    places = (ranked & np.uint64(2**32 - 1)).astype(np.int64)
    return np.where(ranked == _NOTHING, NO_ID, places), _values(ranked)


def _grouped(cells: Places) -> dict[int, Places]:
    """Return, for each cell, the sorted rows of `cells` (n, k) that contain it."""
    flat = cells.ravel()
    order = np.argsort(flat, kind="stable")
    used, starts = np.unique(flat[order], return_index=True)
    return dict(zip(used.tolist(), np.split(order // cells.shape[1], starts[1:]), strict=True))


def _centres(rows: FixedPoint) -> FixedPoint:
    """Return the centres (√n, d) of cells: spherical k-means on a sample of the rows."""
    rng = np.random.default_rng(0)
    cells = int(len(rows) ** 0.5)
    sample = rows[np.sort(rng.choice(len(rows), min(_SAMPLES_PER_CELL * cells, len(rows)), False))]
    centres = sample[np.sort(rng.choice(len(sample), cells, replace=False))]
    for _ in range(_ROUNDS):
        for cell, row_places in _grouped(_nearest_centres(sample, centres, 1)).items():
            centres[cell] = to_fixed_point(sample[row_places].sum(axis=0, dtype=np.float32)[None])[
                0
            ]
    return centres


def _nearest_centres(rows: FixedPoint, centres: FixedPoint, count: int) -> Places:
    """Return the cells (n, count) whose centres are nearest to each row, the nearest first."""
    return _among(rows, np.full(len(rows), NO_ID), centres, np.arange(len(centres)), count)[0]


def _among(queries: FixedPoint, own: Places, rows: FixedPoint, places: Places, count: int) -> Lists:
    """Return the nearest of `rows`, which are at sorted `places`, without the one at place `own`.

    The values are inner products times 2^-24.
    """
    count = max(min(count, len(rows)), 0)
    near = np.full((len(queries), count), NO_ID, np.int64)
    values = np.full((len(queries), count), NO_SIMILARITY, np.float32)
    for start in range(0, len(rows) if count else 0, _ROW_BLOCK):
        here = places[start : start + _ROW_BLOCK]
        wide = rows[start : start + _ROW_BLOCK].astype(np.float32) * _UNIT
        for block in _blocks(len(queries), len(here)):
            table = _compared(queries[block], own[block], wide, here)
            best = top_k(table, here, count)
            near[block], values[block] = (
                best if start == 0 else merge(near[block], values[block], *best)
            )
    return near, values


def _compared(queries: FixedPoint, own: Places, wide: Floats, places: Places) -> Floats:
    """Return the products (n, m) of queries with rows at sorted `places`; NO_SIMILARITY at place
    `own`.
    """
    table = queries.astype(np.float32) @ wide.T
    self = np.minimum(np.searchsorted(places, own), len(places) - 1)
    hit = np.flatnonzero(places[self] == own)
    table[hit, self[hit]] = NO_SIMILARITY
    return np.asarray(table)


def _as_cosines(lists: Lists, rows: FixedPoint) -> Lists:
    near, values = lists
    return near, values * np.float32(1 / (float(_UNIT) * fixed_point_length(rows.shape[1]) ** 2))


def _blocks(queries: int, rows: int) -> Iterator[slice]:
    step = max(1, _BLOCK_CELLS // max(rows, 1))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))
