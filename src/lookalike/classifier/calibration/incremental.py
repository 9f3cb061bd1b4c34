"""The judgement of every item under one confidence, kept up as the references change. Pure.

A label that changes says something else where it is heard, or was, and nowhere else. An item is
judged again only where that can matter: where the label wins, or is, or was, the best of the others
in S, L or C, or where something else is heard around the item. Mostly it is judged by that label
alone (`leads`), else by all of them. Items are judged one by one, so the result equals judging all
of them. A parent's column changes with those below it, so the same holds of every level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import (
    Confidence,
    Judgement,
    judged,
    levels_with_scores,
)
from lookalike.classifier.calibration.features import ScoredItems
from lookalike.classifier.graph.arrays import union
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.evidence import Column, TopTwo, scored
from lookalike.classifier.scores.hierarchy import ParentScores
from lookalike.classifier.scores.scores import Scores

_FEW_LABELS = 8
"""When more labels change, all items are judged again."""

_BLOCK = 4096


class Judgements:
    """The judgement of all items of `scores` under `confidence`, at each of its levels."""

    def __init__(self, confidence: Confidence, scores: Scores) -> None:
        self._labels = list(confidence.labels)
        self._scores = scores
        self._tiers = [_Tier(*level) for level in levels_with_scores(confidence, scores)]

    def at(self, places: Places) -> Judgement:
        """Return the judgement of items (m,)."""
        return self._tiers[0].at(places)

    def above(self, places: Places) -> list[Judgement]:
        """Return the judgements of items (m,) by the parents, the deepest level first."""
        return [tier.at(places) for tier in self._tiers[1:]]

    def follow(self, references: Mapping[str, Places]) -> Places:
        """Give the scores new `references` of the same labels; return who was judged again."""
        scores = self._scores
        assert sorted(references) == self._labels, "other labels: learn again"
        names = scores.changed_by(references)
        if len(names) > _FEW_LABELS:
            scores.set_references(references)
            for tier in self._tiers:
                tier.judge_all()
            return np.arange(len(scores.neighbour_graph))
        before = [tier.columns(tier.changed_by(names)) for tier in self._tiers]
        around = scores.set_references(references)
        moved = [
            tier.follow(around, known) for tier, known in zip(self._tiers, before, strict=True)
        ]
        return union(*moved)


class _Tier:
    """The judgement of all items by the labels of one level, and who leads for them."""

    def __init__(self, confidence: Confidence, said: Scores | ParentScores) -> None:
        self._confidence = confidence
        self._said = said
        self.judge_all()

    def at(self, places: Places) -> Judgement:
        return Judgement(*(column[places] for column in _columns(self._all)))

    def changed_by(self, labels: list[str]) -> list[str]:
        """Return the labels whose columns change with those of labels that have references."""
        return labels if isinstance(self._said, Scores) else self._said.above(labels)

    def columns(self, labels: Iterable[str]) -> dict[str, Column]:
        """Return what each label says, where it is heard."""
        return {name: self._said.column(name) for name in labels}

    def follow(self, around: Places, before: Mapping[str, Column]) -> Places:
        """Judge again the items `neighbourhood` whom something else is heard, and those on whom columns
        bear that were `before`; return who.
        """
        sight, now = self._confidence.sight, self.columns(before)
        both = [column.places for columns in (before, now) for column in columns.values()]
        places = union(around[:0], *both)
        leads, changed, is_open = self._leads.at(places), *np.zeros((2, len(places)), bool)
        for name, column in now.items():
            own = self._confidence.labels.index(name)
            was, is_now = (scored(sight.mix, *one.at(places)) for one in (before[name], column))
            taken = leads.update(own, was, is_now, may_win=own not in sight.never_predicted)
            changed, is_open = changed | taken[0], is_open | taken[1]
        leads.assign(np.flatnonzero(is_open), sight.leads(self._said, places[is_open]))
        self._leads.assign(places, leads)
        again = union(around, places[changed])
        self._put(again, sight.seen_by(self._said, again, self._leads.at(again)))
        return again

    def judge_all(self) -> None:
        sight, every = self._confidence.sight, np.arange(len(self._said.neighbour_graph))
        kinds = _columns(judged(self._confidence, sight.seen(self._said, every[:0])))
        self._all = known = Judgement(*(np.empty(len(every), one.dtype) for one in kinds))
        parts = np.empty((3, 3, len(every)), np.float32)
        self._leads = TopTwo(known.winners, known.runners_up, *parts)
        for block in np.split(every, range(_BLOCK, len(every), _BLOCK)):
            seen = sight.seen(self._said, block)
            self._leads.assign(block, seen.leads)
            self._put(block, seen)

    def _put(self, places: Places, seen: ScoredItems) -> None:
        new = judged(self._confidence, seen)
        for column, values in zip(_columns(self._all), _columns(new), strict=True):
            column[places] = values


def _columns(judgement: Judgement) -> list[NDArray[Any]]:
    return [getattr(judgement, part.name) for part in fields(Judgement)]
