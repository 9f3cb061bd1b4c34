"""LookalikeClassifier: the classifier as a scikit-learn estimator, on arrays without a store.

It decides by the same functions as a collection; only the rows are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from lookalike.classifier.calibration.training_data import decision_rule_of, fit_confidence
from lookalike.classifier.graph.graph import attach, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.graph.search import Matches, ReferenceArrays, nearest, shares, votes
from lookalike.classifier.policies import SUGGESTION_TEMPERATURE
from lookalike.classifier.scores.evidence import UNREACHED, mixed
from lookalike.classifier.scores.leave_one_out import nearest_of_each
from lookalike.classifier.scores.scores import Scores
from lookalike.errors import BadInput, BadVector, MissingExtra
from lookalike.labels import NO_LABEL
from lookalike.model import Taxonomy

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import assert_all_finite
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise MissingExtra.named("LookalikeClassifier", "sklearn") from error

Vectors = NDArray[np.float16]
Codes = NDArray[np.int32]
Probabilities = NDArray[np.float64]
Labels = ArrayLike | Sequence[object]

_TOP_K = Taxonomy(field="", reference="", reference_field="").top_k
_MISSING_ROWS = "rows without a label: the limit is learned from them"


class LookalikeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # it has no types
    """Labels as many vectors as it can at `target_precision`, and leaves the rest unlabelled.

    Semi-supervised: `fit` takes all vectors, also those without a label, and learns from both. What
    precision it can reach depends on the number of labels and rows: `standard_` is the decision
    rule, and says what is missing for more. `predict` always answers, as scikit-learn expects;
    `transduction_` and `decide` abstain. With `closed_set` no row has a label that is not in `y`.

    After `fit`: `classes_`; `transduction_` (n,), the label of each row of `X`, None or −1 if it
    abstains; `confidence_` (n,), the probability that the best label is right: 1 for labels in `y`,
    NaN if it cannot be estimated; `limit_`, the decision threshold, the lowest confidence at which
    a row is labelled, above 1 if none can be; `standard_`; `n_features_in_`.

    >>> model = LookalikeClassifier().fit([[1, 0], [0, 1], [3, 1]], ["a", "b", None])
    >>> model.predict([[5, 1]]).tolist(), model.transduction_.tolist()
    (['a'], ['a', 'b', None])
    """

    def __init__(self, target_precision: float = 0.95, *, closed_set: bool = False) -> None:
        self.target_precision = target_precision
        self.closed_set = closed_set

    def fit(self, X: ArrayLike, y: Labels) -> Self:  # noqa: N803 scikit-learn's name
        """Fit to vectors `X` (n, d) with labels `y` (n,): None is unlabelled, or −1 in numbers.

        Vectors are normalised to unit length. Raises a BadInput that is also a ValueError.
        """
        rows = _unit(validate_data(self, X, dtype=np.float64))
        return self._fit(rows, _labels(y, len(rows)), None)

    def partial_fit(
        self,
        X: ArrayLike | None = None,  # noqa: N803 scikit-learn's name
        y: Labels | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Add labels `y` (n,) of the known rows, or of new rows `X`; the result equals a single
        `fit`.

        A known row that `y` leaves unlabelled keeps its label; so `partial_fit(y=answers)` adds
        answers. `classes`, if given, are the only allowed labels.
        """
        if not hasattr(self, "_rows"):
            rows = _unit(validate_data(self, X, dtype=np.float64))
            given = labels = _labels(y, len(rows))
            scores = None
        elif X is None:
            rows, scores = self._rows, self._scores
            given = _labels(y, len(rows), like=self._labels)
            labels = np.where(_unlabelled(given), self._labels, given)
        else:
            new = self._new_rows(X)
            rows, scores = np.concatenate([self._rows, new]), None
            given = _labels(y, len(new), like=self._labels)
            labels = np.concatenate([self._labels, given])
        if classes is not None:
            _refuse_others(given, np.asarray(classes))
        return self._fit(rows, labels, scores)

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
            queries, own = self._rows, np.arange(len(self._rows))
        else:
            queries = self._new_rows(X)
        most = len(references.pks) - (own is not None)
        if not 1 <= n_neighbors <= most:
            raise _BadArgument(f"{n_neighbors} neighbours: ask for 1 to {most}, the labelled rows")
        near, similarities = nearest(
            queries, references.vectors, references.pks, n_neighbors, query_ids=own
        )
        return (1 - similarities.astype(np.float64), near) if return_distance else near

    def _fit(self, rows: Vectors, labels: NDArray[Any], scores: Scores | None) -> Self:
        if not 0 < self.target_precision < 1:
            raise _BadArgument(f"target_precision={self.target_precision!r}: give one in (0, 1)")
        known = ~_unlabelled(labels)
        classes, found = _classes(labels[known])
        codes = np.full(len(rows), NO_LABEL, np.int32)
        codes[known] = found
        ids = np.flatnonzero(known)
        self.classes_ = classes
        self._rows, self._labels = rows, labels
        self._references = ReferenceArrays(ids, codes[ids], rows[ids])
        options = (self.target_precision, bool(self.closed_set))
        self._rule, self.standard_ = _rule(rows, self._references, *options, scores)
        self._scores = self._rule.scores
        limit = self.standard_.limit
        self.limit_ = UNREACHABLE if limit is None else limit
        waiting = np.flatnonzero(~known)
        predictions = self._rule.known_rows(waiting)
        self.confidence_ = np.ones(len(rows))
        self.confidence_[waiting] = predictions.probability
        accepted = predictions.probability >= self.limit_
        codes[waiting] = np.where(accepted, predictions.winners, NO_LABEL)
        self.transduction_ = self._named(codes)
        return self

    def _predicted(self, X: ArrayLike) -> _Predictions:  # noqa: N803 scikit-learn's name
        check_is_fitted(self)
        return self._rule.new_rows(self._new_rows(X))

    def _new_rows(self, X: ArrayLike) -> Vectors:  # noqa: N803 scikit-learn's name
        return _unit(validate_data(self, X, dtype=np.float64, reset=False))

    def _named(self, codes: NDArray[np.integer]) -> NDArray[Any]:
        blank = _blank(self._labels)
        dtype = object if blank is None else np.result_type(self.classes_.dtype, np.int8)
        names = np.full(len(codes), blank, dtype)
        names[codes != NO_LABEL] = self.classes_[codes[codes != NO_LABEL]]
        return names


