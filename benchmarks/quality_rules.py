"""The rules that the quality benchmark compares: each turns one case into an answer.

`OURS` are put together from the package's pure modules as the decider does, `PARTS` are the
rule on the neighbour graph with a part left out, `BASELINES` the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading

from lookalike.classifier.calibration import features as features_of
from lookalike.classifier.calibration.confidence import Terms, fit_level, predict
from lookalike.classifier.calibration.decision_rule import MIN_ACCURACY
from lookalike.classifier.calibration.nearest_rule import features, fit_nearest, probability
from lookalike.classifier.calibration.thresholds import UNREACHABLE
from lookalike.classifier.graph.arrays import fixed_point_length
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.graph.search import ReferenceArrays, nearest, similarities, votes
from lookalike.classifier.scores.evidence import UNREACHED
from lookalike.classifier.scores.leave_one_out import LeftOutScores, leave_one_out, nearest_of_each
from lookalike.classifier.scores.scores import Scores
from quality_data import Split

_SAME = np.float32(-8)
"""L of every label that is heard, where how much is left out."""

KNOWN_CUT = 0.30
SHARE_CUT = 0.5
NEIGHBOURS = 10
LOGISTIC_C = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule says of each item of the pool, all (m,), and from which `limit` it labels.

    `winners` are columns of known labels, `scores` what they are accepted by. `probability` tells
    that the score means one.
    """

    winners: NDArray[np.int64]
    scores: NDArray[np.float64]
    limit: float
    probability: bool = False


@dataclass(frozen=True)
class Case:
    """One split of one data set; what several rules need of it is computed once."""

    vectors: NDArray[np.float16]
    neighbour_graph: NeighbourGraph
    split: Split

    @property
    def names(self) -> list[str]:
        """Return the names of the known labels, in the order of their columns."""
        return [f"{column:04}" for column in range(len(self.split.known))]

    @cached_property
    def scores(self) -> Scores:
        """The scores of the rule on the neighbour graph."""
        own = self.split.own
        places = {
            name: self.split.references[own == column] for column, name in enumerate(self.names)
        }
        return Scores(self.neighbour_graph).for_references(places)

    @cached_property
    def left(self) -> LeftOutScores:
        """The leave-one-out scores of all references."""
        return leave_one_out(self.scores, self.split.references)

    @cached_property
    def unit(self) -> Floats:
        """The centred vectors at unit length."""
        length = fixed_point_length(self.vectors.shape[1])
        return np.divide(self.neighbour_graph.centred, length, dtype=np.float32)

    @cached_property
    def raw(self) -> Floats:
        """The similarities of the pool (m,) and the references (r,), as stored."""
        return similarities(
            self.vectors[self.split.pool], self.vectors[self.split.references].astype(np.float64)
        )


Rule = Callable[[Case, float], Answer]
"""A case and a target precision → an answer; rules that know no target ignore it."""


# --- baselines ------------------------------------------------------------------------------------


def known_cut(case: Case, _: float) -> Answer:
    """The nearest reference's label where its similarity is at least 0.30."""
    best = case.raw.argmax(axis=1)
    return Answer(case.split.own[best], case.raw.max(axis=1).astype(np.float64), KNOWN_CUT)


def nearest_ten(case: Case, _: float) -> Answer:
    """The label with the largest share of the ten nearest references; ties to the nearer."""
    order = np.argsort(-case.raw, axis=1, kind="stable")[:, :NEIGHBOURS]
    labels = case.split.own[order]
    counts = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
    place = counts.argmax(axis=1)
    rows = np.arange(len(labels))
    return Answer(labels[rows, place], counts[rows, place] / labels.shape[1], SHARE_CUT)


def class_means(case: Case, _: float) -> Answer:
    """The label whose mean of centred references is nearest, by cosine."""
    sums = np.stack(
        [
            case.unit[case.split.references[case.split.own == column]].sum(axis=0)
            for column in range(len(case.split.known))
        ]
    )
    means = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return _largest(case.unit[case.split.pool] @ means.T)


def logistic(case: Case, _: float) -> Answer:
    """scikit-learn's LogisticRegression on centred unit vectors."""
    model = LogisticRegression(C=LOGISTIC_C, max_iter=500)
    model.fit(case.unit[case.split.references], case.split.own)
    return _largest(model.predict_proba(case.unit[case.split.pool]))


def label_spreading(case: Case, _: float) -> Answer:
    """scikit-learn's LabelSpreading over all items, on the graph of ten nearest neighbours."""
    near = case.neighbour_graph.near[:, :NEIGHBOURS]
    rows = np.repeat(np.arange(len(near)), near.shape[1])
    ones = np.ones(near.size)
    graph = csr_matrix((ones, (rows, near.ravel())), shape=(len(near), len(near)))
    labels = np.full(len(near), -1)
    labels[case.split.references] = case.split.own
    model = LabelSpreading(kernel=lambda *_: graph.maximum(graph.T), max_iter=200)
    model.fit(np.zeros((len(near), 1)), labels)
    return _largest(model.label_distributions_[case.split.pool])


def random_forest(case: Case, _: float) -> Answer:
    """scikit-learn's RandomForestClassifier on the vectors as stored."""
    wide = case.vectors.astype(np.float32)
    model = RandomForestClassifier(random_state=0)
    model.fit(wide[case.split.references], case.split.own)
    return _largest(model.predict_proba(wide[case.split.pool]))


def _largest(table: NDArray[np.floating]) -> Answer:
    return Answer(table.argmax(axis=1), table.max(axis=1).astype(np.float64), SHARE_CUT)


