"""Scores of parent labels in a label hierarchy, from the scores of the labels below. Pure.

Labels are paths, `Shoes > Running`. A **level** is the label tree cut at one depth: each label with
references maps to one column there, its parent's or, if it ends above the cut, its own. Labels of a
level that stand above several labels can be assigned: `Shoes`, where neither `Running` nor `Boots`
is certain enough.

The L, C and Z of a parent are the maxima over its labels. So other labels of the same parent take
nothing away, and a large parent has no advantage over a small one. All models are fitted for
parents by the same method as for labels, with one addition, because new categories have two forms
here. An item may belong to no known parent: simulated by leaving out a reference with all labels of
its parent. Or it may belong to a **new sub-label** of a known parent: simulated by leaving out a
reference with its own label while the parent's other labels stay. The level should recognise the
parent of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import without
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import Column, NeverPredicted, column_maximum
from lookalike.classifier.scores.leave_one_out import LeftOutScores
from lookalike.classifier.scores.scores import BACKGROUND, NearestReference, Scores
from lookalike.labels import ancestors
from lookalike.model import LABEL_SEPARATOR

MIN_LABELS = 2
"""With a single label there is nothing to distinguish."""


@dataclass(frozen=True, slots=True)
class Level:
    """The label tree cut at one depth: its `labels`, sorted, and the columns that map to them.

    `label_columns` maps the labels with references, `sublabel_columns` those of the level one down.
    `assignable` (labels,) marks labels above several of these: a parent known by one label only is
    no more certain than that label. `never_predicted` are the columns that never win.
    """

    labels: tuple[str, ...]
    label_columns: NDArray[np.int64]
    sublabel_columns: NDArray[np.int64]
    assignable: NDArray[np.bool_]
    never_predicted: NeverPredicted


def never_predicted_columns(labels: Sequence[str], *, hierarchical: bool) -> NeverPredicted:
    """Return the columns of labels that compete with others but are never predicted.

    These are the background and, if labels are hierarchical, all labels above others, which are
    predicted on a higher level.

    >>> never_predicted_columns(["", "Bag", "Shoes", "Shoes > Boots"], hierarchical=True)
    (0, 2)
    """
    above = {parent for label in labels for parent in ancestors(label)} if hierarchical else set()
    return tuple(
        column for column, name in enumerate(labels) if name == BACKGROUND or name in above
    )


def levels_of(labels: Sequence[str]) -> list[Level]:
    """Return the levels above labels (sorted), the deepest first; none if no label has a parent.

    A cut where all labels have the same parent is no level: there is nothing to distinguish.

    >>> [level.labels for level in levels_of(["Bag", "Shoes > Boots", "Shoes > Running"])]
    [('Bag', 'Shoes')]
    """
    paths = [label.split(LABEL_SEPARATOR) for label in labels]
    levels, sublabel_columns = [], list(labels)
    for depth in range(max(map(len, paths), default=1) - 1, 0, -1):
        cut = [LABEL_SEPARATOR.join(path[:depth]) for path in paths]
        names = sorted(set(cut))
        never_predicted = never_predicted_columns(names, hierarchical=True)
        if len(names) - len(never_predicted) < MIN_LABELS:
            break
        column = {name: place for place, name in enumerate(names)}
        of = dict(zip(sublabel_columns, cut, strict=True))
        upward = np.array([column[of[name]] for name in sorted(of)])
        levels.append(
            Level(
                labels=tuple(names),
                label_columns=np.array([column[name] for name in cut]),
                sublabel_columns=upward,
                assignable=_several(upward, len(names), never_predicted),
                never_predicted=never_predicted,
            )
        )
        sublabel_columns = cut
    return levels


def at_level(left: LeftOutScores, level: Level) -> tuple[LeftOutScores, LeftOutScores, Places]:
    """Return left-out references of the level one down as rows of this level, and new sub-labels.

    The second result are the new sub-labels: references with their label one level down left out,
    of parents with other labels. The third are their row numbers.
    """
    rows = np.flatnonzero(level.assignable[level.sublabel_columns[left.own]])
    return _pooled(left, level), _pooled(left.some(rows).without_own(), level), rows


class ParentScores:
    """Scores of the labels of a level, with the interface of `LabelScores`."""

    def __init__(self, scores: Scores, level: Level) -> None:
        self._scores = scores
        self._level = level
        self._members = [
            np.flatnonzero(level.label_columns == place) for place in range(len(self.labels))
        ]
        self._nearest_reference = NearestReference(
            len(scores.neighbour_graph), scores.neighbour_graph.cosines
        )
        self._known = [self._references(place) for place in range(len(self.labels))]

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """Return the neighbour graph of the items."""
        return self._scores.neighbour_graph

    @property
    def labels(self) -> list[str]:
        """Return the labels of the level, sorted."""
        return list(self._level.labels)

    def above(self, labels: Sequence[str]) -> list[str]:
        """Return the labels of the level above some labels with references."""
        every = self._scores.labels
        return sorted(
            {self.labels[self._level.label_columns[every.index(label)]] for label in labels}
        )

    def column(self, label: str) -> Column:
        """Return L and C of one label at the items it reaches."""
        names, members = self._scores.labels, self._members[self.labels.index(label)]
        return column_maximum([self._scores.column(names[one]) for one in members])

    def table(self, places: Places) -> Floats:
        """Return L and C of items (2, m, labels)."""
        return _largest(self._scores.table(places), self._level.label_columns)

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each for one label's column (m,), and the places of the
        references.
        """
        for column, before in enumerate(self._known):
            now = self._references(column)
            if not np.array_equal(now, before):
                added, removed = without(now, before), without(before, now)
                self._nearest_reference.update(column, added, removed)
                self._known[column] = now
        return self._nearest_reference.of(places, columns, self._known.__getitem__)

    def neighbourhood(self, places: Places) -> Floats:
        """Return W and R of items (m, 2)."""
        return self._scores.neighbourhood(places)

    def _references(self, column: int) -> Places:
        """Return the sorted places of the references of all labels of a column."""
        names = self._scores.labels
        parts = [self._scores.references(names[one]) for one in self._members[column].tolist()]
        return np.sort(np.concatenate(parts))


def _several(
    columns: NDArray[np.int64], labels: int, never_predicted: NeverPredicted
) -> NDArray[np.bool_]:
    several = np.bincount(columns, minlength=labels) > 1
    several[list(never_predicted)] = False
    return several


def _pooled(left: LeftOutScores, level: Level) -> LeftOutScores:
    sums = np.bincount(level.sublabel_columns, left.counts, minlength=len(level.labels))
    own, class_similarity = (
        level.sublabel_columns[left.own],
        _largest(left.class_similarity, level.sublabel_columns),
    )
    return replace(
        left,
        own=own,
        counts=sums.astype(np.int64),
        graph_evidence=_largest(left.graph_evidence, level.sublabel_columns),
        class_similarity=class_similarity,
        own_similarity=np.maximum(left.own_similarity, class_similarity[np.arange(len(own)), own]),
        nearest_similarity=_largest(left.nearest_similarity, level.sublabel_columns),
        neighbourhood_evidence=np.delete(left.neighbourhood_evidence, 1, axis=1),
    )


def _largest(table: Floats, columns: NDArray[np.int64]) -> Floats:
    """Return the maximum of each row (…, labels below) over the labels of each of the `columns`."""
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(columns.max(initial=-1) + 1))
    return np.asarray(np.maximum.reduceat(table[..., order], starts, axis=-1))
