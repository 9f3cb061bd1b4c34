"""What the estimator is given: labels of every kind, weights, copies, zeros, tables, and tools."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lookalike import LookalikeClassifier
from lookalike.classifier.calibration.decision_rule import Method
from lookalike.errors import BadInput, BadVector

ROWS = [[1, 0], [3, 1], [0, 1], [1, 3]]

Digits = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Pictures of digits; the labels of ten of each, −1 for the others; and the truth."""
    vectors, truth = load_digits(return_X_y=True)
    chance, labels = np.random.default_rng(0), np.full(len(truth), -1)
    for digit in range(10):
        labels[chance.choice(np.flatnonzero(truth == digit), 10, replace=False)] = digit
    return vectors, labels, truth


# --- labels that stand for none -----------------------------------------------------------------


@pytest.mark.parametrize("y", [[-1, 1, -1, 1], [-1.0, 1.0, -1.0, 1.0]])
def test_minus_one_and_one_are_two_classes_and_a_warning_says_so(y: list[float]) -> None:
    with pytest.warns(UserWarning, match="set missing_label=-1") as caught:
        model = LookalikeClassifier().fit(ROWS, y)

    assert Path(caught[0].filename) == Path(__file__)
    assert model.classes_.tolist() == [-1, 1]
    assert model.transduction_.tolist() == y
    assert model.missing_label_ is None
    assert model.decide([[5, 1]]).tolist() == [None]


@pytest.mark.parametrize(
    ("missing", "y", "classes", "transduction"),
    [
        (-1, [-1, 1, -1, 1], [1], [-1, 1, -1, 1]),
        (None, [-1, 1, -1, 1], [-1, 1], [-1, 1, -1, 1]),
        (None, [-1, 0, 1, 1], [-1, 0, 1], [-1, 0, 1, 1]),
        ("auto", [-1, 0, 1, 1], [0, 1], [-1, 0, 1, 1]),
        ("auto", [-1, 0, -1, -1], [0], [-1, 0, -1, -1]),
        ("auto", [-1, None, 1, 1], [-1, 1], [-1, None, 1, 1]),
        (0, [0, 5, 6, 6], [5, 6], [0, 5, 6, 6]),
        (255, np.array([255, 5, 6, 6], np.uint8), [5, 6], [255, 5, 6, 6]),
        ("?", ["?", "a", "b", "b"], ["a", "b"], ["?", "a", "b", "b"]),
        ("?", [None, "a", "b", "b"], ["a", "b"], ["?", "a", "b", "b"]),
        ("", ["", "a", "b", "b"], ["a", "b"], ["", "a", "b", "b"]),
    ],
)
def test_what_stands_for_no_label_can_be_told(
    missing: object, y: Any, classes: list[Any], transduction: list[Any]
) -> None:
    model = LookalikeClassifier(missing_label=missing).fit(ROWS, y)

    assert model.classes_.tolist() == classes
    assert model.transduction_.tolist() == transduction


def test_nan_in_numbers_is_no_label_and_minus_one_is_a_class_then() -> None:
    model = LookalikeClassifier().fit(ROWS, [np.nan, 1.0, -1.0, -1.0])

    assert model.classes_.tolist() == [-1, 1]
    assert np.isnan(model.transduction_).tolist() == [True, False, False, False]
    assert np.isnan(model.missing_label_)


def test_infinity_is_still_an_error() -> None:
    with pytest.raises(ValueError, match="infinity"):
        LookalikeClassifier().fit(ROWS, [np.inf, np.nan, 1.0, 1.0])


def test_the_classes_of_a_first_partial_fit_tell_what_minus_one_is() -> None:
    both = LookalikeClassifier().partial_fit(ROWS, [-1, 1, -1, 1], classes=[-1, 1])
    later = LookalikeClassifier().partial_fit(ROWS, [-1, 1, -1, 1], classes=[0, 1])

    later.partial_fit(y=[0, -1, -1, -1], classes=[0, 1])

    assert both.transduction_.tolist() == [-1, 1, -1, 1]
    assert later.transduction_.tolist() == [0, 1, -1, 1]


