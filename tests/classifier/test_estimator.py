"""The estimator: scikit-learn's conventions kept, and the same decisions as in a collection."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lookalike
from lookalike import LookalikeClassifier
from lookalike.classifier.calibration.decision_rule import Ground, Method
from lookalike.errors import BadInput, BadVector


@parametrize_with_checks([LookalikeClassifier()])  # type: ignore[untyped-decorator] # untyped there
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# --- data ---------------------------------------------------------------------------------------


def blobs(count: int, kinds: int = 30, *, width: float = 0.9) -> tuple[Any, NDArray[np.int64]]:
    """Vectors (count, 32) around centres, and which centre each is of."""
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((kinds, 32))
    kind = chance.integers(0, kinds, count)
    return centres[kind] + width * chance.standard_normal((count, 32)), kind


def few(truth: NDArray[np.int64], kinds: range, shots: int, seed: int = 0) -> NDArray[np.int64]:
    """The truth of `shots` rows of each of `kinds`, -1 everywhere else."""
    chance = np.random.default_rng(seed)
    labels = np.full(len(truth), -1)
    for kind in kinds:
        labels[chance.choice(np.flatnonzero(truth == kind), shots, replace=False)] = kind
    return labels


def as_objects(labels: NDArray[np.int64]) -> NDArray[Any]:
    return np.array([None if label < 0 else f"kind {label:02d}" for label in labels], object)


@pytest.fixture(scope="module")
def many() -> tuple[Any, NDArray[np.int64]]:
    """1,700 vectors of 30 kinds: enough for the landscape rule."""
    return blobs(1700)


@pytest.fixture(scope="module")
def model(many: tuple[Any, NDArray[np.int64]]) -> Any:
    return LookalikeClassifier().fit(many[0], few(many[1], range(24), 5))


# --- decisions ----------------------------------------------------------------------------------


def test_it_decides_what_a_collection_decides(
    many: tuple[Any, NDArray[np.int64]], tmp_path: Path
) -> None:
    vectors, truth = many
    labels = as_objects(few(truth, range(24), 5))
    ids = [f"v{number}" for number in range(len(vectors))]
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="passthrough")
        things.add(vectors=vectors, ids=ids)
        things.label({id: label for id, label in zip(ids, labels, strict=True) if label})
        expected = {one.id: one for one in things.documents()}

    model = LookalikeClassifier().fit(vectors, labels)

    assert model.standard_.rule is Method.LANDSCAPE
    assert model.transduction_.tolist() == [expected[id].label for id in ids]
    assert 0.3 < np.mean([label is not None for label in model.transduction_]) < 0.95
    waiting = [place for place, label in enumerate(labels) if label is None]
    sure = np.array([expected[ids[place]].confidence for place in waiting])
    rounded = np.where(sure <= 0.5, 5.1e-3, 5.1e-4)  # a collection tells fewer digits
    assert (np.abs(model.confidence_[waiting] - sure) < rounded).all()


def test_it_decides_what_a_collection_decides_with_few_labels(tmp_path: Path) -> None:
    vectors, truth = blobs(300, 6)
    labels = as_objects(few(truth, range(4), 5))
    ids = [f"v{number}" for number in range(len(vectors))]
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="passthrough")
        things.add(vectors=vectors, ids=ids)
        things.label({id: label for id, label in zip(ids, labels, strict=True) if label})
        expected = {one.id: one.label for one in things.documents()}

    model = LookalikeClassifier().fit(vectors, labels)

    assert model.standard_.ground is Ground.NONE
    assert model.standard_.missing
    assert model.transduction_.tolist() == [expected[id] for id in ids]


def test_it_leaves_out_the_wrong_labels_that_a_collection_leaves_out(
    many: tuple[Any, NDArray[np.int64]], tmp_path: Path
) -> None:
    vectors, truth = many
    given = few(truth, range(24), 5)
    wrong = np.flatnonzero(given >= 0)[::12]
    given[wrong] = (given[wrong] + 1) % 24
    labels, ids = as_objects(given), [f"v{number}" for number in range(len(vectors))]
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="passthrough")
        things.add(vectors=vectors, ids=ids)
        things.label({id: label for id, label in zip(ids, labels, strict=True) if label})
        expected = {one.id: one.label for one in things.documents()}

    model = LookalikeClassifier().fit(vectors, labels)

    assert len(model.suspects_) >= 7
    assert set(model.suspects_.tolist()) <= set(wrong.tolist())
    assert "labels look wrong (suspects_)" in " ".join(model.standard_.missing)
    assert model.transduction_.tolist() == [expected[id] for id in ids]
    assert (model.transduction_ != None).mean() > 0.3  # noqa: E711 elementwise
    confirmed = np.ones(len(vectors))
    confirmed[model.suspects_] = 2
    again = LookalikeClassifier().fit(vectors, labels, sample_weight=confirmed)
    assert not set(again.suspects_.tolist()) & set(model.suspects_.tolist())


def test_on_digits_it_labels_precisely_where_it_can_promise_to() -> None:
    vectors, truth = load_digits(return_X_y=True)
    precision, coverage = [], []

    for seed in range(5):
        labels = few(truth, range(10), 10, seed)
        model = LookalikeClassifier().fit(vectors, labels)
        waiting = labels == -1
        said, right = model.transduction_[waiting], truth[waiting]
        precision.append((said == right)[said != -1].mean())
        coverage.append((said != -1).mean())

    assert min(precision) >= 0.95
    assert np.mean(coverage) >= 0.7


def test_on_digits_seven_labels_cannot_tell_how_much_is_new_so_it_labels_nothing() -> None:
    vectors, truth = load_digits(return_X_y=True)

    model = LookalikeClassifier().fit(vectors, few(truth, range(7), 10))

    assert model.standard_.ground is Ground.NONE
    assert model.standard_.missing == (
        "7 labels are too few to estimate the share of unknown categories: check 18 documents, or "
        "declare that there are no other labels (closed_set)",
    )
    assert (model.decide(vectors) == -1).all()
    assert (model.predict(vectors) == truth)[truth < 7].mean() > 0.9


def test_new_rows_are_decided_as_rows_of_the_fit_would_be(model: Any) -> None:
    vectors, truth = blobs(2400)
    new, kind = vectors[1700:], truth[1700:]

    said = model.decide(new)

    told, never = kind < 24, kind >= 24
    assert (said == kind)[said != -1].mean() >= 0.85
    assert (said != -1)[told].mean() >= 0.8
    assert (said != -1)[never].mean() <= 0.35
    assert (model.predict(new) == kind)[told].mean() >= 0.97


def test_deciding_rows_together_or_alone_is_the_same(
    model: Any, many: tuple[Any, NDArray[np.int64]]
) -> None:
    rows = many[0][:20] + 0.1

    alone = [model.decide(row[None])[0] for row in rows]

    assert model.decide(rows).tolist() == alone


def test_the_label_stands_where_the_confidence_reaches_the_limit(model: Any) -> None:
    given = model.confidence_ == 1

    assert 0 < model.limit_ < 1
    assert ((model.transduction_ != -1) == (model.confidence_ >= model.limit_)).all()
    assert given.sum() >= 24 * 5


def test_a_higher_target_labels_less(many: tuple[Any, NDArray[np.int64]], model: Any) -> None:
    vectors, truth = many

    strict = LookalikeClassifier(0.99).fit(vectors, few(truth, range(24), 5))

    assert (strict.transduction_ != -1).sum() < (model.transduction_ != -1).sum()


def test_too_few_labels_only_suggest() -> None:
    model = LookalikeClassifier().fit([[1, 0], [0, 1], [3, 1]], ["a", "b", None])

    assert model.standard_.rule is Method.SUGGEST
    assert model.limit_ > 1
    assert np.isnan(model.confidence_).tolist() == [False, False, True]
    assert model.decide([[5, 1]]).tolist() == [None]
    assert model.predict([[5, 1]]).tolist() == ["a"]


def test_without_unlabelled_rows_it_says_that_the_limit_is_missing() -> None:
    vectors, truth = blobs(200, 5)

    model = LookalikeClassifier().fit(vectors, truth)

    assert any("rows without a label" in missing for missing in model.standard_.missing)
    assert set(model.decide(vectors + 0.01).tolist()) == {-1}
    assert model.score(vectors, truth) > 0.95


# --- probabilities and neighbours ---------------------------------------------------------------


@pytest.mark.parametrize("count", [300, 1700])
def test_probabilities_sum_to_one_and_agree_with_predict(count: int) -> None:
    vectors, truth = blobs(count)
    model = LookalikeClassifier().fit(vectors, few(truth, range(24), 3))

    table = model.predict_proba(vectors[:200])

    assert table.shape == (200, 24)
    assert table.sum(axis=1) == pytest.approx(np.ones(200))
    assert (model.classes_[table.argmax(axis=1)] == model.predict(vectors[:200])).all()


def test_where_no_label_is_heard_the_nearest_labelled_row_answers_and_nothing_is_decided() -> None:
    rows, truth = blobs(1700, width=0.3)
    labels = few(truth, range(4), 5)
    model = LookalikeClassifier().fit(rows, labels)
    silent, voting = np.flatnonzero(model.confidence_ == 0), np.flatnonzero(labels >= 0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    near = voting[(centred[silent] @ centred[voting].T).argmax(axis=1)]

    shares, answers = model.predict_proba(rows[silent]), model.predict(rows[silent])

    assert model.standard_.rule is Method.LANDSCAPE
    assert len(silent) > 1000
    assert np.array_equal(model.classes_[shares.argmax(axis=1)], answers)
    assert np.mean(answers == truth[near]) > 0.99  # both are as near, to the last digits
    assert (model.decide(rows[silent]) == -1).all()


def test_neighbours_are_the_nearest_labelled_rows_and_none_is_its_own() -> None:
    rows = [[1, 0], [0, 1], [3, 1], [1, 1]]
    model: Any = LookalikeClassifier().fit(rows, ["a", "b", None, "c"])

    distances, places = model.kneighbors([[2, 0]], n_neighbors=3)

    assert places.tolist() == [[0, 3, 1]]
    assert distances[0] == pytest.approx([0, 1 - 0.5**0.5, 1], abs=1e-3)
    assert model.kneighbors(n_neighbors=1, return_distance=False).tolist() == [[3], [3], [0], [0]]


def test_more_neighbours_than_there_are_labelled_rows_is_an_error() -> None:
    model = LookalikeClassifier().fit([[1, 0], [0, 1], [3, 1]], ["a", "b", None])

    with pytest.raises(ValueError, match="5 neighbours: ask for 1 to 2"):
        model.kneighbors([[1, 0]])


# --- more labels --------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Whether two models have learned the same, to the bit."""
    pairs = [(one.transduction_, other.transduction_), (one.classes_, other.classes_)]
    equal = all(np.array_equal(first, second) for first, second in pairs)
    sure = np.array_equal(one.confidence_, other.confidence_, equal_nan=True)
    return equal and sure and one.standard_ == other.standard_