# --- ours -----------------------------------------------------------------------------------------


def graph_rule(case: Case, target: float) -> Answer:
    """Answer by the rule on the neighbour graph.

    An item that no label reaches has the label of the nearest reference if it must be answered, as
    with `LookalikeClassifier.predict`.
    """
    return _judged(case.scores, case.left, case.split.pool, target)


def nearest_rule(case: Case, target: float) -> Answer:
    """Return what the `nearest` rule says, as `learning.fit_nearest` and the policy do."""
    split = case.split
    among = case.vectors[split.references]
    voters = ReferenceArrays(split.references, split.own.astype(np.int32), among)
    lists = nearest(case.vectors[split.pool], among, split.references, NEIGHBOURS)
    pool = voters.matches(*lists)
    calibration = fit_nearest(voters, pool, NEIGHBOURS, target)
    if calibration is None:
        winner, share = votes(pool, 0.1)
        return Answer(winner.astype(np.int64), share.astype(np.float64), UNREACHABLE)
    winner, share = votes(pool, calibration.temperature)
    p = probability(calibration, features(pool, winner, share))
    return Answer(winner.astype(np.int64), p, calibration.limit, probability=True)


class _Muted:
    """Scores in which some kinds of column, or surroundings, say the same of everything."""

    def __init__(self, scores: Scores, *silent: str) -> None:
        self.labels = scores.labels
        self.neighbour_graph = scores.neighbour_graph
        self.references = scores.references
        self._scores = scores
        self._silent = silent

    def table(self, places: Places) -> Floats:
        logs, direct = self._scores.table(places)
        if "evidence" in self._silent:
            logs = np.where(logs > UNREACHED[0], _SAME, logs).astype(np.float32)
        return np.stack([logs, np.zeros_like(direct) if "direct" in self._silent else direct])

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        cosines, sources = self._scores.nearest(places, columns)
        return np.zeros_like(cosines) if "nearest" in self._silent else cosines, sources

    def neighbourhood(self, places: Places) -> Floats:
        around = self._scores.neighbourhood(places)
        if "evidence" in self._silent:
            around[:, 0] = 0
        return np.zeros_like(around) if "around" in self._silent else around


def _muted(scores: Scores, *silent: str) -> Scores:
    return cast("Scores", _Muted(scores, *silent))


def without_graph(case: Case, target: float) -> Answer:
    """The rule without how large L is, and so without the neighbourhood evidence that follows."""
    known = case.left.graph_evidence
    same = np.where(known > UNREACHED[0], _SAME, known).astype(np.float32)
    no_neighbourhood = np.zeros_like(case.left.neighbourhood_evidence)
    left = replace(case.left, graph_evidence=same, neighbourhood_evidence=no_neighbourhood)
    return _judged(_muted(case.scores, "evidence"), left, case.split.pool, target)


def without_direct(case: Case, target: float) -> Answer:
    """The rule on the neighbour graph without C."""
    left = replace(case.left, class_similarity=np.zeros_like(case.left.class_similarity))
    return _judged(_muted(case.scores, "direct"), left, case.split.pool, target)


def without_nearest(case: Case, target: float) -> Answer:
    """The rule on the neighbour graph without Z, the largest cosine to a reference of the label."""
    left = replace(case.left, nearest_similarity=np.zeros_like(case.left.nearest_similarity))
    return _judged(_muted(case.scores, "nearest"), left, case.split.pool, target)


def without_surroundings(case: Case, target: float) -> Answer:
    """The rule on the neighbour graph without what lies around an item."""
    left = replace(
        case.left,
        neighbourhood_evidence=np.zeros_like(case.left.neighbourhood_evidence),
        remoteness=np.zeros_like(case.left.remoteness),
    )
    return _judged(_muted(case.scores, "around"), left, case.split.pool, target)


def without_typicality(case: Case, target: float) -> Answer:
    """The rule that compares an item with the mean of all labels, not with that of its own."""
    endless = patch.object(features_of, "_CLASS_MEAN_WEIGHT", 1e9)
    return _judged(case.scores, case.left, case.split.pool, target, endless)


def _judged(
    scores: Scores,
    left: LeftOutScores,
    pool: Places,
    target: float,
    changed: AbstractContextManager[object] | None = None,
) -> Answer:
    with changed or nullcontext():
        sure = fit_level(scores, left, pool, Terms.for_all(left, target)).confidence
    predictions = predict(sure, scores, pool)
    winners, silent = predictions.winners.copy(), predictions.winners < 0
    winners[silent] = nearest_of_each(scores, pool[silent]).argmax(axis=1)
    enough = sure.leave_one_out_accuracy >= MIN_ACCURACY
    limit = sure.limit if enough else UNREACHABLE
    return Answer(winners, predictions.probability, limit, probability=True)


BASELINES: Mapping[str, Rule] = {
    "nearest ≥ 0.30": known_cut,
    "share of 10 nearest": nearest_ten,
    "class means": class_means,
    "logistic": logistic,
    "LabelSpreading": label_spreading,
    "random forest": random_forest,
}
OURS: Mapping[str, Rule] = {"**neighbour graph**": graph_rule, "**nearest**": nearest_rule}
PARTS: Mapping[str, Rule] = {
    "without graph evidence": without_graph,
    "without class similarity": without_direct,
    "without nearest similarity": without_nearest,
    "without neighbourhood evidence": without_surroundings,
    "without class means": without_typicality,
}
RULES = {**BASELINES, **OURS, **PARTS}
