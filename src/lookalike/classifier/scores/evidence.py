"""What each label's references say of items, kept where it is heard. Pure.

A reference reaches some hundred items, whatever their number: so columns are sparse, and memory
grows with the references alone, but for the bits that tell who is heard where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import union
from lookalike.classifier.graph.propagation import Evidence, Floats, Places

FLOOR = np.float32(1e-5)
"""Added to evidence before its logarithm."""

UNREACHED: Floats = np.array([np.log(FLOOR), 0.1], np.float32)
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
        return _spread(self.said, self.places, places, UNREACHED)


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


class LabelIndex:
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


class MaxEvidence:
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

    def extended_to(self, columns: Iterable[Evidence], items: int) -> MaxEvidence:
        """Return those of `items`, ours and more, of which `columns` say what is not known here."""
        wider, known = MaxEvidence([], items), len(self._most)
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
class TwoLargest:
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


def two_largest(columns: Sequence[Evidence], groups: NDArray[np.int64], items: int) -> TwoLargest:
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
    return TwoLargest(first, second, group)


# --- top two labels and margin, kept up ----------------------------------------------------------

# The winner has the largest S of all labels that are heard and may win. Its rivals are the largest
# S, L and C of any other label, which may be three labels; the rest is what no further label
# exceeds. A label that is not heard has an S of −inf, so it never leads; its L and C are those of
# **nobody**, who is everywhere.
#
# Where one label's scores become others, winner and rivals follow from these, whatever the number
# of labels. Only where the winner falls back to a rival, a rival to the rest, or another label
# overtakes, all must be looked at again: such an item is open.

Columns = NDArray[np.int64]
Items = NDArray[np.bool_]
Mix = tuple[float, float]
Quiet = tuple[int, ...]

NOBODY: Floats = np.array([[-np.inf], UNREACHED[:1], UNREACHED[1:]], np.float32)
"""S, L and C (3, 1) of a label that is not heard."""


@dataclass(slots=True)
class TopTwo:
    """Who leads for m items: the columns of `winners` and `runners_up` in S (−1: nobody).

    S, L and C, float32 (3, m), are those of the winner (`own`), the largest of any other label
    (`rivals`), and what no third one exceeds (`rest`).
    """

    winners: Columns
    runners_up: Columns
    own: Floats
    rivals: Floats
    rest: Floats

    @classmethod
    def among(cls, mix: Mix, logs: Floats, direct: Floats, quiet: Quiet) -> TopTwo:
        """Return those of items whose labels' L and C (m, labels) are all known; the columns
        `quiet` never win.
        """
        rows, labels = np.arange(len(logs)), logs.shape[1]
        parts = np.empty((3, len(logs), labels + 1), np.float32)
        parts[:, :, 0], parts[:, :, 1:] = NOBODY, scored(mix, logs, direct)
        total = parts[0].copy()
        total[:, [column + 1 for column in quiet]] = -np.inf
        winners = total.argmax(axis=1)
        own = np.stack([part[rows, winners] for part in parts])
        for part in parts:
            part[rows, winners] = -np.inf
        runners_up = parts[0].argmax(axis=1)
        parts.partition(labels - 1, axis=2)
        return cls(winners - 1, runners_up - 1, own, parts[:, :, -1], parts[:, :, labels - 1])

    def at(self, chosen: Places) -> TopTwo:
        """Return those of some of the items."""
        parts = [part.take(chosen, axis=1) for part in self._parts]
        return TopTwo(self.winners.take(chosen), self.runners_up.take(chosen), *parts)

    def put(self, places: Places, leads: TopTwo) -> None:
        """Take over those of some of the items."""
        self.winners[places], self.runners_up[places] = leads.winners, leads.runners_up
        for part, new in zip(self._parts, leads._parts, strict=True):
            _put(part, places, new)

    def take(self, column: int, before: Floats, now: Floats, *, wins: bool) -> tuple[Items, Items]:
        """Take over that S, L and C (3, m) of one label were `before` and are `now`; return of
        which items winner or rivals are others now, and which are open. `wins` tells whether the
        label may win.
        """
        leads, rival = self.winners == column, (before == self.rivals) & (before > NOBODY)
        falls = (now[0] < before[0]) & (now[0] <= self.rivals[0])
        lost = (rival & (now < self.rivals) & (now <= self.rest)).any(axis=0)
        overtakes = (now[0] >= self.own[0]) & (now[0] > NOBODY[0])
        is_open = np.where(leads, falls, lost | (wins & overtakes))
        first = (now[0] == self.rivals[0]) & (column < self.runners_up)
        follows = ~leads & ((now[0] > self.rivals[0]) | first)
        self.runners_up[follows] = column
        np.copyto(self.own, now, where=leads)
        third = np.where(rival, self.rest, np.maximum(self.rest, np.minimum(now, self.rivals)))
        self.rest = np.where(leads, self.rest, third)
        second = np.where(rival, now, np.maximum(self.rivals, now))
        changed = leads | follows | is_open | (second != self.rivals).any(axis=0)
        self.rivals = np.where(leads, self.rivals, second)
        return np.asarray(changed), np.asarray(is_open)

    def features(self, mix: Mix, nearest: Floats) -> NDArray[np.float64]:
        """Return the margins of S, L and C over the next label or nobody, the root of the first,
        and Z (`nearest`), L and C of the winner (m, 7).
        """
        silence = mixed(mix, *UNREACHED)
        own = np.where(self.winners < 0, silence, self.own[0])
        lead = own - np.maximum(self.rivals[0], silence)
        margins = np.stack([lead, *(self.own[1:] - self.rivals[1:])]).astype(np.float64)
        root = np.sqrt(np.maximum(margins[0], 0))
        return np.stack([*margins, root, nearest, self.own[1], self.own[2]]).T

    @property
    def _parts(self) -> tuple[Floats, Floats, Floats]:
        return self.own, self.rivals, self.rest


def _put(rows: Floats, places: Places, values: Floats) -> None:
    """Put `values` (r, m) into `rows` (r, n); one row after the other takes half as long as all."""
    for row, new in zip(rows, values, strict=True):
        row[places] = new


def scored(mix: Mix, logs: Floats, direct: Floats) -> Floats:
    """Return S, L and C side by side (3, …)."""
    parts = np.empty((3, *logs.shape), np.float32)
    parts[0], parts[1], parts[2] = mixed(mix, logs, direct), logs, direct
    np.copyto(parts[0], -np.inf, where=logs == UNREACHED[0])
    return parts


def mixed(mix: Mix, logs: Floats, direct: Floats) -> Floats:
    """Return a·L + b·C, which is S where the label is heard."""
    return np.asarray(mix[0] * logs + mix[1] * direct, np.float32)
