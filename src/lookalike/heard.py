"""What each label's references say of items, kept where it is not zero. Pure.

A reference reaches some hundred items, whatever their number: so columns are sparse, and memory
grows with the references alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.propagation import Evidence, Floats, Places
from lookalike.rising import union

_LOOK_UP = 64
"""To look a place up takes as long as to pass over so many."""


def side_by_side(columns: Sequence[Evidence], places: Places, items: int) -> Floats:
    """Return what columns say at `places` of any shape, side by side: float32 (…, columns).

    `items` is how many places there are.
    """
    asked, back = np.unique(places, return_inverse=True)
    table = np.zeros((len(columns), len(asked)), np.float32)
    if len(asked):
        row, among = np.empty(items, np.int64), np.zeros(items, bool)
        row[asked], among[asked] = np.arange(len(asked)), True
        bounds = np.array([asked[0], asked[-1] + 1])
        for line, said in zip(table, columns, strict=True):
            start, stop = said.places.searchsorted(bounds).tolist()
            if _LOOK_UP * len(asked) < stop - start:
                line[:] = said.at(asked)
                continue
            here = start + np.flatnonzero(among.take(said.places[start:stop]))
            line[row.take(said.places.take(here))] = said.amounts.take(here)
    return table.T[back.reshape(places.shape)]


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

    def follow(self, before: Evidence, now: Evidence, columns: Sequence[Evidence]) -> Places:
        """Take over that one of `columns` was `before` and is `now`; return where the largest may
        be another.
        """
        places = union(before.places, now.places)
        said, most, rest = now.at(places), self._most[places], self._rest[places]
        leads = before.at(places) == most
        self._rest[places] = np.where(leads, rest, np.maximum(rest, np.minimum(said, most)))
        self._most[places] = new = np.where(leads, said, np.maximum(most, said))
        lost = places[leads & (said < rest)]
        if len(lost):
            table = side_by_side(columns, lost, len(self._most))
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