@pytest.mark.parametrize("count", [200, 1700])
def test_new_labels_or_rows_come_to_the_same_as_one_fit(count: int) -> None:
    vectors, truth = blobs(count)
    first, more = few(truth, range(22), 2), few(truth, range(24), 2, seed=1)
    both = np.where(more != -1, more, first)
    half = count - 100

    answered = LookalikeClassifier().fit(vectors, first).partial_fit(y=more)
    grown = LookalikeClassifier().fit(vectors[:half], both[:half])
    grown.partial_fit(vectors[half:], both[half:])

    expected = LookalikeClassifier().fit(vectors, both)
    assert same(answered, expected)
    assert same(grown, expected)
    assert not same(LookalikeClassifier().fit(vectors, first), expected)


def test_many_rounds_of_answers_come_to_the_same_as_one_fit(
    many: tuple[Any, NDArray[np.int64]],
) -> None:
    vectors, truth = many
    model, labels = LookalikeClassifier(), np.full(len(truth), -1)

    for seed in range(4):
        answers = few(truth, range(24), 1, seed)
        labels = np.where(answers != -1, answers, labels)
        model.partial_fit(None if seed else vectors, answers)

    assert same(model, LookalikeClassifier().fit(vectors, labels))


def test_a_label_outside_the_classes_that_may_come_is_refused() -> None:
    with pytest.raises(BadInput, match="'c' is not among the classes"):
        LookalikeClassifier().partial_fit(np.eye(2), ["a", "c"], classes=["a", "b"])


