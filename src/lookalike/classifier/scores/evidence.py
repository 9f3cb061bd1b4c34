"""What each label's references say of items, kept where it is heard. Pure.

A reference reaches some hundred items, whatever their number: so columns are sparse, and memory
grows with the references alone, but for the bits that tell who is heard where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import Evidence, Floats, Places
from lookalike.classifier.graph.rising import union

FLOOR = np.float32(1e-5)
"""Added to evidence before its logarithm."""

UNHEARD: Floats = np.array([np.log(FLOOR), 0.1], np.float32)
"""L and C of a label at an item that none of its references reaches. Of C it is what the largest of
many labels that have nothing to do with an item comes to: below it, likeness tells nothing."""

NO_EVIDENCE: Floats = np.zeros(1, np.float32)
"""The same of evidence alone."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one label says: L and C, `said` float32 (2, k), at the rising `places` (k,) that its
    references reach; UNHEARD elsewhere.
    """

    places: Places
    said: Floats

    def at(self, places: Places) -> Floats:
        """Return L and C (2, m) at rising `places` (m,), which hold all of its own."""
        return _spread(self.said, self.places, places, UNHEARD)


def _spread(said: Floats, own: Places, places: Places, unheard: Floats) -> Floats:
    """Return what is `said` (r, k) at `own` places as (r, m) at rising `places`, which hold all of
    them; at the others it is `unheard` (r,).
    """
    if len(own) == len(places):
        return said
    spread = np.repeat(unheard[:, None], len(places), axis=1)
    rows = places.searchsorted(own)
    for line, values in zip(spread, said, strict=True):
        line[rows] = values
    return spread


def abreast(columns: Sequence[Column]) -> Column:
    """Return the largest L and C that any of some columns, at least one, says of each item."""
    places = union(*(column.places for column in columns))
    return Column(places, np.maximum.reduce([column.at(places) for column in columns]))


class Hearing:
    """Which of some columns are heard at each item, a bit each; kept up as single columns change.

    Few are heard anywhere: so to ask a few items of all columns is to look up some of each.
    """

    def __init__(self, columns: Sequence[Places], items: int) -> None:
        self._columns = list(columns)
        self._bits = np.zeros((items, -(-len(columns) // 8)), np.uint8)
        for column, places in enumerate(columns):
            self._bits[places, column // 8] |= 1 << column % 8

    def change(self, column: int, places: Places) -> None:
        """Take over that a column is heard at the rising `places` (k,) now, and nowhere else."""
        byte, bit = column // 8, 1 << column % 8
        self._bits[self._columns[column], byte] &= 255 - bit
        self._bits[places, byte] |= bit
        self._columns[column] = places

    def side_by_side(self, said: Sequence[Floats], places: Places, unheard: Floats) -> Floats:
        """Return what columns say at `places` (m,), side by side: float32 (r, m, columns).

        Of each column is given what is `said` where it is heard (r, k); elsewhere it says `unheard`
        (r,).
        """
        table = np.empty((len(unheard), len(places), len(said)), np.float32)
        table[:] = unheard[:, None, None]
        bits = np.unpackbits(self._bits[places], axis=1, count=len(said), bitorder="little")
        columns, rows = np.divmod(np.flatnonzero(bits.T), max(len(places), 1))
        asked, bounds = places.take(rows), columns.searchsorted(range(len(said) + 1)).tolist()
        found = [
            values.take(heard.searchsorted(asked[start:stop]), axis=1)
            for heard, values, start, stop in zip(
                self._columns, said, bounds, bounds[1:], strict=False
            )
            if start < stop
        ]
        if found:
            table[:, rows, columns] = np.concatenate(found, axis=1)
        return table


class Peaks:
    """The largest that any of some columns says of each item, kept up as single columns change.

    `_rest` (items,) is what no column exceeds but that which says most: where that one changes and
    stays above it, no other need be looked at.
    """

    def __init__(self, columns: Iterable[Evidence], items: int) -> None:
        self._most: Floats = np.zeros(items, np.float32)
        self._rest: Floats = np.zeros(items, np.float32)
        for said in columns:
            self._hear(said)

    @property
    def most(self) -> Floats:
        """Return the largest, float32 (items,); it is ours."""
        return self._most

    def over(self, columns: Iterable[Evidence], items: int) -> Peaks:
        """Return those of `items`, ours and more, of which `columns` say what is not known here."""
        wider, known = Peaks([], items), len(self._most)
        wider._most[:known], wider._rest[:known] = self._most, self._rest
        for said in columns:
            late = slice(int(np.searchsorted(said.places, known)), None)
            wider._hear(Evidence(said.places[late], said.amounts[late]))
        return wider

    def follow(
        self, before: Evidence, now: Evidence, evidence: Callable[[Places], Floats]
    ) -> Places:
        """Take over that one column was `before` and is `now`; return where the largest may be
        another. `evidence` gives what all say at places, (m, columns).
        """
        places = union(before.places, now.places)
        was, said = (
            _spread(one.amounts[None], one.places, places, NO_EVIDENCE)[0] for one in (before, now)
        )
        most, rest = self._most[places], self._rest[places]
        leads = was == most
        self._rest[places] = np.where(leads, rest, np.maximum(rest, np.minimum(said, most)))
        self._most[places] = new = np.where(leads, said, np.maximum(most, said))
        lost = places[leads & (said < rest)]
        if len(lost):
            table = np.append(evidence(lost), np.zeros((len(lost), 1), np.float32), axis=1)
            table.partition(-2, axis=1)
            self._rest[lost], self._most[lost] = table[:, -2:].T
        return np.asarray(places[new != most])

    def _hear(self, said: Evidence) -> None:
        most, rest = self._most[said.places], self._rest[said.places]
        self._rest[said.places] = np.maximum(rest, np.minimum(said.amounts, most))
        self._most[said.places] = np.maximum(most, said.amounts)


def largest(columns: Sequence[Evidence], factors: Sequence[float], items: int) -> Floats:
    """Return the largest that any column, times its factor, says of each item, float32 (items,)."""
    most = np.zeros(items, np.float32)
    for said, factor in zip(columns, factors, strict=True):
        amounts = said.amounts * np.float32(factor)
        most[said.places] = np.maximum(most[said.places], amounts)
    return most


@dataclass(frozen=True, slots=True)
class Rivals:
    """The largest that any group of columns says of each item, that of the next, and whose the
    first is: all (items,); −1 where nobody says anything.
    """

    first: Floats
    second: Floats
    group: NDArray[np.int64]

    def beside(self, group: int, places: Places) -> Floats:
        """Return the largest that any other group says of items (m,)."""
        own = self.group[places] == group
        return np.where(own, self.second[places], self.first[places])


def two_largest(columns: Sequence[Evidence], groups: NDArray[np.int64], items: int) -> Rivals:
    """Return the two largest that columns of different `groups` (columns,) say of each item."""
    first, second = np.zeros(items, np.float32), np.zeros(items, np.float32)
    group = np.full(items, -1)
    for column, said in enumerate(columns):
        places, amounts, own = said.places, said.amounts, groups[column]
        leads, same = amounts > first[places], group[places] == own
        overtaken = np.where(leads & ~same, first[places], second[places])
        second[places] = np.where(leads | same, overtaken, np.maximum(amounts, overtaken))
        first[places] = np.maximum(amounts, first[places])
        group[places[leads]] = own
    return Rivals(first, second, group)
