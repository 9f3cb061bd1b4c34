"""The nearest items of items, by cosine of vectors on the grid. Pure.

Lists are exact up to EXACT_ITEMS. Beyond, the items are parted into √n cells around centres, and an
item is compared with those of the cells whose centres are nearest to it: more than 95 of 100
entries are those of the exact lists (`benchmarks/landscape.py` measures it), for a small part of
the work. Products on the grid are exact, ties go to the lower place and the draws are seeded: the
same vectors give the same lists in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import Floats, Grid, grid_length, on_grid
from lookalike.classifier.graph.search import NO_SIMILARITY, NOBODY, merge, top_k

Places = NDArray[np.int64]
Lists = tuple[Places, Floats]
FindLists = Callable[[Grid, int], Lists]
"""What finds what `neighbour_lists` finds: the same to the last bit, wherever it is done."""

Ranked = NDArray[np.uint64]

EXACT_ITEMS = 50_000
"""Up to so many items all pairs are compared; beyond, that costs several times what cells do."""

KEPT_EVERY = 2_000_000
"""After so many searches of a row in a cell, what was found so far is kept: half a minute."""

CELLS_TRIED = 16
"""The cells of a row that it is compared with: more find more of the true neighbours."""

_FEW_ROWS, _LARGE_CELLS_TRIED = 200_000, 20
_ROUNDS = 3
_DRAWN_EACH = 20
_ROW_BLOCK = 32_768
_BLOCK_CELLS = 8_000_000
_UNIT = np.float32(2**-24)
_FEW = 64
"""Candidates of a row that are worth listing; of more, the best are chosen first."""

_NOTHING = np.uint64(2**64 - 1)
_ID_BITS = np.uint64(32)
_SIGN = np.uint32(2**31)


class Progress(Protocol):
    """Keeps how far long work has come, so that another process goes on from there."""

    def kept(self) -> tuple[int, Ranked] | None:
        """Return how much was done and what had been found, or None."""

    def keep(self, done: int, found: Ranked) -> None:
        """Keep what was found so far."""


def neighbours(queries: Grid, rows: Grid, count: int) -> Lists:
    """Return places in `rows` (m, d) and cosines (n, count) of the nearest of `queries` (n, d).

    Where there are fewer rows than `count` the lists are shorter.
    """
    places, everywhere = np.arange(len(rows)), np.full(len(queries), NOBODY)
    return _as_cosines(_among(queries, everywhere, rows, places, count), rows)


def neighbour_lists(
    rows: Grid,
    count: int,
    *,
    exact_items: int = EXACT_ITEMS,
    cells_tried: int | None = None,
    progress: Progress | None = None,
    kept_every: int = KEPT_EVERY,
) -> Lists:
    """Return each row's nearest other rows, approximately where they are more than `exact_items`.

    Where there are not enough others the lists are shorter. Approximate ones keep their `progress`
    after so many searches of a row in a cell.
    """
    places = np.arange(len(rows))
    if len(rows) <= exact_items:
        return _as_cosines(_among(rows, places, rows, places, min(count, len(rows) - 1)), rows)
    kept = (progress, kept_every)
    tried = cells_tried or enough_cells(len(rows))
    return _as_cosines(_by_cells(rows, places, rows, count, tried, *kept), rows)


def enough_cells(rows: int) -> int:
    """Return with how many cells a row is compared that finds 95 of 100 true neighbours.

    Measured on a million vectors of 24 hidden dimensions: 16 find 95, 20 find 96, 32 find 98.
    """
    return CELLS_TRIED if rows <= _FEW_ROWS else _LARGE_CELLS_TRIED


def approximate_neighbours(queries: Grid, rows: Grid, count: int, *, cells_tried: int) -> Lists:
    """Return what `neighbours` does, approximately, for many queries and at least `count` rows."""
    nowhere = np.full(len(queries), NOBODY)
    return _as_cosines(_by_cells(queries, nowhere, rows, count, cells_tried), rows)


class Cells:
    """The cells of many rows, of which some find their neighbours in those nearest to them.

    A row's list does not depend on which others are asked for with it.
    """

    def __init__(self, rows: Grid, cells_tried: int | None = None) -> None:
        self.centres = _centres(rows)
        self.cells_tried = cells_tried or enough_cells(len(rows))

    def tried(self, rows: Grid) -> Places:
        """Return the cells (n, tried) that rows are compared with, their own first."""
        return _nearest_centres(rows, self.centres, self.cells_tried)


def lists_of(some: Places, rows: Grid, count: int, tried: Places | None = None) -> Lists:
    """Return what `neighbour_lists` returns of the rows at places `some`.

    `tried` are the cells of all rows; without them all pairs are compared.
    """
    if tried is None:
        places = np.arange(len(rows))
        found = _among(rows[some], some, rows, places, min(count, len(rows) - 1))
    else:
        found = _in_cells(rows[some], some, tried[some], rows, tried[:, :1], count)
    return _as_cosines(found, rows)


def _by_cells(
    queries: Grid,
    own: Places,
    rows: Grid,
    count: int,
    cells_tried: int,
    progress: Progress | None = None,
    kept_every: int = KEPT_EVERY,
) -> Lists:
    """Return each query's nearest among the rows of the cells that are nearest to it, its `own`
    row left out.

    The nearest cell comes first: few rows of the others are near enough to come into a list then.
    """
    cells = Cells(rows, cells_tried)
    tried = cells.tried(queries)
    homes = tried[:, :1] if queries is rows else _nearest_centres(rows, cells.centres, 1)
    return _in_cells(queries, own, tried, rows, homes, count, progress, kept_every)


def _in_cells(
    queries: Grid,
    own: Places,
    tried: Places,
    rows: Grid,
    homes: Places,
    count: int,
    progress: Progress | None = None,
    kept_every: int = KEPT_EVERY,
) -> Lists:
    """Return each query's nearest among the rows whose home is one of the cells it has `tried`."""
    members = _grouped(homes)
    kept = progress.kept() if progress else None
    done, ranked = kept or (0, np.full((len(queries), count), _NOTHING))
    searched = unkept = 0
    for asking, inside in _searches(tried, members):
        searched += 1
        if searched <= done:
            continue
        _improve(ranked, asking, queries, own, rows, inside)
        unkept += len(asking)
        if progress and unkept >= kept_every:
            progress.keep(searched, ranked)
            unkept = 0
    near, values = _listed(ranked)
    short = np.flatnonzero(near[:, -1] == NOBODY)
    every = np.arange(len(rows))
    near[short], values[short] = _among(queries[short], own[short], rows, every, count)
    return near, values