class _BadArgument(BadInput, ValueError):
    """An argument cannot be used; also a ValueError, because scikit-learn's callers expect one."""


class _BadRow(BadVector, ValueError):
    """A row is all zeros and has no direction; also a ValueError, for the same reason."""


# --- rules --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Predictions:
    """Predictions of n rows: `winners` int32 (n,), `probability` (n,) of being right, `shares` (n,
    classes).
    """

    winners: Codes
    probability: Probabilities
    shares: Probabilities


class _Rule(Protocol):
    """Predicts the rows it was fitted with, by their places, and new ones.

    `scores` can be reused when labels of the same rows change.
    """

    @property
    def scores(self) -> Scores | None: ...

    def known_rows(self, places: Places) -> _Predictions: ...

    def new_rows(self, vectors: Vectors) -> _Predictions: ...


def _rule(
    rows: Vectors, references: ReferenceArrays, target: float, closed: bool, scores: Scores | None
) -> tuple[_Rule, DecisionRule]:
    """Return the fitted rule and its decision rule; `scores` are earlier ones of the same rows."""
    rule, missing = method_for(np.bincount(references.codes).tolist(), len(rows))
    waiting = np.setdiff1d(np.arange(len(rows)), references.pks)
    if len(waiting) == 0:
        missing = (*missing, _MISSING_ROWS)
    if rule is Method.LANDSCAPE:
        scores = scores or Scores(build_neighbour_graph(np.arange(len(rows)), rows))
        graph_rule = _GraphRule.fitted(scores, references, waiting, target, closed)
        decision_rule = decision_rule_of(graph_rule.confidence, len(rows))
        decision_rule = replace(decision_rule, missing=(*missing, *decision_rule.missing))
        if decision_rule.rule is Method.LANDSCAPE:
            return graph_rule, decision_rule
        return _NearestRule(rows, references, None, scores), decision_rule
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
        evidence = shares(matches.similarities, temperature).astype(np.float64)
        total = np.zeros((len(evidence), int(self.references.codes.max()) + 1))
        rows, places = np.nonzero(matches.codes != NO_LABEL)
        np.add.at(total, (rows, matches.codes[rows, places]), evidence[rows, places])
        return np.asarray(total / total.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class _GraphRule:
    """Evidence over the graph of all rows decides; new rows are out-of-graph items."""

    scores: Scores
    confidence: Confidence

    @classmethod
    def fitted(
        cls,
        scores: Scores,
        references: ReferenceArrays,
        waiting: Places,
        target: float,
        closed: bool,
    ) -> _GraphRule:
        # Columns are sorted by name: these names sort like the codes.
        by_label = {
            f"{code:09d}": references.pks[references.codes == code]
            for code in np.unique(references.codes).tolist()
        }
        scores.set_references(by_label)
        return cls(scores, fit_confidence(scores, waiting, target, closed=closed))

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
    """Return rows at unit length, as a store keeps them."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    zero = np.flatnonzero(largest == 0)
    if len(zero):
        raise _BadRow(f"row {zero[0]} of X is all zeros and has no direction: leave it out")
    wide = rows / largest  # its square neither 0 nor inf
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(unit.astype(np.float32).astype(np.float16))


def _labels(y: Labels | None, rows: int, *, like: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return labels (n,) as they were given: numbers, or objects with None for the unlabelled."""
    if y is None:
        raise _BadArgument(
            "LookalikeClassifier requires y to be passed, but the target y is None; "
            "give None (-1 in numbers) for each row without a label"
        )
    given: NDArray[Any] = column_or_1d(y, warn=True)
    if given.dtype.kind in "iuf":
        assert_all_finite(given, input_name="y")
        check_classification_targets(given)
    else:
        given = given.astype(object)
        given[[not _is_itself(label) for label in given.tolist()]] = None
    check_consistent_length(given, np.empty(rows))
    if like is not None and _blank(given) != _blank(like):
        raise _BadArgument("labels were numbers and now are not, or the other way round")
    return given


def _is_itself(label: object) -> bool:
    """Return False for NaN and pandas' NA, which also mean that there is no label."""
    same = label == label
    return isinstance(same, bool | np.bool_) and bool(same)


def _blank(labels: NDArray[Any]) -> int | None:
    return None if labels.dtype.kind == "O" else -1


def _unlabelled(labels: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(labels == _blank(labels), np.bool_)


def _classes(labels: NDArray[Any]) -> tuple[NDArray[Any], Codes]:
    """Return the different labels, sorted, and the code of each given label."""
    if len(labels) == 0:
        raise _BadArgument("y names no class: give at least one label")
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise _BadArgument("labels of different types cannot be sorted: give one type") from error
    narrow = np.array(classes.tolist()) if _blank(labels) is None else classes
    return narrow, codes.astype(np.int32)


def _refuse_others(labels: NDArray[Any], classes: NDArray[Any]) -> None:
    known = set(classes.tolist())
    for label in labels[~_unlabelled(labels)].tolist():
        if label not in known:
            raise _BadArgument(f"{label!r} is not among the classes that were given")
