"""Predictions for all items, updated incrementally as the references change. Pure.

When a label's references change, its scores change only at the items that it reaches or reached. An
item's prediction is recomputed only if that can matter: if the label is, or was, the winner or the
best of the others in S, L or C, or if the neighbourhood evidence changes. Mostly the changed label
alone decides it (`TopTwo.update`), otherwise all labels. Predictions of items are independent, so
the result equals predicting all of them. A parent's column changes with those of its labels, so the
same holds on every level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import (
    Confidence,
    Predictions,
    levels_with_scores,
    predictions_of,
)
from lookalike.classifier.calibration.features import ScoredItems
from lookalike.classifier.graph.arrays import union
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.evidence import Column, TopTwo, scored
from lookalike.classifier.scores.hierarchy import ParentScores
from lookalike.classifier.scores.scores import Scores

_FEW_LABELS = 8
"""If more labels change, the predictions of all items are recomputed."""

_BLOCK = 4096


class CachedPredictions:
    """Predictions for all items of `scores` under `confidence`, on each of its levels."""

    def __init__(self, confidence: Confidence, scores: Scores) -> None:
        self._labels = list(confidence.labels)
        self._scores = scores
        self._levels = [
            _LevelPredictions(*level) for level in levels_with_scores(confidence, scores)
        ]

    def at(self, places: Places) -> Predictions:
        """Return the predictions for items (m,)."""
        return self._levels[0].at(places)

    def above(self, places: Places) -> list[Predictions]:
        """Return the predictions for items (m,) by the parents, the deepest level first."""
        return [level.at(places) for level in self._levels[1:]]

    def update(self, references: Mapping[str, Places]) -> Places:
        """Set new `references` of the same labels; return the items whose predictions were
        recomputed.
        """
        scores = self._scores
        assert sorted(references) == self._labels, "other labels: fit again"
        names = scores.changed_by(references)
        if len(names) > _FEW_LABELS:
            scores.set_references(references)
            for level in self._levels:
                level.predict_all()
            return np.arange(len(scores.neighbour_graph))
        before = [level.columns(level.changed_by(names)) for level in self._levels]
        around = scores.set_references(references)
        moved = [
            level.update(around, known) for level, known in zip(self._levels, before, strict=True)
        ]
        return union(*moved)


class _LevelPredictions:
    """Predictions and top two labels of all items on one level."""

    def __init__(self, confidence: Confidence, level_scores: Scores | ParentScores) -> None:
        self._confidence = confidence
        self._level_scores = level_scores
        self.predict_all()

    def at(self, places: Places) -> Predictions:
        return Predictions(*(column[places] for column in _columns(self._all)))

    def changed_by(self, labels: list[str]) -> list[str]:
        """Return the labels of the level whose columns change with the given labels."""
        return (
            labels if isinstance(self._level_scores, Scores) else self._level_scores.above(labels)
        )

    def columns(self, labels: Iterable[str]) -> dict[str, Column]:
        """Return the columns of labels."""
        return {name: self._level_scores.column(name) for name in labels}

    def update(self, around: Places, before: Mapping[str, Column]) -> Places:
        """Recompute items affected by the columns that were `before`, and the items `around`;
        return them.

        `around` are the items whose neighbourhood evidence may have changed.
        """
        scales, now = self._confidence.sight, self.columns(before)
        both = [column.places for columns in (before, now) for column in columns.values()]
        places = union(around[:0], *both)
        top_two, changed, is_open = self._top_two.at(places), *np.zeros((2, len(places)), bool)
        for name, column in now.items():
            own = self._confidence.labels.index(name)
            was, is_now = (scored(scales.mix, *one.at(places)) for one in (before[name], column))
            taken = top_two.update(own, was, is_now, may_win=own not in scales.never_predicted)
            changed, is_open = changed | taken[0], is_open | taken[1]
        top_two.assign(np.flatnonzero(is_open), scales.top_two(self._level_scores, places[is_open]))
        self._top_two.assign(places, top_two)
        affected = union(around, places[changed])
        self._store(
            affected, scales.score_with(self._level_scores, affected, self._top_two.at(affected))
        )
        return affected

    def predict_all(self) -> None:
        scales, every = self._confidence.sight, np.arange(len(self._level_scores.neighbour_graph))
        empty = _columns(
            predictions_of(self._confidence, scales.score_items(self._level_scores, every[:0]))
        )
        self._all = known = Predictions(*(np.empty(len(every), one.dtype) for one in empty))
        parts = np.empty((3, 3, len(every)), np.float32)
        self._top_two = TopTwo(known.winners, known.runners_up, *parts)
        for block in np.split(every, range(_BLOCK, len(every), _BLOCK)):
            items = scales.score_items(self._level_scores, block)
            self._top_two.assign(block, items.top_two)
            self._store(block, items)

    def _store(self, places: Places, items: ScoredItems) -> None:
        new = predictions_of(self._confidence, items)
        for column, values in zip(_columns(self._all), _columns(new), strict=True):
            column[places] = values


def _columns(predictions: Predictions) -> list[NDArray[Any]]:
    return [getattr(predictions, part.name) for part in fields(Predictions)]