def _searches(tried: Places, members: dict[int, Places]) -> Iterator[tuple[Places, Places]]:
    """Yield queries with the rows of a cell that they are compared with, the nearest cells first,
    always in the same order.
    """
    for cells in (tried[:, :1], tried[:, 1:]):
        for cell, asking in _grouped(cells).items():
            if cell in members:
                yield asking, members[cell]


def _improve(
    ranked: Ranked, asking: Places, queries: Grid, own: Places, rows: Grid, inside: Places
) -> None:
    """Put the rows at rising places `inside` into the lists that they belong in, of some queries.

    What is as near as the last of a list counts, too: the lower place decides.
    """
    wide, count = rows[inside].astype(np.float32) * _UNIT, ranked.shape[1]
    for block in _blocks(len(asking), len(inside)):
        who = asking[block]
        table = _compared(queries[who], own[who], wide, inside)
        lists = ranked[who]
        found = table >= _values(lists[:, -1:])
        counts = np.count_nonzero(found, axis=1)
        many, few = np.flatnonzero(counts > _FEW), np.flatnonzero((counts > 0) & (counts <= _FEW))
        for some, more in (
            (many, _ranked(*top_k(table[many], inside, count))),
            (few, _candidates(table[few], found[few], counts[few], inside)),
        ):
            lists[some] = np.sort(np.concatenate([lists[some], more], axis=1), axis=1)[:, :count]
        ranked[who] = lists


