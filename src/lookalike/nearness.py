"""The nearest items of items, by cosine of vectors on the grid. Pure.

Lists are exact up to EXACT_ITEMS. Beyond, the items are parted into cells around centres, a few
times over from different draws, and an item is compared with those of the cells nearest to its
own: more than 95 of 100 entries are those of the exact lists (`benchmarks/landscape.py` measures
it), for a tenth of the work. Products on the grid are exact, ties go to the lower place and the
draws are seeded: the same vectors give the same lists in every process.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lookalike.grid import Floats, Grid, grid_length, on_grid
from lookalike.matches import NO_SIMILARITY
from lookalike.stores.search import NOBODY, merge, top_k

Places = NDArray[np.int64]
Lists = tuple[Places, Floats]

EXACT_ITEMS = 50_000
"""Up to so many items all pairs are compared; beyond, that costs several times what cells do."""

_PARTINGS = 4
_CELLS_TRIED = 8
_ROUNDS = 3
_DRAWN_EACH = 20
_ROW_BLOCK = 32_768
_BLOCK_CELLS = 8_000_000
_UNIT = np.float32(2**-24)


def neighbours(queries: Grid, rows: Grid, count: int) -> Lists:
    """Return places in `rows` (m, d) and cosines (n, count) of the nearest of `queries` (n, d).

    Where there are fewer rows than `count` the lists are shorter.
    """
    places, everywhere = np.arange(len(rows)), np.full(len(queries), NOBODY)
    return _as_cosines(_among(queries, everywhere, rows, places, count), rows)


def neighbour_lists(rows: Grid, count: int, *, exact_items: int = EXACT_ITEMS) -> Lists:
    """Return each row's nearest other rows, approximately where they are more than `exact_items`.

    Where there are not enough others the lists are shorter.
    """
    places = np.arange(len(rows))
    if len(rows) <= exact_items:
        return _as_cosines(_among(rows, places, rows, places, min(count, len(rows) - 1)), rows)
    lists = lists_by_cells(rows, count, 0)
    for seed in range(1, _PARTINGS):
        lists = _united(lists, lists_by_cells(rows, count, seed))
    return _as_cosines(lists, rows)


def lists_by_cells(rows: Grid, count: int, seed: int) -> Lists:
    """Return each row's nearest among the rows of the cells nearest to its own, in one parting."""
    centres, own = _parted(rows, seed)
    order = np.argsort(own, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(own, minlength=len(centres)))[:-1])
    sizes = np.array([len(part) for part in members])
    near = np.empty((len(rows), count), np.int64)
    values = np.empty((len(rows), count), np.float32)
    similarity = _table(centres, centres)
    for cell, inside in enumerate(members):
        ranked = np.argsort(-similarity[cell], kind="stable")
        enough = np.searchsorted(np.cumsum(sizes[ranked]), count + 1) + 1
        tried = ranked[: max(_CELLS_TRIED, int(enough))]
        places = np.sort(np.concatenate([members[other] for other in tried.tolist()]))
        near[inside], values[inside] = _among(rows[inside], inside, rows[places], places, count)
    return near, values


def _parted(rows: Grid, seed: int) -> tuple[Grid, Places]:
    """Return centres of cells (√n, d) and which one each row is nearest to, by k-means."""
    chance = np.random.default_rng(seed)
    cells = int(len(rows) ** 0.5)
    drawn = rows[np.sort(chance.choice(len(rows), min(_DRAWN_EACH * cells, len(rows)), False))]
    centres = drawn[np.sort(chance.choice(len(drawn), cells, replace=False))]
    for _ in range(_ROUNDS):
        own = _nearest_centre(drawn, centres)
        order = np.argsort(own, kind="stable")
        used, starts = np.unique(own[order], return_index=True)
        sums = np.add.reduceat(drawn[order].astype(np.float64), starts, axis=0)
        centres[used] = on_grid(sums.astype(np.float32))
    return centres, _nearest_centre(rows, centres)


def _nearest_centre(rows: Grid, centres: Grid) -> Places:
    own = np.empty(len(rows), np.int64)
    for block in _blocks(len(rows), len(centres)):
        own[block] = _table(rows[block], centres).argmax(axis=1)
    return own


def _among(queries: Grid, own: Places, rows: Grid, places: Places, count: int) -> Lists:
    """Return the nearest of `rows`, which are at rising `places`, but not the one at `own`.

    The values are inner products times 2^-24.
    """
    count = max(min(count, len(rows)), 0)
    near = np.full((len(queries), count), NOBODY, np.int64)
    values = np.full((len(queries), count), NO_SIMILARITY, np.float32)
    for start in range(0, len(rows) if count else 0, _ROW_BLOCK):
        here = places[start : start + _ROW_BLOCK]
        wide = rows[start : start + _ROW_BLOCK].astype(np.float32) * _UNIT
        for block in _blocks(len(queries), len(here)):
            table = queries[block].astype(np.float32) @ wide.T
            self = np.minimum(np.searchsorted(here, own[block]), len(here) - 1)
            hit = np.flatnonzero(here[self] == own[block])
            table[hit, self[hit]] = NO_SIMILARITY
            best = top_k(table, here, count)
            near[block], values[block] = (
                best if start == 0 else merge(near[block], values[block], *best)
            )
    return near, values


def _united(lists: Lists, others: Lists) -> Lists:
    """Return the best of two lists a row, each place once."""
    near, values = np.hstack([lists[0], others[0]]), np.hstack([lists[1], others[1]])
    order = np.lexsort((near, -values), axis=1)
    near, values = (
        np.take_along_axis(near, order, axis=1),
        np.take_along_axis(values, order, axis=1),
    )
    again = np.zeros(near.shape, bool)
    again[:, 1:] = near[:, 1:] == near[:, :-1]
    order = np.argsort(again, axis=1, kind="stable")[:, : lists[0].shape[1]]
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(values, order, axis=1)


def _as_cosines(lists: Lists, rows: Grid) -> Lists:
    near, values = lists
    return near, values * np.float32(1 / (float(_UNIT) * grid_length(rows.shape[1]) ** 2))


def _table(rows: Grid, others: Grid) -> Floats:
    return rows.astype(np.float32) @ (others.astype(np.float32) * _UNIT).T


def _blocks(queries: int, rows: int) -> Iterator[slice]:
    step = max(1, _BLOCK_CELLS // max(rows, 1))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))
