"""Sparse per-label evidence, and the top two labels of each item, updated incrementally. Pure.

Evidence columns are stored only for the items that a label's references reach: some hundred items
per reference, whatever the size of the collection. Memory therefore grows with the number of
references alone, except for one bit per item and label that marks which labels reach it.
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
"""L and C of a label at an item that none of its references reaches. The value of C is about the
largest C of many unrelated labels: below it, class similarity carries no information."""

NO_EVIDENCE: Floats = np.zeros(1, np.float32)
"""The same for evidence alone."""


@dataclass(frozen=True, slots=True)
class Column:
    """L and C of one label, `values` float32 (2, k), at the sorted `places` (k,) that its
    references reach; UNREACHED elsewhere.
    """

    places: Places
    values: Floats

    def at(self, places: Places) -> Floats:
        """Return L and C (2, m) at sorted `places` (m,), which include all of its own."""
        return _spread(self.values, self.places, places, UNREACHED)


def _spread(values: Floats, own: Places, places: Places, unreached: Floats) -> Floats:
    """Return `values` (r, k) at the places `own` as (r, m) at sorted `places`, which include `own`;
    the others get `unreached` (r,).
    """
    if len(own) == len(places):
        return values
    spread = np.repeat(unreached[:, None], len(places), axis=1)
    rows = places.searchsorted(own)
    for line, row in zip(spread, values, strict=True):
        line[rows] = row
    return spread


def column_maximum(columns: Sequence[Column]) -> Column:
    """Return the column with the largest L and C of any of the columns (at least one) for each
    item.
    """
    places = union(*(column.places for column in columns))
    return Column(places, np.maximum.reduce([column.at(places) for column in columns]))


class LabelIndex:
    """Which columns reach each item, one bit each; updated as single columns change.

    Few columns reach an item, so reading all columns for some items takes few look-ups.
    """

    def __init__(self, columns: Sequence[Places], items: int) -> None:
        self._columns = list(columns)
        self._bits = np.zeros((items, -(-len(columns) // 8)), np.uint8)
        for column, places in enumerate(columns):
            self._bits[places, column // 8] |= 1 << column % 8

    def update(self, column: int, places: Places) -> None:
        """Set the sorted `places` (k,) that a column reaches."""
        byte, bit = column // 8, 1 << column % 8
        self._bits[self._columns[column], byte] &= 255 - bit
        self._bits[places, byte] |= bit
        self._columns[column] = places

    def dense(self, values: Sequence[Floats], places: Places, unreached: Floats) -> Floats:
        """Return the values of all columns at `places` (m,), float32 (r, m, columns).

        `values` (r, k) are each column's values at the places it reaches; it has `unreached` (r,)
        elsewhere.
        """
        table = np.empty((len(unreached), len(places), len(values)), np.float32)
        table[:] = unreached[:, None, None]
        bits = np.unpackbits(self._bits[places], axis=1, count=len(values), bitorder="little")
        columns, rows = np.divmod(np.flatnonzero(bits.T), max(len(places), 1))
        wanted, bounds = places.take(rows), columns.searchsorted(range(len(values) + 1)).tolist()
        found = [
            column.take(reached.searchsorted(wanted[start:stop]), axis=1)
            for reached, column, start, stop in zip(
                self._columns, values, bounds, bounds[1:], strict=False
            )
            if start < stop
        ]
        if found:
            table[:, rows, columns] = np.concatenate(found, axis=1)
        return table


class MaxEvidence:
    """The largest evidence of any column for each item, updated as single columns change.

    `_rest_bound` (items,) is an upper bound of all columns but the largest. If the largest column
    changes and stays above this bound, no other column need be read.
    """

    def __init__(self, columns: Iterable[Evidence], items: int) -> None:
        self._largest: Floats = np.zeros(items, np.float32)
        self._rest_bound: Floats = np.zeros(items, np.float32)
        for column in columns:
            self._add(column)

    @property
    def largest(self) -> Floats:
        """Return the largest evidence, float32 (items,), a view: do not change it."""
        return self._largest

    def extended_to(self, columns: Iterable[Evidence], items: int) -> MaxEvidence:
        """Return the maximum over `items`, these and later ones; `columns` hold the evidence of
        all.
        """
        extended, known = MaxEvidence([], items), len(self._largest)
        extended._largest[:known], extended._rest_bound[:known] = self._largest, self._rest_bound
        for column in columns:
            late = slice(int(np.searchsorted(column.places, known)), None)
            extended._add(Evidence(column.places[late], column.amounts[late]))
        return extended

    def update(
        self, before: Evidence, now: Evidence, evidence: Callable[[Places], Floats]
    ) -> Places:
        """Replace one column `before` by `now`; return the places where the largest may have
        changed.

        `evidence(places)` returns the evidence of all columns at places, (m, columns).
        """
        places = union(before.places, now.places)
        was, is_now = (
            _spread(one.amounts[None], one.places, places, NO_EVIDENCE)[0] for one in (before, now)
        )
        most, rest = self._largest[places], self._rest_bound[places]
        is_largest = was == most
        self._rest_bound[places] = np.where(
            is_largest, rest, np.maximum(rest, np.minimum(is_now, most))
        )
        self._largest[places] = new = np.where(is_largest, is_now, np.maximum(most, is_now))
        lost = places[is_largest & (is_now < rest)]
        if len(lost):
            table = np.append(evidence(lost), np.zeros((len(lost), 1), np.float32), axis=1)
            table.partition(-2, axis=1)
            self._rest_bound[lost], self._largest[lost] = table[:, -2:].T
        return np.asarray(places[new != most])

    def _add(self, column: Evidence) -> None:
        most, rest = self._largest[column.places], self._rest_bound[column.places]
        self._rest_bound[column.places] = np.maximum(rest, np.minimum(column.amounts, most))
        self._largest[column.places] = np.maximum(most, column.amounts)


def largest(columns: Sequence[Evidence], factors: Sequence[float], items: int) -> Floats:
    """Return the largest evidence times factor of any column for each item, float32 (items,)."""
    most = np.zeros(items, np.float32)
    for column, factor in zip(columns, factors, strict=True):
        amounts = column.amounts * np.float32(factor)
        most[column.places] = np.maximum(most[column.places], amounts)
    return most


@dataclass(frozen=True, slots=True)
class TwoLargest:
    """The largest evidence of any group of columns for each item, that of the second group, and the
    group of the first: all (items,); −1 without evidence.
    """

    first: Floats
    second: Floats
    group: NDArray[np.int64]

    def other_than(self, group: int, places: Places) -> Floats:
        """Return the largest evidence of any group but `group` for items (m,)."""
        own = self.group[places] == group
        return np.where(own, self.second[places], self.first[places])


def two_largest(columns: Sequence[Evidence], groups: NDArray[np.int64], items: int) -> TwoLargest:
    """Return the two largest evidences of different `groups` (columns,) of columns for each
    item.
    """
    first, second = np.zeros(items, np.float32), np.zeros(items, np.float32)
    group = np.full(items, -1)
    for column, evidence in enumerate(columns):
        places, amounts, own = evidence.places, evidence.amounts, groups[column]
        exceeds, same = amounts > first[places], group[places] == own
        overtaken = np.where(exceeds & ~same, first[places], second[places])
        second[places] = np.where(exceeds | same, overtaken, np.maximum(amounts, overtaken))
        first[places] = np.maximum(amounts, first[places])
        group[places[exceeds]] = own
    return TwoLargest(first, second, group)


# --- top two labels and margin, updated incrementally -------------------------------------------

# The winner of an item is the label with the largest S among the labels that reach it and may be
# predicted. `rivals` are the largest S, L and C of any other label (possibly three different
# labels); `rest` is an upper bound of all further labels. A label that does not reach the item has
# S = −inf, so it never wins, and the constants UNREACHED as L and C.
#
# When the scores of one label change, winner and rivals follow from these values, whatever the
# number of labels. All labels must be read again only if the winner falls to a rival, a rival falls
# to the rest, or another label overtakes the winner. Such an item is called open.

Columns = NDArray[np.int64]
Items = NDArray[np.bool_]
Mix = tuple[float, float]
NeverPredicted = tuple[int, ...]

UNREACHED_SCORES: Floats = np.array([[-np.inf], UNREACHED[:1], UNREACHED[1:]], np.float32)
"""S, L and C (3, 1) of a label that does not reach the item."""


@dataclass(slots=True)
class TopTwo:
    """The top two labels of m items: columns of `winners` and `runners_up` by S (−1: none).

    S, L and C, float32 (3, m), are those of the winner (`own`), the largest of any other label
    (`rivals`), and an upper bound of all third labels (`rest`).
    """

    winners: Columns
    runners_up: Columns
    own: Floats
    rivals: Floats
    rest: Floats

    @classmethod
    def from_scores(
        cls,
        mix: Mix,
        graph_evidence: Floats,
        class_similarity: Floats,
        never_predicted: NeverPredicted,
    ) -> TopTwo:
        """Return the top two from L and C (m, labels) of all labels; columns in `never_predicted`
        do not win.
        """
        rows, labels = np.arange(len(graph_evidence)), graph_evidence.shape[1]
        parts = np.empty((3, len(graph_evidence), labels + 1), np.float32)
        parts[:, :, 0], parts[:, :, 1:] = (
            UNREACHED_SCORES,
            scored(mix, graph_evidence, class_similarity),
        )
        total = parts[0].copy()
        total[:, [column + 1 for column in never_predicted]] = -np.inf
        winners = total.argmax(axis=1)
        own = np.stack([part[rows, winners] for part in parts])
        for part in parts:
            part[rows, winners] = -np.inf
        runners_up = parts[0].argmax(axis=1)
        parts.partition(labels - 1, axis=2)
        return cls(winners - 1, runners_up - 1, own, parts[:, :, -1], parts[:, :, labels - 1])

    def at(self, chosen: Places) -> TopTwo:
        """Return the top two of some of the items."""
        parts = [part.take(chosen, axis=1) for part in self._parts]
        return TopTwo(self.winners.take(chosen), self.runners_up.take(chosen), *parts)

    def assign(self, places: Places, other: TopTwo) -> None:
        """Replace the top two of the items at `places`."""
        self.winners[places], self.runners_up[places] = other.winners, other.runners_up
        for part, new in zip(self._parts, other._parts, strict=True):
            _put(part, places, new)

    def update(
        self, column: int, before: Floats, now: Floats, *, may_win: bool
    ) -> tuple[Items, Items]:
        """Change S, L and C (3, m) of one label from `before` to `now`.

        Return for which items winner or rivals changed, and which items are open. `may_win` is
        False for a label that is never predicted.
        """
        is_winner, rival = (
            self.winners == column,
            (before == self.rivals) & (before > UNREACHED_SCORES),
        )
        falls = (now[0] < before[0]) & (now[0] <= self.rivals[0])
        lost = (rival & (now < self.rivals) & (now <= self.rest)).any(axis=0)
        overtakes = (now[0] >= self.own[0]) & (now[0] > UNREACHED_SCORES[0])
        is_open = np.where(is_winner, falls, lost | (may_win & overtakes))
        first = (now[0] == self.rivals[0]) & (column < self.runners_up)
        becomes_runner_up = ~is_winner & ((now[0] > self.rivals[0]) | first)
        self.runners_up[becomes_runner_up] = column
        np.copyto(self.own, now, where=is_winner)
        third = np.where(rival, self.rest, np.maximum(self.rest, np.minimum(now, self.rivals)))
        self.rest = np.where(is_winner, self.rest, third)
        second = np.where(rival, now, np.maximum(self.rivals, now))
        changed = is_winner | becomes_runner_up | is_open | (second != self.rivals).any(axis=0)
        self.rivals = np.where(is_winner, self.rivals, second)
        return np.asarray(changed), np.asarray(is_open)

    def features(self, mix: Mix, nearest: Floats) -> NDArray[np.float64]:
        """Return seven features (m, 7): the margins of S, L and C, the root of the first, and Z, L
        and C.

        The margins are over the next label or over an unreached one. Z (`nearest`), L and C are the
        winner's.
        """
        unreached_score = mixed(mix, *UNREACHED)
        own = np.where(self.winners < 0, unreached_score, self.own[0])
        margin = own - np.maximum(self.rivals[0], unreached_score)
        margins = np.stack([margin, *(self.own[1:] - self.rivals[1:])]).astype(np.float64)
        root = np.sqrt(np.maximum(margins[0], 0))
        return np.stack([*margins, root, nearest, self.own[1], self.own[2]]).T

    @property
    def _parts(self) -> tuple[Floats, Floats, Floats]:
        return self.own, self.rivals, self.rest


def _put(rows: Floats, places: Places, values: Floats) -> None:
    """Assign `values` (r, m) to columns of `rows` (r, n); row by row takes half the time of all at
    once.
    """
    for row, new in zip(rows, values, strict=True):
        row[places] = new


def scored(mix: Mix, graph_evidence: Floats, class_similarity: Floats) -> Floats:
    """Return S, L and C stacked (3, …)."""
    parts = np.empty((3, *graph_evidence.shape), np.float32)
    parts[0], parts[1], parts[2] = (
        mixed(mix, graph_evidence, class_similarity),
        graph_evidence,
        class_similarity,
    )
    np.copyto(parts[0], -np.inf, where=graph_evidence == UNREACHED[0])
    return parts


def mixed(mix: Mix, graph_evidence: Floats, class_similarity: Floats) -> Floats:
    """Return a·L + b·C, which is S where the label reaches the item."""
    return np.asarray(mix[0] * graph_evidence + mix[1] * class_similarity, np.float32)