def test_answers_to_two_classes_of_minus_one_and_one_say_none_for_the_others() -> None:
    model = LookalikeClassifier(missing_label=None).fit(ROWS, [-1, 1, None, None])

    model.partial_fit(y=[None, None, None, -1])

    assert model.transduction_.tolist() == [-1, 1, None, -1]


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (pd.Series([3, pd.NA, 7, 7], dtype="Int64"), [3, 7]),
        (pd.Series([3, -1, 7, 7], dtype="Int64"), [3, 7]),
        (pd.Series([3, -1, 7, 7], dtype=object), [3, 7]),
        (pd.Series(["a", None, "b", "b"], dtype="string"), ["a", "b"]),
        (pd.Series(["a", None, "b", "b"]), ["a", "b"]),
        (pd.Series(["a", None, "b", "b"], dtype="category"), ["a", "b"]),
        (pd.Series([3, -1, 7, 7], dtype="category"), [3, 7]),
        (pd.Series([True, None, False, False], dtype="boolean"), [False, True]),
    ],
)
def test_labels_of_a_table_keep_their_type(y: Any, classes: list[Any]) -> None:
    model = LookalikeClassifier().fit(ROWS, y)

    said = model.predict([[5, 1]]).tolist()

    assert model.classes_.tolist() == classes
    assert {type(label) for label in model.classes_.tolist()} == {type(classes[0])}
    assert said == [classes[0] if isinstance(classes[0], str) else y[0]]
    assert model.transduction_[1] in (None, -1)


# --- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "object", "Float64"])
def test_rows_of_every_number_type_are_decided_alike(dtype: Any, digits: Digits) -> None:
    vectors, labels, _ = digits
    table = pd.DataFrame(vectors, columns=[f"pixel {place}" for place in range(64)])

    model = LookalikeClassifier().fit(table.astype(dtype), labels)

    expected = LookalikeClassifier().fit(vectors, labels)
    assert np.array_equal(model.transduction_, expected.transduction_)
    assert model.feature_names_in_.tolist() == table.columns.tolist()
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table.rename(columns={"pixel 0": "first"}))


def test_tables_of_polars_are_taken(digits: Digits) -> None:
    polars = pytest.importorskip("polars")
    vectors, labels, _ = digits
    table = polars.DataFrame(vectors, schema=[f"pixel {place}" for place in range(64)])
    names = [None if label < 0 else str(label) for label in labels.tolist()]

    model = LookalikeClassifier().fit(table, polars.Series(names))

    assert model.feature_names_in_[0] == "pixel 0"
    expected = LookalikeClassifier().fit(vectors, labels).transduction_
    assert model.transduction_.tolist() == [str(one) if one >= 0 else None for one in expected]


@pytest.mark.parametrize("rows", [1, 5])
def test_one_class_and_one_row_are_answered(rows: int) -> None:
    model = LookalikeClassifier().fit(np.eye(5)[:rows], ["a"] * rows)

    assert model.predict([[1, 2, 3, 4, 5]]).tolist() == ["a"]
    assert model.predict_proba([[1, 2, 3, 4, 5]]).tolist() == [[1.0]]
    assert model.decide([[1, 2, 3, 4, 5]]).tolist() == [None]


def test_a_row_of_zeros_is_never_labelled_and_changes_nothing(digits: Digits) -> None:
    vectors, labels, _ = digits
    with_zeros = np.insert(vectors, [3, 700], 0, axis=0)
    also = np.insert(labels, [3, 700], [-1, 8])

    model = LookalikeClassifier().fit(with_zeros, also)

    expected = LookalikeClassifier().fit(vectors, labels)
    rest = np.delete(np.arange(len(also)), [3, 701])
    assert np.array_equal(model.transduction_[rest], expected.transduction_)
    assert model.transduction_[[3, 701]].tolist() == [-1, 8]
    assert model.confidence_[[3, 701]].tolist() == [0, 1]
    assert model.decide(np.zeros((2, 64))).tolist() == [-1, -1]
    assert model.predict_proba(np.zeros((1, 64)))[0] == pytest.approx(np.full(10, 0.1))
    mixed = np.insert(vectors[:9], 4, 0, axis=0)
    assert np.array_equal(
        np.delete(model.predict_proba(mixed), 4, axis=0), expected.predict_proba(vectors[:9])
    )


def test_a_label_with_rows_of_zeros_alone_is_refused() -> None:
    with pytest.raises(BadVector, match=r"row 1 of X is all zeros.*label 'b'"):
        LookalikeClassifier().fit([[1, 0], [0, 0], [2, 1]], ["a", "b", "a"])


@pytest.mark.parametrize("sparse", [csr_array, csr_matrix])
def test_sparse_rows_are_refused_with_a_way_out_that_works(sparse: Any) -> None:
    texts = ["red apple pie", "green apple", "apple tart", "loud drum", "old drum kit", "drum"]
    model = LookalikeClassifier()

    with pytest.raises(BadInput, match=r"X is sparse, with 2 columns.*TruncatedSVD"):
        model.fit(sparse(np.eye(2)), ["a", "b"])

    piped = make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0), model)
    piped.fit(texts, ["food", None, "food", "music", None, "music"])
    assert piped.predict(["an apple", "a drum", "nothing known"])[:2].tolist() == ["food", "music"]
    assert piped[-1].transduction_.tolist() == ["food", None, "food", "music", None, "music"]


