"""LookalikeClassifier: the classifier as a scikit-learn estimator, on arrays without a store.

It decides by the same functions as a collection; only the rows are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lookalike.classifier.calibration.confidence import Confidence, predict
from lookalike.classifier.calibration.decision_rule import DecisionRule, Method, method_for
from lookalike.classifier.calibration.nearest_rule import (
    Calibration,
    features,
    fit_nearest,
    probability,
)
from lookalike.classifier.calibration.thresholds import UNREACHABLE
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    decision_rule_of,
    fit_confidence,
    without_suspects,
)
from lookalike.classifier.graph.graph import attach, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.graph.search import (
    Matches,
    ReferenceArrays,
    nearest,
    shares,
    votes,
)
from lookalike.classifier.policies import SUGGESTION_TEMPERATURE
from lookalike.classifier.scores.evidence import UNREACHED, mixed
from lookalike.classifier.scores.leave_one_out import nearest_of_each
from lookalike.classifier.scores.scores import Scores
from lookalike.classifier.training_set import (
    AUTO,
    NOWHERE,
    BadArgument,
    Codes,
    LabelColumn,
    Nodes,
    Vectors,
    Weights,
    as_array,
    checked_weights,
    is_number,
)
from lookalike.errors import MissingExtra
from lookalike.labels import NO_LABEL
from lookalike.model import Taxonomy

try:
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.metrics import accuracy_score
    from sklearn.utils import assert_all_finite
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        check_array,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise MissingExtra.named("LookalikeClassifier", "sklearn") from error

Probabilities = NDArray[np.float64]
Labels = ArrayLike | Sequence[object]

_TOP_K = Taxonomy(field="", reference="", reference_field="").top_k
_MISSING_SUSPECTS = "labels look wrong (suspects_) and do not count: a weight above 1 confirms one"
_MISSING_ROWS = "rows without a label: the limit is learned from them"


class LookalikeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # it has no types
    """Labels as many vectors as it can at `target_precision`, and leaves the rest unlabelled.

    Semi-supervised: `fit` takes all vectors, also those without a label, and learns from both. What
    precision it can reach depends on the number of labels and rows: `standard_` is the decision
    rule, and says what is missing for more. `predict` always answers, as scikit-learn expects;
    `transduction_` and `decide` abstain. With `closed_set` no row has a label that is not in `y`.

    `missing_label` is what `y` has in rows without a label, beside None, NaN and NA, which always
    mean that. By default, "auto", it is −1 in numbers, unless all labels are −1 or 1, which are
    classes then, with a warning, or `y` has None or NaN. With None every value is a class.

    After `fit`: `classes_`; `transduction_` (n,), the label of each row of `X`, `missing_label_`
    if it abstains; `missing_label_`, which is None or −1 by default; `confidence_` (n,), the
    probability that the best label is right: 1 for labels in `y`, NaN if it cannot be estimated;
    `limit_`, the decision threshold, the lowest confidence at which a row is labelled, above 1 if
    none can be; `suspects_`, the places of rows whose label in `y` looks wrong, which are not used
    unless their weight is above 1; `standard_`; `n_features_in_`.

    >>> model = LookalikeClassifier().fit([[1, 0], [0, 1], [3, 1]], ["a", "b", None])
    >>> model.predict([[5, 1]]).tolist(), model.transduction_.tolist()
    (['a'], ['a', 'b', None])
    """

    def __init__(
        self,
        target_precision: float = 0.95,
        *,
        closed_set: bool = False,
        missing_label: object = AUTO,
    ) -> None:
        self.target_precision = target_precision
        self.closed_set = closed_set
        self.missing_label = missing_label

    def fit(
        self,
        X: ArrayLike,  # noqa: N803 scikit-learn's name
        y: Labels,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit to vectors `X` (n, d) with labels `y` (n,): None is unlabelled, or −1 in numbers.

        Vectors are normalised to unit length. A row of zeros has no direction: it gives no evidence
        and is never labelled. `sample_weight` (n,) is how much each labelled row counts as evidence
        for its label; below 1 it also counts less in calibration. Rows of the same direction and
        label are one reference, and their weights add up. A weight of 0 leaves a row out; other
        weights of unlabelled rows are refused. Raises a BadInput that is also a ValueError.
        """
        rows = self._checked(X, reset=True)
        labels = _labels(y, len(rows), self.missing_label)
        return self._fit(rows, labels, _weights(sample_weight, labels), None)

    def partial_fit(
        self,
        X: ArrayLike | None = None,  # noqa: N803 scikit-learn's name
        y: Labels | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Add labels `y` (n,) of the known rows, or of new rows `X`; the result equals a single
        `fit`.

        A known row that `y` leaves unlabelled keeps its label; so `partial_fit(y=answers)` adds
        answers. `classes`, if given, are the only allowed labels. `sample_weight` (n,) are the
        weights of the rows that `y` labels, 1 by default.
        """
        if not hasattr(self, "_rows"):
            rows = self._checked(X, reset=True)
            given = labels = _labels(y, len(rows), self.missing_label, classes)
            weights, known = _weights(sample_weight, given), None
        elif X is None:
            rows, known = self._rows, self._labels
            given = _labels(y, len(rows), self.missing_label_).like(known)
            labels, weights = given.over(known), _weights(sample_weight, given)
            weights = np.where(given.known | (weights == 0), weights, self._weights)
        else:
            new = self._checked(X, reset=False)
            rows, known = np.concatenate([self._rows, new]), self._labels
            given = _labels(y, len(new), self.missing_label_).like(known)
            labels = given.after(known)
            weights = np.concatenate([self._weights, _weights(sample_weight, given)])
        if classes is not None:
            given.refuse_others(classes)
        return self._fit(rows, labels, weights, None if known is None else self._scores)

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803 scikit-learn's name
        """Return the best label of each row, at any confidence; the nearest labelled row's if no
        label reaches it.
        """
        predictions = self._predicted(X)
        return np.asarray(self.classes_[predictions.winners])

    def decide(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803 scikit-learn's name
        """Return the label of each row, None (−1 in numbers) if the confidence is below the
        threshold.

        This is a separate method instead of an option of `predict`, because callers of `predict`,
        such as `cross_val_score`, must not receive an empty label.
        """
        predictions = self._predicted(X)
        accepted = predictions.probability >= self.limit_
        return self._named(np.where(accepted, predictions.winners, NO_LABEL))

    def predict_proba(self, X: ArrayLike) -> Probabilities:  # noqa: N803 scikit-learn's name
        """Return the probability (n, classes) of each of `classes_`, **given that it is one of
        them**.

        Rows sum to 1, so a row of a new category gets a label's probability all the same, often a
        high one. `decide` and `confidence_` account for rows of no known class.
        """
        return self._predicted(X).shares

    def score(
        self,
        X: ArrayLike,  # noqa: N803 scikit-learn's name
        y: Labels,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy of `predict` on the rows that have a label in `y`."""
        check_is_fitted(self)
        predicted = self.predict(X)
        labels = _labels(y, len(predicted), self.missing_label_)
        if not labels.known.any():
            raise BadArgument("y has no label to compare with: there is no accuracy")
        weights = None if sample_weight is None else np.asarray(sample_weight)[labels.known]
        return float(accuracy_score(labels.some(), predicted[labels.known], sample_weight=weights))

    def kneighbors(
        self,
        X: ArrayLike | None = None,  # noqa: N803 scikit-learn's name
        n_neighbors: int = 5,
        return_distance: bool = True,
    ) -> Places | tuple[Probabilities, Places]:
        """Return the nearest labelled rows: distances 1 − cosine (n, k), and places in the data.

        Without `X` the queries are the fitted rows, none of which is its own neighbour. These rows
        explain a decision.
        """
        check_is_fitted(self)
        references, own = self._references, None
        if X is None:
            queries, own = self._rows, self._nodes.of_row
        else:
            queries = self._checked(X, reset=False)
        most = len(references.pks) - (own is not None)
        if not 1 <= n_neighbors <= most:
            raise BadArgument(f"{n_neighbors} neighbours: ask for 1 to {most}, the labelled rows")
        near, similarities = nearest(
            queries, references.vectors, references.pks, n_neighbors, query_ids=own
        )
        places = self._nodes.places[near]
        return (1 - similarities.astype(np.float64), places) if return_distance else places

    def _fit(
        self, rows: Vectors, labels: LabelColumn, weights: Weights, scores: Scores | None
    ) -> Self:
        if not 0 < self.target_precision < 1:
            raise BadArgument(f"target_precision={self.target_precision!r}: give one in (0, 1)")
        self.classes_, codes = labels.coded(weights > 0)
        nodes = Nodes.of(rows, codes, weights)
        nodes.refuse_zeros(codes, self.classes_)
        self._rows, self._labels, self._weights = rows, labels, weights
        self.missing_label_: Any = labels.missing
        before: Nodes = getattr(self, "_nodes", nodes)
        if not np.array_equal(nodes.places, before.places):
            scores = None
        self._nodes, self._references = nodes, nodes.references(rows, codes)
        options = (self.target_precision, bool(self.closed_set))
        inputs = (rows[nodes.places], self._references, nodes)
        self._rule, self.standard_ = _rule(*inputs, *options, scores)
        self._scores = self._rule.scores
        limit = self.standard_.limit
        self.limit_ = UNREACHABLE if limit is None else limit
        self.suspects_ = nodes.places[self._rule.suspects]
        self.confidence_ = np.ones(len(rows))
        waiting = np.flatnonzero(codes == NO_LABEL)
        inside = nodes.of_row[waiting] != NOWHERE
        self._settle(codes, waiting[inside], self._rule.known_rows(nodes.of_row[waiting[inside]]))
        self._settle(codes, waiting[~inside], self._of_new(rows[waiting[~inside]]))
        self.transduction_ = self._named(codes)
        return self

    def _settle(self, codes: Codes, places: Places, predictions: _Predictions) -> None:
        """Set confidence and code of rows; those below the threshold have no label."""
        self.confidence_[places] = predictions.probability
        accepted = predictions.probability >= self.limit_
        codes[places] = np.where(accepted, predictions.winners, NO_LABEL)

    def _predicted(self, X: ArrayLike) -> _Predictions:  # noqa: N803 scikit-learn's name
        check_is_fitted(self)
        return self._of_new(self._checked(X, reset=False))

    def _of_new(self, rows: Vectors) -> _Predictions:
        """Return predictions of new rows; those of zeros get the commonest label, unsure."""
        counts = np.bincount(self._references.codes, self._references.weights)
        found = _Predictions(
            np.full(len(rows), counts.argmax(), np.int32),
            np.zeros(len(rows)),
            np.tile(counts / counts.sum(), (len(rows), 1)),
        )
        some = np.asarray(rows.any(axis=1), bool)
        if some.any():
            found.set(some, self._rule.new_rows(rows[some]))
        return found

    def _checked(self, X: ArrayLike | None, *, reset: bool) -> Vectors:  # noqa: N803 as above
        matrix: Any = X
        if issparse(matrix):
            raise BadArgument(
                f"X is sparse, with {matrix.shape[1]} columns, and only dense ones fit: "
                "put TruncatedSVD before it, or call X.toarray() if the columns are few"
            )
        return _unit(validate_data(self, X, dtype=np.float64, reset=reset))

    def _named(self, codes: NDArray[np.integer]) -> NDArray[Any]:
        blank: Any = self.missing_label_
        numbers = is_number(blank) and self.classes_.dtype.kind in "iuf"
        blank_type = np.min_scalar_type(blank) if numbers else object
        names = np.full(len(codes), blank, np.result_type(self.classes_.dtype, blank_type))
        names[codes != NO_LABEL] = self.classes_[codes[codes != NO_LABEL]]
        return names


# --- rules --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Predictions:
    """Predictions of n rows: `winners` int32 (n,), `probability` (n,) of being right, `shares` (n,
    classes).
    """

    winners: Codes
    probability: Probabilities
    shares: Probabilities

    def set(self, some: NDArray[np.bool_], others: _Predictions) -> None:
        """Replace the predictions of some of the rows."""
        self.winners[some], self.probability[some] = others.winners, others.probability
        self.shares[some] = others.shares


class _Rule(Protocol):
    """Predicts the rows it was fitted with, by their places, and new ones.

    `scores` can be reused when labels of the same rows change.
    """

    @property
    def scores(self) -> Scores | None: ...

    @property
    def suspects(self) -> Places: ...

    def known_rows(self, places: Places) -> _Predictions: ...

    def new_rows(self, vectors: Vectors) -> _Predictions: ...


def _rule(
    rows: Vectors,
    references: ReferenceArrays,
    nodes: Nodes,
    target: float,
    closed: bool,
    scores: Scores | None,
) -> tuple[_Rule, DecisionRule]:
    """Return the fitted rule and its decision rule; `scores` are earlier ones of the same rows."""
    rule, missing = method_for(np.bincount(references.codes).tolist(), len(rows))
    waiting = np.setdiff1d(np.arange(len(rows)), references.pks)
    if len(waiting) == 0:
        missing = (*missing, _MISSING_ROWS)
    if rule is Method.LANDSCAPE:
        if scores is None:
            scores = Scores(build_neighbour_graph(np.arange(len(rows)), rows))
        scores = scores.with_weights(nodes.whole_weights)
        graph_rule = _GraphRule.fitted(scores, references, waiting, nodes.weights, target, closed)
        decision_rule = decision_rule_of(graph_rule.confidence, len(rows))
        if len(graph_rule.suspects):
            missing = (*missing, f"{len(graph_rule.suspects)} {_MISSING_SUSPECTS}")
        decision_rule = replace(decision_rule, missing=(*missing, *decision_rule.missing))
        if decision_rule.rule is Method.LANDSCAPE:
            return graph_rule, decision_rule
        voting = references.without(graph_rule.suspects)
        return _NearestRule(rows, voting, None, scores, graph_rule.suspects), decision_rule
    lists = _NearestRule(rows, references, None, scores)
    calibration = fit_nearest(references, lists.matches(rows[waiting]), _TOP_K, target)
    if calibration is None:
        more = "references that separate the labels"
        return lists, DecisionRule(Method.SUGGEST, (*missing, more))
    decision_rule = DecisionRule(rule, missing, limit=calibration.limit, nearest=calibration)
    return replace(lists, calibration=calibration), decision_rule


@dataclass(frozen=True, slots=True)
class _NearestRule:
    """The nearest references decide; without a calibration they only suggest."""

    rows: Vectors
    references: ReferenceArrays
    calibration: Calibration | None
    scores: Scores | None
    suspects: Places = field(default_factory=lambda: np.empty(0, np.int64))

    def known_rows(self, places: Places) -> _Predictions:
        return self.new_rows(self.rows[places])

    def new_rows(self, vectors: Vectors) -> _Predictions:
        known, matches = self.calibration, self.matches(vectors)
        temperature = SUGGESTION_TEMPERATURE if known is None else known.temperature
        winners, share = votes(matches, temperature)
        unsure = np.full(len(vectors), np.nan)
        p = unsure if known is None else probability(known, features(matches, winners, share))
        return _Predictions(winners, p, self._shares(matches, temperature))

    def matches(self, vectors: Vectors) -> Matches:
        near = nearest(vectors, self.references.vectors, self.references.pks, _TOP_K)
        return self.references.matches(*near)

    def _shares(self, matches: Matches, temperature: float) -> Probabilities:
        evidence = shares(matches.similarities, temperature, matches.weights).astype(np.float64)
        total = np.zeros((len(evidence), int(self.references.codes.max()) + 1))
        rows, places = np.nonzero(matches.codes != NO_LABEL)
        np.add.at(total, (rows, matches.codes[rows, places]), evidence[rows, places])
        return np.asarray(total / total.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class _GraphRule:
    """Evidence over the graph of all rows decides; new rows are out-of-graph items."""

    scores: Scores
    confidence: Confidence
    suspects: Places

    @classmethod
    def fitted(
        cls,
        scores: Scores,
        references: ReferenceArrays,
        waiting: Places,
        weights: Weights,
        target: float,
        closed: bool,
    ) -> _GraphRule:
        # Columns are sorted by name: these names sort like the codes.
        by_label = {
            f"{code:09d}": references.pks[references.codes == code]
            for code in np.unique(references.codes).tolist()
        }
        scores = scores.for_references(by_label)
        voting, doubted = without_suspects(scores, np.flatnonzero(weights > 1))
        scores.set_references(voting)
        light = np.flatnonzero(weights < 1)  # these calibrate less, like references that look wrong
        trust = dict(zip(light.tolist(), weights[light].tolist(), strict=True))
        doubted = doubted._replace(right={**trust, **doubted.right})
        sampling = AnswerSampling(doubted=doubted)
        confidence = fit_confidence(scores, waiting, target, sampling=sampling, closed=closed)
        return cls(scores, confidence, doubted.places)

    def known_rows(self, places: Places) -> _Predictions:
        return self._predictions(self.scores, places)

    def new_rows(self, vectors: Vectors) -> _Predictions:
        graph = self.scores.neighbour_graph
        places = np.arange(len(graph), len(graph) + len(vectors))
        extended = self.scores.extended_to(attach(graph, places, vectors, copy=True))
        return self._predictions(extended, places)

    def _predictions(self, scores: Scores, places: Places) -> _Predictions:
        """Return predictions of rows; if no label reaches a row, the nearest labelled row wins."""
        predictions = predict(self.confidence, scores, places)
        graph_evidence, class_similarity = scores.table(places)
        reached = graph_evidence > UNREACHED[0]
        mix = self.confidence.sight.mix
        total = mixed(mix, graph_evidence, class_similarity).astype(np.float64)
        unreached = predictions.winners < 0
        total[unreached] = nearest_of_each(scores, places[unreached])
        winners = np.where(unreached, total.argmax(axis=1), predictions.winners)
        best = np.take_along_axis(total, winners[:, None], axis=1)
        total = np.where(reached | unreached[:, None], total, np.minimum(total, best - 1))
        odds = np.exp(total - best)
        share = odds / odds.sum(axis=1, keepdims=True)
        return _Predictions(winners.astype(np.int32), predictions.probability, share)


# --- input checks -------------------------------------------------------------------------------


def _unit(rows: NDArray[np.float64]) -> Vectors:
    """Return rows at unit length, as a store keeps them; rows of zeros stay zeros."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    wide = rows / np.where(largest > 0, largest, 1)  # its square neither 0 nor inf
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = wide / np.where(largest > 0, length, 1)
    return np.asarray(unit.astype(np.float32).astype(np.float16))


def _weights(sample_weight: ArrayLike | None, labels: LabelColumn) -> Weights:
    """Return the weights (n,) of rows with these labels, 1 by default."""
    if sample_weight is None:
        return np.ones(len(labels.known))
    given = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, copy=True, input_name="sample_weight"
    )
    return checked_weights(given, labels.known)


def _labels(
    y: Labels | None, rows: int, missing: object, classes: ArrayLike | None = None
) -> LabelColumn:
    """Return the labels (n,) in `y`, with `missing` for no label, after scikit-learn's checks."""
    if y is None:
        raise BadArgument(
            "LookalikeClassifier requires y to be passed, but the target y is None; "
            "give None (-1 in numbers) for each row without a label"
        )
    given: NDArray[Any] = column_or_1d(as_array(y), warn=True)
    check_consistent_length(given, np.empty(rows))
    labels = LabelColumn.of(given, missing, classes)
    if labels.are_numbers:
        assert_all_finite(labels.some(), input_name="y")
        check_classification_targets(np.where(labels.known, labels.values, -1))
    return labels
