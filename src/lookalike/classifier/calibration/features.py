"""What the models of `confidence` look at: twelve numbers of an item and its winning label. Pure.

The margins of S, L and C over the next label or an unheard one, and the root of the first; Z, L and
C of the winner, and how far these are from what is usual for that label's own references, left out
one at a time; what is heard around the item (W), and how remote it is (R). Where no label is heard
there is no winner: it has what an unheard label has, and a Z of 0.

What people called "none of these" are the references of the **background**, a label of no name. It
is **quiet**: it rivals the others and never wins, and an item that looks more like it has a
negative margin of S. So are labels above others where those below are decided: `Shoes` where it is
`Running` or `Boots`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.logistic import Vector, fit_mixture
from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import UNREACHED, Columns, Mix, NeverPredicted, TopTwo
from lookalike.classifier.scores.leave_one_out import LeftOutScores
from lookalike.classifier.scores.scores import LabelScores

Barred = NDArray[np.bool_]

_TYPICAL_WEIGHT = 3.0
_NOBODY: Places = np.empty(0, np.int64)
_TYPED = (5, 6, 4)
"""The features L, C and Z of the winner, in the order of `Scales.typical`."""


@dataclass(frozen=True, slots=True)
class ScoredItems:
    """What scores show of m items: their `leads`, the places of the winner's nearest references
    (`sources`, (m,)), and the `features` (m, 12).
    """

    leads: TopTwo
    sources: Places
    features: Vector


@dataclass(frozen=True, slots=True)
class Scales:
    """How scores are seen: `mix` are a and b of S = a·L + b·C; `typical` float32 (3, labels + 1) is
    what L, C and Z of a label's own references are, the last those of any; `never_predicted` are the columns
    that never win.
    """

    mix: Mix
    typical: Floats
    never_predicted: NeverPredicted

    def seen(
        self, scores: LabelScores, places: Places, barred: Barred | None = None
    ) -> ScoredItems:
        """Return what the scores show of items.

        `barred` (m, labels) tells which labels an item may not get.
        """
        return self.seen_by(scores, places, self.leads(scores, places, barred))

    def leads(self, scores: LabelScores, places: Places, barred: Barred | None = None) -> TopTwo:
        """Return who leads for items, by the scores of all labels."""
        graph_evidence, class_similarity = scores.table(places)
        if barred is not None:
            graph_evidence[barred], class_similarity[barred] = UNREACHED
        return TopTwo.from_scores(self.mix, graph_evidence, class_similarity, self.never_predicted)

    def seen_by(self, scores: LabelScores, places: Places, leads: TopTwo) -> ScoredItems:
        """Return what the scores show of items whose `leads` are known."""
        nearest, sources = scores.nearest(places, leads.winners)
        usual, around = self.typical[:, leads.winners], scores.neighbourhood(places)
        rows = leads.features(self.mix, nearest)
        return ScoredItems(leads, sources, _completed(rows, usual, around))


@dataclass(frozen=True, slots=True)
class NewSublabels:
    """What something new looks like of which the label above is known, all (q,) but `seen` (q, 12).

    `of` are the rows of the references whose own label was left out while others of the same parent
    stay; `own` is the parent's column, `winners` what each is taken for then.
    """

    of: Places
    seen: Vector
    winners: Columns
    own: Columns

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return which are taken for what they are (q,)."""
        return np.asarray(self.winners == self.own)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What r references look like when they do not vote.

    `seen` (r, 12) with only themselves left out; `winners` (r,) are the columns that they are then
    taken for, `own` (r,) those of their labels. `known` (r,) tells which are not of a quiet one,
    and `unseen` (of these, 12) are they with their whole label left out, as something new would
    look. `kin` are those of a higher level, with the label below it left out.
    """

    seen: Vector
    winners: Columns
    own: Columns
    known: NDArray[np.bool_]
    unseen: Vector
    kin: NewSublabels

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return which are taken for what they are (r,)."""
        return np.asarray(self.winners == self.own)


