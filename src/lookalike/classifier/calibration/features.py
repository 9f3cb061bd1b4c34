"""Features of the confidence models: twelve numbers of an item and its winning label. Pure.

They are the margins of S, L and C over the next label or an unreached one, and the root of the
first; Z, L and C of the winner, and their differences from the class means, the averages over the
label's own left-out references; the neighbourhood evidence W and the remoteness R. If no label
reaches the item there is no winner: the features are those of an unreached label, with a Z of 0.

Answers "none of these" are the references of the **background**, a label with an empty name. It is
**never predicted**: it competes with other labels but does not win, and an item that resembles it
more has a negative margin of S. The same holds for labels above others where those below are
decided: `Shoes` if it is `Running` or `Boots`.
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

ExcludedLabels = NDArray[np.bool_]

_CLASS_MEAN_WEIGHT = 3.0
_NONE: Places = np.empty(0, np.int64)
_MEAN_FEATURES = (5, 6, 4)
"""The columns of the winner's L, C and Z, in the order of `Scales.class_means`."""


@dataclass(frozen=True, slots=True)
class ScoredItems:
    """Scores of m items: their `top_two`, the places (m,) of the winner's nearest references
    (`sources`), and the `features` (m, 12).
    """

    top_two: TopTwo
    sources: Places
    features: Vector


@dataclass(frozen=True, slots=True)
class Scales:
    """Fitted scales of the features: `mix` are a and b of S = a·L + b·C.

    `class_means` float32 (3, labels + 1) are the mean L, C and Z of each label's own references,
    the last column that of all; `never_predicted` are the columns that do not win.
    """

    mix: Mix
    class_means: Floats
    never_predicted: NeverPredicted

    def score_items(
        self, scores: LabelScores, places: Places, excluded: ExcludedLabels | None = None
    ) -> ScoredItems:
        """Return top two labels and features of items.

        `excluded` (m, labels) marks labels that an item may not get.
        """
        return self.score_with(scores, places, self.top_two(scores, places, excluded))

    def top_two(
        self, scores: LabelScores, places: Places, excluded: ExcludedLabels | None = None
    ) -> TopTwo:
        """Return the top two labels of items, from the scores of all labels."""
        graph_evidence, class_similarity = scores.table(places)
        if excluded is not None:
            graph_evidence[excluded], class_similarity[excluded] = UNREACHED
        return TopTwo.from_scores(self.mix, graph_evidence, class_similarity, self.never_predicted)

    def score_with(self, scores: LabelScores, places: Places, top_two: TopTwo) -> ScoredItems:
        """Return the features of items whose `top_two` labels are known."""
        nearest, sources = scores.nearest(places, top_two.winners)
        winner_means, neighbourhood = (
            self.class_means[:, top_two.winners],
            scores.neighbourhood(places),
        )
        rows = top_two.features(self.mix, nearest)
        return ScoredItems(top_two, sources, _completed(rows, winner_means, neighbourhood))