# --- weights ------------------------------------------------------------------------------------


def repeated(
    vectors: NDArray[Any], labels: NDArray[Any], times: NDArray[np.int64]
) -> tuple[Any, Any]:
    return np.repeat(vectors, times, axis=0), np.repeat(labels, times)


@pytest.mark.parametrize("rule", [Method.LANDSCAPE, Method.SUGGEST])
def test_whole_weights_come_to_the_same_as_repeated_rows(rule: Method, digits: Digits) -> None:
    vectors, labels, _ = digits
    known = labels >= 0
    if rule is Method.SUGGEST:  # each label once
        known &= np.isin(
            np.arange(len(labels)), [np.flatnonzero(labels == d)[0] for d in range(10)]
        )
        labels = np.where(known, labels, -1)
    times = np.where(known, np.random.default_rng(1).integers(1, 5, len(labels)), 1)
    times[:4], times[np.flatnonzero(known)[-1]] = 0, 0

    weighted = LookalikeClassifier().fit(vectors, labels, sample_weight=times)

    again = LookalikeClassifier().fit(*repeated(vectors, labels, times))
    kept = times > 0
    assert weighted.standard_ == again.standard_
    assert weighted.standard_.rule is rule
    assert np.array_equal(weighted.predict_proba(vectors), again.predict_proba(vectors))
    assert np.array_equal(weighted.decide(vectors), again.decide(vectors))
    for name in ("transduction_", "confidence_"):
        once = repeated(vectors[kept], getattr(weighted, name)[kept], times[kept])[1]
        assert np.array_equal(once, getattr(again, name), equal_nan=True)
    plain = LookalikeClassifier().fit(vectors, labels)
    assert not np.array_equal(weighted.predict_proba(vectors), plain.predict_proba(vectors))


def test_copies_of_references_do_not_keep_it_from_labelling(digits: Digits) -> None:
    """Before, twice the same reference took two thirds of the labels away, or all."""
    vectors, labels, truth = digits
    once = LookalikeClassifier().fit(vectors, labels)
    times = np.where(labels >= 0, 5, 1)

    copied = LookalikeClassifier().fit(*repeated(vectors, labels, times))

    said = copied.transduction_[np.cumsum(times) - 1]
    assert np.array_equal(said, once.transduction_)
    assert (said != -1).mean() > 0.8
    assert (said == truth)[said != -1].mean() > 0.95


def test_neighbours_do_not_tell_a_copy_twice() -> None:
    rows = [[1, 0], [2, 0], [0, 1], [1, 1]]
    model: Any = LookalikeClassifier().fit(rows, ["a", "a", "b", None])

    _, places = model.kneighbors([[1, 0]], n_neighbors=2)

    assert places.tolist() == [[0, 2]]
    assert model.kneighbors(n_neighbors=1, return_distance=False).tolist() == [[2], [2], [0], [0]]
    with pytest.raises(ValueError, match="ask for 1 to 2"):
        model.kneighbors([[1, 0]], n_neighbors=3)


def test_doubtful_labels_of_little_weight_do_less_harm(digits: Digits) -> None:
    vectors, labels, truth = digits
    chance, waiting = np.random.default_rng(0), labels == -1
    wrong = chance.choice(np.flatnonzero(~waiting), 20, replace=False)
    noisy, trust = labels.copy(), np.ones(len(labels))
    noisy[wrong] = (labels[wrong] + chance.integers(1, 10, 20)) % 10
    trust[wrong] = 0.05

    blind = LookalikeClassifier().fit(vectors, noisy)
    wary = LookalikeClassifier().fit(vectors, noisy, sample_weight=trust)

    right = [(one.predict(vectors) == truth)[waiting].mean() for one in (blind, wary)]
    assert right[1] > right[0] + 0.01
    said = wary.transduction_[waiting]
    assert (said != -1).mean() > 0.5 > (blind.transduction_[waiting] != -1).mean()
    assert (said == truth[waiting])[said != -1].mean() >= 0.95