def leave_out(
    left: LeftOutScores,
    *,
    never_predicted: NeverPredicted,
    kin: LeftOutScores | None = None,
    kin_of: Places = _NOBODY,
) -> tuple[Scales, LeftOut]:
    """Return how to see, and what the references of `left` look like.

    `kin` are some of them again, the rows `kin_of`, with their labels one level down left out.
    """
    own, known = left.own, ~np.isin(left.own, never_predicted)
    every = _Rows.of(left)
    mix = fit_mixture(left.graph_evidence[known], left.class_similarity[known], own[known])
    typical, beside = _typical(every.of_label(own), own, known, len(left.counts))
    leads = every.leads(mix, never_predicted)
    usual = np.where(leads.winners == own, beside, typical[:, leads.winners])
    outside = _Rows.of(left.some(np.flatnonzero(known)).without_own())
    lost = outside.leads(mix, never_predicted)
    return Scales(mix, typical, never_predicted), LeftOut(
        seen=_completed(every.features(mix, leads), usual, every.neighbourhood),
        winners=leads.winners,
        own=own,
        known=known,
        unseen=_completed(
            outside.features(mix, lost), typical[:, lost.winners], outside.neighbourhood
        ),
        kin=_kin(left if kin is None else kin, kin_of, mix, typical, never_predicted),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Scores of rows (m, labels), and W and R (m, 2)."""

    graph_evidence: Floats
    class_similarity: Floats
    nearest_similarity: Floats
    neighbourhood: Floats

    @classmethod
    def of(cls, left: LeftOutScores) -> _Rows:
        """Return those of references left out."""
        neighbourhood = np.stack([left.neighbourhood_evidence[:, 0], left.remoteness], axis=1)
        return cls(
            left.graph_evidence, left.class_similarity, left.nearest_similarity, neighbourhood
        )

    def leads(self, mix: Mix, never_predicted: NeverPredicted) -> TopTwo:
        """Return who leads in each row."""
        return TopTwo.from_scores(mix, self.graph_evidence, self.class_similarity, never_predicted)

    def of_label(self, label: Columns) -> Floats:
        """Return L, C and Z (3, m) of one label a row."""
        rows = np.arange(len(label))
        return np.stack(
            [
                part[rows, label]
                for part in (self.graph_evidence, self.class_similarity, self.nearest_similarity)
            ]
        )

    def features(self, mix: Mix, leads: TopTwo) -> Vector:
        """Return the first seven features (m, 7) of rows of which is known who leads."""
        nearest = self.nearest_similarity[np.arange(len(leads.winners)), leads.winners]
        return leads.features(mix, np.where(leads.winners >= 0, nearest, np.float32(0)))


def _kin(
    kin: LeftOutScores,
    of: Places,
    mix: Mix,
    typical: Floats,
    never_predicted: NeverPredicted,
) -> NewSublabels:
    rows = _Rows.of(kin.some(np.arange(len(of))))
    leads = rows.leads(mix, never_predicted)
    seen = _completed(rows.features(mix, leads), typical[:, leads.winners], rows.neighbourhood)
    return NewSublabels(of, seen, leads.winners, kin.own[: len(of)])


def _completed(rows: Vector, usual: Floats, around: Floats) -> Vector:
    """Add how far three features are from what is usual (3, m) for the winner, W and R: (m, 12)."""
    return np.concatenate([rows.T, rows.T[list(_TYPED)] - usual, around.T]).T


def _typical(
    values: Floats, own: Columns, known: NDArray[np.bool_], labels: int
) -> tuple[Floats, Floats]:
    """Return the shrunk means of `values` (3, r) by label and over all (3, labels + 1), and for
    each row (3, r) that of the others of its label; what is not `known` shapes its own only.
    """
    counts = np.bincount(own, minlength=labels).astype(np.float64)
    overall = values[:, known].mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(own, row, minlength=labels) for row in values])
    prior = _TYPICAL_WEIGHT * overall
    typical = (sums + prior) / (counts + _TYPICAL_WEIGHT)
    beside = (sums[:, own] - values + prior) / (counts[own] - 1 + _TYPICAL_WEIGHT)
    return np.append(typical, overall, axis=1).astype(np.float32), beside.astype(np.float32)