def _candidates(table: Floats, found: NDArray[np.bool_], counts: Places, places: Places) -> Ranked:
    """Return what was `found` in each row of a `table` (m, rows), filled up with nothing."""
    more = np.full((len(table), int(counts.max(initial=0))), _NOTHING)
    row, column = np.nonzero(found)
    at = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    more[row, at] = _ranked(places[column], table[row, column])
    return more


def _ranked(places: Places, values: Floats) -> Ranked:
    """Return places with their values as numbers that rise from the largest value, then from the
    lowest place. NOBODY is the last.
    """
    bits = (values + np.float32(0)).view(np.uint32)
    falling = np.where(bits & _SIGN, bits, ~(bits | _SIGN))
    ranked = (falling.astype(np.uint64) << _ID_BITS) | places.astype(np.uint32)
    return np.where(places == NOBODY, _NOTHING, ranked)


def _values(ranked: Ranked) -> Floats:
    """Return the values in ranked lists; NO_SIMILARITY where there is none."""
    falling = (ranked >> _ID_BITS).astype(np.uint32)
    bits = np.where(falling & _SIGN, falling, ~falling & ~_SIGN)
    return np.where(ranked == _NOTHING, NO_SIMILARITY, bits.view(np.float32))


def _listed(ranked: Ranked) -> Lists:
    places = (ranked & np.uint64(2**32 - 1)).astype(np.int64)
    return np.where(ranked == _NOTHING, NOBODY, places), _values(ranked)


def _grouped(cells: Places) -> dict[int, Places]:
    """Return the rising rows of `cells` (n, k) in which each cell is."""
    flat = cells.ravel()
    order = np.argsort(flat, kind="stable")
    used, starts = np.unique(flat[order], return_index=True)
    return dict(zip(used.tolist(), np.split(order // cells.shape[1], starts[1:]), strict=True))


def _centres(rows: Grid) -> Grid:
    """Return the centres (√n, d) of cells: spherical k-means on some rows."""
    chance = np.random.default_rng(0)
    cells = int(len(rows) ** 0.5)
    drawn = rows[np.sort(chance.choice(len(rows), min(_DRAWN_EACH * cells, len(rows)), False))]
    centres = drawn[np.sort(chance.choice(len(drawn), cells, replace=False))]
    for _ in range(_ROUNDS):
        for cell, inside in _grouped(_nearest_centres(drawn, centres, 1)).items():
            centres[cell] = on_grid(drawn[inside].sum(axis=0, dtype=np.float32)[None])[0]
    return centres


def _nearest_centres(rows: Grid, centres: Grid, count: int) -> Places:
    """Return the cells (n, count) whose centres are nearest to each row, the nearest first."""
    return _among(rows, np.full(len(rows), NOBODY), centres, np.arange(len(centres)), count)[0]


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
            table = _compared(queries[block], own[block], wide, here)
            best = top_k(table, here, count)
            near[block], values[block] = (
                best if start == 0 else merge(near[block], values[block], *best)
            )
    return near, values


def _compared(queries: Grid, own: Places, wide: Floats, places: Places) -> Floats:
    """Return the products (n, m) of queries with rows that are at rising `places`, none with its
    `own`.
    """
    table = queries.astype(np.float32) @ wide.T
    self = np.minimum(np.searchsorted(places, own), len(places) - 1)
    hit = np.flatnonzero(places[self] == own)
    table[hit, self[hit]] = NO_SIMILARITY
    return np.asarray(table)


def _as_cosines(lists: Lists, rows: Grid) -> Lists:
    near, values = lists
    return near, values * np.float32(1 / (float(_UNIT) * grid_length(rows.shape[1]) ** 2))


def _blocks(queries: int, rows: int) -> Iterator[slice]:
    step = max(1, _BLOCK_CELLS // max(rows, 1))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))