def test_a_row_of_weight_zero_is_decided_like_a_new_row(digits: Digits) -> None:
    vectors, labels, _ = digits
    out = np.array([np.flatnonzero(labels == 3)[0], np.flatnonzero(labels == -1)[0]])
    weights = np.ones(len(labels))
    weights[out] = 0

    model = LookalikeClassifier().fit(vectors, labels, sample_weight=weights)

    rest = np.delete(np.arange(len(labels)), out)
    without = LookalikeClassifier().fit(vectors[rest], labels[rest])
    assert np.array_equal(model.transduction_[rest], without.transduction_)
    assert model.transduction_[out].tolist() == without.decide(vectors[out]).tolist()
    assert (model.confidence_[out] < 1).all()


@pytest.mark.parametrize("known_rows", [True, False])
def test_weights_of_more_labels_come_to_the_same_as_one_fit(
    known_rows: bool, digits: Digits
) -> None:
    vectors, labels, _ = digits
    named, chance = labels >= 0, np.random.default_rng(2)
    weights = np.where(named, chance.choice([0.3, 1, 2], len(labels)), 1)
    model: Any = LookalikeClassifier()

    if known_rows:
        first = named & (chance.random(len(labels)) < 0.5)
        model.fit(vectors, np.where(first, labels, -1), np.where(first, weights, 1))
        later = named & ~first
        model.partial_fit(y=np.where(later, labels, -1), sample_weight=np.where(later, weights, 1))
    else:
        model.partial_fit(vectors[:900], labels[:900], sample_weight=weights[:900])
        model.partial_fit(vectors[900:], labels[900:], sample_weight=weights[900:])

    once = LookalikeClassifier().fit(vectors, labels, weights)
    assert np.array_equal(model.confidence_, once.confidence_)
    assert np.array_equal(model.predict_proba(vectors), once.predict_proba(vectors))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1, 1, 0.5], "row 3 has no label, so its sample_weight 0.5 means nothing"),
        ([1, -2, 1, 1], "sample_weight of row 1 is -2"),
        ([0, 0, 0, 1], "sample_weight is zero for every row with a label"),
        ([1, 1, 1], r"shape \(3,\): give one number for each row"),
        ([1, np.nan, 1, 1], "sample_weight contains NaN"),
    ],
)
def test_a_weight_that_means_nothing_is_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LookalikeClassifier().fit(ROWS, ["a", "a", "b", None], sample_weight=weights)


# --- scikit-learn's tools -----------------------------------------------------------------------


@pytest.mark.parametrize("names", [False, True])
def test_a_search_over_partly_labelled_rows_scores_the_labelled_ones(
    names: bool, digits: Digits
) -> None:
    vectors, _, truth = digits
    some = np.random.default_rng(3).random(len(truth)) < 0.4
    y: Any = np.where(some, truth, -1)[:600]
    if names:
        y = np.array(["" if label < 0 else f"digit {label}" for label in y])
    piped = make_pipeline(StandardScaler(), LookalikeClassifier(missing_label="" if names else -1))
    grid = {"lookalikeclassifier__target_precision": [0.9, 0.95]}

    search = GridSearchCV(piped, grid, cv=3).fit(vectors[:600], y)

    assert search.best_score_ > 0.8
    assert search.best_estimator_[-1].target_precision in (0.9, 0.95)


def test_a_score_without_any_label_is_an_error_and_weights_count_in_it() -> None:
    model: Any = LookalikeClassifier().fit(ROWS, ["a", "a", "b", None])

    assert model.score(ROWS, ["a", "b", "b", None]) == pytest.approx(2 / 3)
    assert model.score(ROWS, ["a", "b", "b", None], [1, 2, 1, 9]) == 0.5
    with pytest.raises(BadInput, match="no label to compare with"):
        model.score(ROWS, [None] * 4)


def test_cross_validation_passes_weights_on_and_gives_probabilities(digits: Digits) -> None:
    vectors, _, truth = (part[:600] for part in digits)
    model = LookalikeClassifier()
    weights = np.ones(600)
    weights[truth == 0] = 0.5

    table = cross_val_predict(model, vectors, truth, cv=3, method="predict_proba")
    scores = cross_val_score(model, vectors, truth, cv=3, params={"sample_weight": weights})

    assert (table.argmax(axis=1) == truth).mean() > 0.85
    assert min(scores) > 0.8


def test_a_copy_through_joblib_and_a_clone_keep_every_option(
    tmp_path: Path, digits: Digits
) -> None:
    vectors, labels, _ = digits
    model = LookalikeClassifier(0.9, closed_set=True, missing_label=-1).fit(vectors, labels)

    joblib.dump(model, tmp_path / "model")
    copy = joblib.load(tmp_path / "model")

    assert np.array_equal(copy.decide(vectors), model.decide(vectors))
    assert clone(copy).get_params() == model.get_params()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clone(model).fit(ROWS, [-1, 1, -1, 1]).classes_.tolist() == [1]