@dataclass(frozen=True, slots=True)
class NewSublabels:
    """Simulated items of a new label below a known parent, all (q,) but `features` (q, 12).

    `rows` are the references whose own label is left out while other labels of the same parent
    stay; `own` is the parent's column, `winners` the predicted column.
    """

    rows: Places
    features: Vector
    winners: Columns
    own: Columns

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return which are predicted correctly (q,)."""
        return np.asarray(self.winners == self.own)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Leave-one-out features and predictions of r references.

    `features` (r, 12) are those without the reference itself; `winners` (r,) are the predicted
    columns, `own` (r,) those of their labels. `known` (r,) marks references whose label may be
    predicted; `new_features` (known, 12) are these with their whole label left out, as simulated
    new items. `new_sublabels` are those of a level of parents, with the label below left out.
    """

    features: Vector
    winners: Columns
    own: Columns
    known: NDArray[np.bool_]
    new_features: Vector
    new_sublabels: NewSublabels

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return which are predicted correctly (r,)."""
        return np.asarray(self.winners == self.own)


def leave_out(
    left: LeftOutScores,
    *,
    never_predicted: NeverPredicted,
    new_sublabels: LeftOutScores | None = None,
    sublabel_rows: Places = _NONE,
) -> tuple[Scales, LeftOut]:
    """Fit the scales on the references of `left`; return them and the references' leave-one-out
    features.

    `new_sublabels` are the rows `sublabel_rows` again, with their labels one level down left out.
    """
    own, known = left.own, ~np.isin(left.own, never_predicted)
    every = _Rows.of(left)
    mix = fit_mixture(left.graph_evidence[known], left.class_similarity[known], own[known])
    class_means, others_means = _class_means(every.of_label(own), own, known, len(left.counts))
    top_two = every.top_two(mix, never_predicted)
    winner_means = np.where(top_two.winners == own, others_means, class_means[:, top_two.winners])
    new_rows = _Rows.of(left.some(np.flatnonzero(known)).without_own())
    new_top_two = new_rows.top_two(mix, never_predicted)
    return Scales(mix, class_means, never_predicted), LeftOut(
        features=_completed(every.features(mix, top_two), winner_means, every.neighbourhood),
        winners=top_two.winners,
        own=own,
        known=known,
        new_features=_completed(
            new_rows.features(mix, new_top_two),
            class_means[:, new_top_two.winners],
            new_rows.neighbourhood,
        ),
        new_sublabels=_new_sublabels(
            left if new_sublabels is None else new_sublabels,
            sublabel_rows,
            mix,
            class_means,
            never_predicted,
        ),
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
        """Return the scores of left-out references."""
        neighbourhood = np.stack([left.neighbourhood_evidence[:, 0], left.remoteness], axis=1)
        return cls(
            left.graph_evidence, left.class_similarity, left.nearest_similarity, neighbourhood
        )

    def top_two(self, mix: Mix, never_predicted: NeverPredicted) -> TopTwo:
        """Return the top two labels of each row."""
        return TopTwo.from_scores(mix, self.graph_evidence, self.class_similarity, never_predicted)

    def of_label(self, label: Columns) -> Floats:
        """Return L, C and Z (3, m) of one label per row."""
        rows = np.arange(len(label))
        return np.stack(
            [
                part[rows, label]
                for part in (self.graph_evidence, self.class_similarity, self.nearest_similarity)
            ]
        )

    def features(self, mix: Mix, top_two: TopTwo) -> Vector:
        """Return the first seven features (m, 7) of rows with known top two labels."""
        nearest = self.nearest_similarity[np.arange(len(top_two.winners)), top_two.winners]
        return top_two.features(mix, np.where(top_two.winners >= 0, nearest, np.float32(0)))


def _new_sublabels(
    new_sublabels: LeftOutScores,
    of: Places,
    mix: Mix,
    class_means: Floats,
    never_predicted: NeverPredicted,
) -> NewSublabels:
    rows = _Rows.of(new_sublabels.some(np.arange(len(of))))
    top_two = rows.top_two(mix, never_predicted)
    features = _completed(
        rows.features(mix, top_two), class_means[:, top_two.winners], rows.neighbourhood
    )
    return NewSublabels(of, features, top_two.winners, new_sublabels.own[: len(of)])


def _completed(rows: Vector, winner_means: Floats, neighbourhood: Floats) -> Vector:
    """Append the differences from the winner's class means (3, m), and W and R: (m, 12)."""
    return np.concatenate([rows.T, rows.T[list(_MEAN_FEATURES)] - winner_means, neighbourhood.T]).T


def _class_means(
    values: Floats, own: Columns, known: NDArray[np.bool_], labels: int
) -> tuple[Floats, Floats]:
    """Return shrunk class means of `values` (3, r), and those of the other references of each
    label.

    The first are (3, labels + 1), the last column over all; the second (3, r) leave out the row
    itself. Rows that are not `known` count for their own label only.
    """
    counts = np.bincount(own, minlength=labels).astype(np.float64)
    overall = values[:, known].mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(own, row, minlength=labels) for row in values])
    prior = _CLASS_MEAN_WEIGHT * overall
    class_means = (sums + prior) / (counts + _CLASS_MEAN_WEIGHT)
    others_means = (sums[:, own] - values + prior) / (counts[own] - 1 + _CLASS_MEAN_WEIGHT)
    return np.append(class_means, overall, axis=1).astype(np.float32), others_means.astype(
        np.float32
    )