# --- labels and rows ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "classes", "blank"),
    [
        (["b", None, "a"], ["a", "b"], None),
        ([7, -1, 3], [3, 7], -1),
        ([7.0, -1.0, 3.0], [3, 7], -1),
        (np.array([9, None, 3], object), [3, 9], None),
        (np.array(["b", np.nan, "a"], object), ["a", "b"], None),
        ([True, None, False], [False, True], None),
    ],
)
def test_none_or_minus_one_is_no_label(y: Any, classes: list[Any], blank: Any) -> None:
    model = LookalikeClassifier().fit([[1, 0], [3, 1], [0, 1]], y)

    assert model.classes_.tolist() == classes
    assert model.transduction_.tolist() == [y[0], blank, y[2]]


def test_labels_as_numbers_or_names_are_decided_alike(
    many: tuple[Any, NDArray[np.int64]], model: Any
) -> None:
    vectors, truth = many

    named = LookalikeClassifier().fit(vectors, as_objects(few(truth, range(24), 5)))

    assert named.transduction_.tolist() == as_objects(model.transduction_).tolist()


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        ([[1, 0], [0, 0]], ["a", "b"], BadVector, "row 1 of X is all zeros"),
        ([[1, 0], [0, 1]], [None, None], BadInput, "names no class"),
        ([[1, 0], [0, 1]], [-1, -1], BadInput, "names no class"),
        ([[1, 0], [0, 1]], np.array(["a", 1], object), BadInput, "different types"),
        ([[1, 0], [0, 1]], None, BadInput, "requires y"),
        ([[1, 0], [0, 1]], ["a"], ValueError, "inconsistent numbers of samples"),
        ([[1, 0], [0, np.inf]], ["a", "b"], ValueError, "infinity"),
    ],
)
def test_what_cannot_be_used_is_a_value_error_that_names_it(
    X: Any,  # noqa: N803 scikit-learn's name
    y: Any,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        LookalikeClassifier().fit(X, y)

    assert isinstance(caught.value, error)


def test_numbers_and_names_do_not_mix_over_time() -> None:
    model = LookalikeClassifier().fit(np.eye(2), ["a", "b"])

    with pytest.raises(BadInput, match="labels were numbers"):
        model.partial_fit(y=[1, 2])


@pytest.mark.parametrize("target", [0, 1, 95, -0.5])
def test_an_impossible_target_is_refused(target: float) -> None:
    with pytest.raises(BadInput, match="target_precision="):
        LookalikeClassifier(target).fit(np.eye(2), ["a", "b"])


def test_the_length_of_a_vector_does_not_count(many: tuple[Any, NDArray[np.int64]]) -> None:
    vectors, truth = blobs(200, 5)
    labels = few(truth, range(5), 5)
    huge = vectors * 2.0 ** np.random.default_rng(0).integers(-900, 900, (len(vectors), 1))

    model = LookalikeClassifier().fit(huge, labels)

    assert same(model, LookalikeClassifier().fit(vectors, labels))


# --- as scikit-learn uses it --------------------------------------------------------------------


def test_it_works_in_a_pipeline_and_in_cross_validation() -> None:
    vectors, truth = blobs(200, 4)
    piped = make_pipeline(StandardScaler(), LookalikeClassifier())

    scores = cross_val_score(piped, vectors, truth, cv=4)

    assert scores.mean() > 0.95


def test_a_copy_from_a_pickle_says_the_same_and_a_clone_knows_nothing(
    model: Any, many: tuple[Any, NDArray[np.int64]]
) -> None:
    copy = pickle.loads(pickle.dumps(model))

    assert same(copy, model)
    assert (copy.decide(many[0][:50]) == model.decide(many[0][:50])).all()
    with pytest.raises(NotFittedError):
        clone(model).decide(many[0])


def test_thousands_of_rows_take_seconds() -> None:
    vectors, truth = blobs(4000)
    start = time.perf_counter()

    model = LookalikeClassifier().fit(vectors, few(truth, range(24), 5))

    assert model.standard_.rule is Method.LANDSCAPE
    assert time.perf_counter() - start < 12, "about 2 s on a quiet machine"


def test_without_scikit_learn_the_rest_works_and_the_pip_line_is_told() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import lookalike\n"
        "try: lookalike.LookalikeClassifier\n"
        "except lookalike.LookalikeError as error: print(type(error).__name__, error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.startswith("MissingExtra")
    assert "pip install 'lookalike[sklearn]'" in done.stdout


def test_it_loads_no_database_code() -> None:
    code = "import sys, lookalike.classifier.estimator; print('sqlalchemy' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "False"
