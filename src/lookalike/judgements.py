"""The judgement of every item under one confidence, kept up as the references change. Pure.

A label that changes says something else near its references (L) and a little everywhere (C). An
item is judged again only where that can matter: where the label wins, where it reaches the best
of the other labels in S, L or C, or does so in L around the item, as near as neighbours or as far
as a walk goes. Items are judged one by one, so the result equals judging all of them. A parent's
column changes with those below it, so the same holds of every level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.confidence import Confidence, Judgement, judge, judge_around, said_at
from lookalike.levels import Parents
from lookalike.propagation import Floats, Places
from lookalike.rising import union
from lookalike.scoring import Column, Scores

_SLACK = np.float32(1e-3)
"""More than rounding can hide of a difference; an item that is judged for nothing does no harm."""

_LEADS = slice(0, 3)
_LOGS, _DIRECT = 5, 6
"""Columns of `Judgement.features`: the winner's leads in S, L and C, its L and its C."""

_FEW_LABELS = 8
"""When more labels change, all items are judged again."""

_BLOCK = 4096


class Judgements:
    """The judgement of all items of `scores` under `confidence`, at each of its levels."""

    def __init__(self, confidence: Confidence, scores: Scores) -> None:
        self._labels = list(confidence.labels)
        self._scores = scores
        self._tiers = [_Tier(*level) for level in said_at(confidence, scores)]

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
        names, peaks, wide = scores.changed_by(references), scores.peaks, scores.walks.means
        if len(names) > _FEW_LABELS:
            scores.set_references(references)
            for tier in self._tiers:
                tier.judge_all()
            return np.arange(len(scores.landscape))
        before = [tier.columns(names) for tier in self._tiers]
        scores.set_references(references)
        touched = self._beside(np.flatnonzero(peaks != scores.peaks))
        touched |= wide != scores.walks.means
        moved = [
            tier.follow(touched, known) for tier, known in zip(self._tiers, before, strict=True)
        ]
        return union(*moved)

    def _beside(self, places: Places) -> NDArray[np.bool_]:
        """Return which items (n,) have any of `places` around them."""
        land = self._scores.landscape
        among = np.zeros(len(land), bool)
        among[places] = True
        beside = np.zeros(len(land), bool)
        # Whoever has an item among its nearest is joined to it in the graph, or is a leaf.
        beside[land.graph.joined(places[places < land.nodes])] = True
        beside[land.nodes :] = True
        some = np.flatnonzero(beside)
        beside[some] = among[land.near[some, : land.context.shape[1]]].any(axis=1)
        return beside


class _Tier:
    """The judgement of all items by the labels of one level."""

    def __init__(self, confidence: Confidence, said: Scores | Parents) -> None:
        self._confidence = confidence
        self._said = said
        self.judge_all()

    def at(self, places: Places) -> Judgement:
        return Judgement(*(column[places] for column in _columns(self._all)))

    def columns(self, labels: list[str]) -> dict[str, Column]:
        """Return the columns that a change of labels with references bears on."""
        names = labels if isinstance(self._said, Scores) else self._said.above(labels)
        return {name: self._said.column(name) for name in names}

    def follow(self, touched: NDArray[np.bool_], before: Mapping[str, Column]) -> Places:
        """Judge again whose surroundings were `touched`, and on whom columns bear that were
        `before`; return who.
        """
        own = np.zeros(len(touched), bool)
        for name, old in before.items():
            own |= self._touched(old, self._said.column(name))
        places, around = np.flatnonzero(own), np.flatnonzero(touched & ~own)
        self._put(places, judge(self._confidence, self._said, places))
        again = judge_around(self._confidence, self._said, around, self.at(around))
        self._put(around, again)
        return union(places, around)

    def judge_all(self) -> None:
        every = np.arange(len(self._said.landscape))
        columns: list[NDArray[Any]] = []
        for block in np.split(every, range(_BLOCK, len(every), _BLOCK)):
            part = _columns(judge(self._confidence, self._said, block))
            if not columns:
                columns = [np.empty((len(every), *one.shape[1:]), one.dtype) for one in part]
            for column, one in zip(columns, part, strict=True):
                column[block] = one
        self._all = Judgement(*columns)
        self._rivals = self._best_others(self._all)

    def _touched(self, before: Column, now: Column) -> NDArray[np.bool_]:
        """Return on which items (n,) a change of one label's own L and C may bear."""
        a, b = (np.float32(factor) for factor in self._confidence.sight.mix)
        totals, logs, direct = self._rivals
        # Where the label wins it reaches the others in S, too.
        touched = np.maximum(a * before[0] + b * before[1], a * now[0] + b * now[1]) >= totals
        touched |= np.maximum(before[1], now[1]) >= direct
        touched |= (before[0] != now[0]) & (np.maximum(before[0], now[0]) >= logs)
        return np.asarray(touched)

    def _put(self, places: Places, judged: Judgement) -> None:
        for column, new in zip(_columns(self._all), _columns(judged), strict=True):
            column[places] = new
        self._rivals[:, places] = self._best_others(judged)

    def _best_others(self, judgement: Judgement) -> Floats:
        """Return S, L and C (3, m) of the best label but the winner, a little less.

        Where a quiet label is ahead of the winner, S is the winner's: whoever overtakes it wins.
        """
        a, b = self._confidence.sight.mix
        logs, direct = judgement.features[:, _LOGS], judgement.features[:, _DIRECT]
        own = np.stack([a * logs + b * direct, logs, direct])
        leads = judgement.features[:, _LEADS].T.copy()
        leads[0] = np.maximum(leads[0], 0)
        return np.asarray(own - leads - _SLACK, np.float32)


def _columns(judgement: Judgement) -> list[NDArray[Any]]:
    return [getattr(judgement, part.name) for part in fields(Judgement)]
