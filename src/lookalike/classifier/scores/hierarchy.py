"""Labels one level up the tree: what the references below say of their parent. Pure.

Labels are paths, `Shoes > Running`. A **level** is the tree cut at one depth: each label below has
one column there, its parent's or, where it ends above the cut, its own. What of a level is above
several labels can be given: `Shoes`, where neither `Running` nor `Boots` is sure enough.

A parent says what the best of its labels says: of L, C and Z it has the largest.
So nothing is lost by what a parent holds besides, and a large one has no advantage over a small
one. All that is learned of labels is then learned of parents by the same rule, with one thing more.
To be new has two meanings up here. An item may be of no known parent, as a reference whose whole
parent is left out; or of a new label below a known one, as a reference whose own label is left out
and the others of its parent stay: such are its `kin`, which the level should know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import without
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import Column, Quiet, abreast
from lookalike.classifier.scores.leave_one_out import LeftOutScores
from lookalike.classifier.scores.scores import BACKGROUND, NearestReference, Scores
from lookalike.labels import ancestors
from lookalike.model import LABEL_SEPARATOR

MIN_LABELS = 2
"""With one label there is nothing to tell it from."""


@dataclass(frozen=True, slots=True)
class Level:
    """The tree cut at one depth: its `labels`, sorted, and the column (labels below,) of each.

    `below` are those of the labels that have references, `under` those of the level one down.
    `given` (labels,) tells which have several of these under them: what is known by one label alone
    is no surer than that. `quiet` are those that never win.
    """

    labels: tuple[str, ...]
    below: NDArray[np.int64]
    under: NDArray[np.int64]
    given: NDArray[np.bool_]
    quiet: Quiet


def quiet_among(labels: Sequence[str], *, hierarchical: bool) -> Quiet:
    """Return the columns of labels that rival the others and never win: the background and, if they
    are hierarchical, those above others: they are given on a higher level.

    >>> quiet_among(["", "Bag", "Shoes", "Shoes > Boots"], hierarchical=True)
    (0, 2)
    """
    above = {parent for label in labels for parent in ancestors(label)} if hierarchical else set()
    return tuple(
        column for column, name in enumerate(labels) if name == BACKGROUND or name in above
    )


def levels_of(labels: Sequence[str]) -> list[Level]:
    """Return the levels above labels (sorted), the deepest first; none where no label has a parent.

    Where all is of one parent there is nothing to tell that from, so it is no level.

    >>> [level.labels for level in levels_of(["Bag", "Shoes > Boots", "Shoes > Running"])]
    [('Bag', 'Shoes')]
    """
    paths = [label.split(LABEL_SEPARATOR) for label in labels]
    levels, under = [], list(labels)
    for depth in range(max(map(len, paths), default=1) - 1, 0, -1):
        cut = [LABEL_SEPARATOR.join(path[:depth]) for path in paths]
        names = sorted(set(cut))
        quiet = quiet_among(names, hierarchical=True)
        if len(names) - len(quiet) < MIN_LABELS:
            break
        column = {name: place for place, name in enumerate(names)}
        of = dict(zip(under, cut, strict=True))
        upward = np.array([column[of[name]] for name in sorted(of)])
        levels.append(
            Level(
                labels=tuple(names),
                below=np.array([column[name] for name in cut]),
                under=upward,
                given=_several(upward, len(names), quiet),
                quiet=quiet,
            )
        )
        under = cut
    return levels


def raised(left: LeftOutScores, level: Level) -> tuple[LeftOutScores, LeftOutScores, Places]:
    """Return references left out of the level one down as they look on this one.

    Then their kin: those again, with their label one down left out, that have others of their
    parent beside it, and which rows these are.
    """
    rows = np.flatnonzero(level.given[level.under[left.own]])
    return _pooled(left, level), _pooled(left.some(rows).without_own(), level), rows


class Parents:
    """What the references say, by the labels of a level: as `Scores` in all that is asked."""

    def __init__(self, scores: Scores, level: Level) -> None:
        self._scores = scores
        self._level = level
        self._members = [np.flatnonzero(level.below == place) for place in range(len(self.labels))]
        self._closest = NearestReference(
            len(scores.neighbour_graph), scores.neighbour_graph.cosines
        )
        self._known = [self._references(place) for place in range(len(self.labels))]

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """Return the items."""
        return self._scores.neighbour_graph

    @property
    def labels(self) -> list[str]:
        """Return the labels of the level, sorted."""
        return list(self._level.labels)

    def above(self, labels: Sequence[str]) -> list[str]:
        """Return the labels of the level that some with references fall under."""
        every = self._scores.labels
        return sorted({self.labels[self._level.below[every.index(label)]] for label in labels})

    def column(self, label: str) -> Column:
        """Return L and C of one label, where it is heard."""
        names, members = self._scores.labels, self._members[self.labels.index(label)]
        return abreast([self._scores.column(names[one]) for one in members])

    def table(self, places: Places) -> Floats:
        """Return L and C of items (2, m, labels)."""
        return _largest(self._scores.table(places), self._level.below)

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each with one label's column (m,), and whose it is."""
        for column, before in enumerate(self._known):
            now = self._references(column)
            if not np.array_equal(now, before):
                came, went = without(now, before), without(before, now)
                self._closest.changed(column, came, went)
                self._known[column] = now
        return self._closest.of(places, columns, self._known.__getitem__)

    def around(self, places: Places) -> Floats:
        """Return W and R of items (m, 2)."""
        return self._scores.around(places)

    def _references(self, column: int) -> Places:
        """Return the rising places of the references of all labels of a column."""
        names = self._scores.labels
        parts = [self._scores.references(names[one]) for one in self._members[column].tolist()]
        return np.sort(np.concatenate(parts))


def _several(columns: NDArray[np.int64], labels: int, quiet: Quiet) -> NDArray[np.bool_]:
    several = np.bincount(columns, minlength=labels) > 1
    several[list(quiet)] = False
    return several


def _pooled(left: LeftOutScores, level: Level) -> LeftOutScores:
    sums = np.bincount(level.under, left.counts, minlength=len(level.labels))
    own, direct = level.under[left.own], _largest(left.direct, level.under)
    return replace(
        left,
        own=own,
        counts=sums.astype(np.int64),
        logs=_largest(left.logs, level.under),
        direct=direct,
        likeness=np.maximum(left.likeness, direct[np.arange(len(own)), own]),
        nearest=_largest(left.nearest, level.under),
        wide=np.delete(left.wide, 1, axis=1),
    )


def _largest(table: Floats, columns: NDArray[np.int64]) -> Floats:
    """Return the largest of each row (…, labels below) in each of the `columns` they belong to."""
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(columns.max(initial=-1) + 1))
    return np.asarray(np.maximum.reduceat(table[..., order], starts, axis=-1))
