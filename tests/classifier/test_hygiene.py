"""What is said of references, near-duplicates and candidates for promotion, on small made sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import Confidence, Terms, fit_level
from lookalike.classifier.graph.graph import build_neighbour_graph
from lookalike.classifier.graph.search import NO_ID, NO_SIMILARITY, Matches, nearest, with_codes
from lookalike.classifier.review.reference_checks import (
    LeaveOneOutTrials,
    attributions,
    conflicting,
    confused_pairs,
    duplicate_bound,
    duplicates,
    health,
    landscape_trials,
    suspects,
    thin,
    unbalanced,
    vector_trials,
    with_copies,
)
from lookalike.classifier.scores.evidence import UNREACHED
from lookalike.classifier.scores.leave_one_out import leave_one_out
from lookalike.classifier.scores.scores import Scores
from lookalike.library.collection.promotion import Candidates, Hold, gate

Codes = NDArray[np.int64]
Vectors = NDArray[np.float16]

LABELS, EACH = 6, 8


def clusters(
    labels: int = LABELS, each: int = EACH, *, spread: float = 0.4, dimension: int = 16
) -> tuple[Codes, Vectors]:
    """Unit vectors around one centre a label, and their codes, mixed."""
    chance = np.random.default_rng(labels)
    codes = chance.permutation(np.repeat(np.arange(labels), each))
    centres = chance.standard_normal((labels, dimension))
    rows = centres[codes] + spread * chance.standard_normal((len(codes), dimension))
    return codes, unit(rows)


def unit(rows: NDArray[Any]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


def by_landscape(codes: Codes, vectors: Vectors) -> tuple[LeaveOneOutTrials, Scores, Confidence]:
    """Trials of the first half of the items, which are the references; the rest only lies there."""
    scores = Scores(build_neighbour_graph(np.arange(len(vectors)), vectors))
    scores.set_references({str(c): np.flatnonzero(codes == c) for c in np.unique(codes)})
    left = leave_one_out(scores, np.arange(len(codes)))
    waiting = np.arange(len(codes), len(vectors))
    confidence = fit_level(scores, left, waiting, Terms.for_all(left, 0.9)).confidence
    return landscape_trials(scores, confidence.sight.mix), scores, confidence


def trials_of(*rows: tuple[int, int, float]) -> LeaveOneOutTrials:
    """Trials from own label, rival and lead."""
    own, rival, lead = (np.array(column) for column in zip(*rows, strict=True))
    return LeaveOneOutTrials(np.arange(len(rows)), own, rival, lead.astype(np.float32))


# --- suspects -------------------------------------------------------------------------------------


def test_a_wrong_label_is_the_first_suspect_and_the_right_one_is_what_it_looks_like() -> None:
    codes, vectors = clusters()
    truth = codes[5]
    codes[5] = (truth + 1) % LABELS

    found = suspects(vector_trials(np.arange(100, 148), codes, vectors))

    assert (found[0].reference, found[0].looks_like, found[0].own) == (105, truth, codes[5])


def test_the_landscape_finds_the_same_suspect() -> None:
    codes, vectors = clusters(each=2 * EACH)
    codes = codes[: len(vectors) // 2]
    truth = codes[5]
    codes[5] = (truth + 1) % LABELS

    found = suspects(by_landscape(codes, vectors)[0])

    assert (found[0].reference, found[0].looks_like) == (5, truth)


def test_the_trials_of_the_landscape_are_its_leave_one_out_scores() -> None:
    codes, vectors = clusters(each=2 * EACH)
    trials, scores, confidence = by_landscape(codes[: len(vectors) // 2], vectors)

    left = leave_one_out(scores, trials.references)
    total = (
        confidence.sight.mix[0] * left.graph_evidence
        + confidence.sight.mix[1] * left.class_similarity
    )
    order = np.argsort(left.places)
    said = total.argmax(axis=1)[order]

    assert np.array_equal(trials.outcome, said)
    assert np.array_equal(trials.own, left.own[order])


def test_where_its_wrong_label_is_not_heard_it_is_suspected_the_more_the_less_it_is_like_it() -> (
    None
):
    codes, vectors = clusters(labels=12, each=60, spread=0.2)
    codes = codes[:200]
    wrong = np.arange(0, 200, 20)
    codes[wrong] = (codes[wrong] + 1 + np.arange(len(wrong))) % 12

    trials, scores, _ = by_landscape(codes, vectors)

    left = leave_one_out(scores, wrong)
    assert (left.graph_evidence[np.arange(len(wrong)), left.own] == UNREACHED[0]).all()
    leads = trials.margin[np.searchsorted(trials.references, left.places)]
    assert np.array_equal(np.argsort(leads), np.argsort(-left.own_similarity))
    assert len(np.unique(leads)) == len(wrong)


def test_right_labels_of_separate_kinds_give_no_suspect() -> None:
    codes, vectors = clusters(spread=0.2)

    assert suspects(vector_trials(np.arange(len(codes)), codes, vectors)) == []


def test_suspects_come_worst_first_and_only_above_the_lead() -> None:
    trials = trials_of((0, 1, 3.1), (0, 1, 2.0), (1, 0, 9.0), (1, 0, -4.0))

    assert [one.reference for one in suspects(trials)] == [2, 0]
    assert [one.reference for one in suspects(trials, margin=1.0)] == [2, 0, 1]


def test_the_order_in_which_references_are_given_changes_nothing() -> None:
    codes, vectors = clusters()
    codes[5] = (codes[5] + 1) % LABELS
    ids, mixed = np.arange(len(codes)), np.random.default_rng(0).permutation(len(codes))

    straight = vector_trials(ids, codes, vectors)
    turned = vector_trials(ids[mixed], codes[mixed], vectors[mixed])

    assert np.array_equal(straight.references, turned.references)
    assert np.array_equal(straight.rival, turned.rival)
    assert straight.margin == pytest.approx(turned.margin, abs=1e-3)


def test_codes_need_not_be_without_gaps() -> None:
    codes, vectors = clusters()

    plain = vector_trials(np.arange(len(codes)), codes, vectors)
    gaps = vector_trials(np.arange(len(codes)), 10 * codes + 7, vectors)

    assert np.array_equal(gaps.own, 10 * plain.own + 7)
    assert np.array_equal(gaps.rival, 10 * plain.rival + 7)


@pytest.mark.parametrize(
    ("codes", "vectors"),
    [
        (np.empty(0, np.int64), np.empty((0, 4), np.float16)),
        (np.zeros(6, np.int64), clusters(6, 1)[1]),
        (np.arange(6), clusters(6, 1)[1]),
    ],
    ids=["no reference", "one label", "one reference a label"],
)
def test_where_nothing_can_be_tried_nothing_is_suspected(codes: Codes, vectors: Vectors) -> None:
    trials = vector_trials(np.arange(len(codes)), codes, vectors)

    assert (trials.outcome == -1).all()
    assert suspects(trials) == []
    assert confused_pairs(trials) == []
    assert all(math.isnan(one.recall) for one in health(trials))


def test_a_landscape_without_references_has_no_trials() -> None:
    scores = Scores(build_neighbour_graph(np.arange(48), clusters()[1]))

    assert len(landscape_trials(scores, (1.0, 5.0)).references) == 0


def test_a_reference_alone_in_its_label_is_not_suspected_but_can_be_a_rival() -> None:
    codes, vectors = clusters(3, 6)
    alone = int(np.flatnonzero(codes == 0)[0])
    codes[codes == 0] = 1
    codes[alone] = 2
    codes[np.flatnonzero(codes == 2)[0]] = 5

    trials = vector_trials(np.arange(len(codes)), codes, vectors)

    assert trials.outcome[codes == 5] == [-1]
    assert 5 not in {one.own for one in suspects(trials)}
    assert (trials.rival == 5).any()


def test_identical_vectors_with_many_labels_are_no_suspects() -> None:
    vectors = np.repeat(clusters(2, 1)[1][:1], 12, axis=0)

    trials = vector_trials(np.arange(12), np.arange(12) % 3, vectors)

    assert suspects(trials) == []
    assert np.isfinite(trials.margin).all()


def test_thousands_of_labels_are_tried() -> None:
    codes, vectors = clusters(2000, 2, spread=0.05)

    trials = vector_trials(np.arange(len(codes)), codes, vectors)

    assert (trials.outcome == codes).mean() > 0.9


# --- health ---------------------------------------------------------------------------------------


def test_health_counts_what_the_trials_say() -> None:
    trials = trials_of(
        (0, 1, -1.0), (0, 1, -1.0), (0, 1, 2.0), (0, 2, 0.5), (1, 0, -1.0), (1, 0, -1.0)
    )

    zero, one = health(trials)

    assert (zero.references, zero.recall, zero.precision) == (4, 0.5, 1.0)
    assert (zero.confused_with, zero.confused) == (1, 1)
    assert (one.references, one.recall, one.precision) == (2, 1.0, 2 / 3)
    assert (one.confused_with, one.confused) == (-1, 0)


def test_a_label_with_fewer_than_five_references_is_thin() -> None:
    trials = trials_of(*[(0, 1, -1.0)] * 4, *[(1, 0, -1.0)] * 5)

    assert thin(health(trials)) == [0]


def test_a_label_far_from_the_median_is_unbalanced_either_way() -> None:
    sizes = {0: 10, 1: 10, 2: 10, 3: 41, 4: 2, 5: 40, 6: 3}
    rows = [(label, 1, -1.0) for label, size in sizes.items() for _ in range(size)]

    assert unbalanced(health(trials_of(*rows))) == [3, 4]
    assert unbalanced([]) == []


def test_two_labels_are_confused_above_a_fifth_of_both_their_trials() -> None:
    fifth = [(0, 1, 1.0), *[(0, 1, -1.0)] * 4, (1, 0, 1.0), *[(1, 0, -1.0)] * 4]
    more = [*fifth[1:], (1, 0, 1.0), (1, 0, 1.0)]

    assert confused_pairs(trials_of(*fifth)) == []
    (pair,) = confused_pairs(trials_of(*more))
    assert (pair.first, pair.second, pair.share) == (0, 1, 3 / 11)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(-9, 9)), min_size=1),
)
def test_recalls_and_precisions_speak_of_the_same_right_trials(
    rows: list[tuple[int, int, float]],
) -> None:
    tried = [(own, rival if rival != own else 5, lead) for own, rival, lead in rows]
    trials = trials_of(*tried)

    labels = health(trials)

    right = sum(one.recall * one.references for one in labels)
    assert right == pytest.approx(int((trials.outcome == trials.own).sum()))
    assert sum(one.references for one in labels) == len(rows)


# --- corrections ----------------------------------------------------------------------------------


def test_a_reference_that_is_often_wrong_is_blamed_before_one_that_is_wrong_more_times() -> None:
    often = [(7, 0, 1)] * 5
    busy = [(3, 0, 2)] * 6 + [(3, 0, 0)] * 60
    once = [(9, 0, 1)]
    sources, automatic, said = np.array(often + busy + once).T

    found = attributions(sources, automatic, said)

    assert [one.reference for one in found] == [7, 9, 3]
    assert [(one.corrected, one.confirmed) for one in found] == [(5, 0), (1, 0), (6, 60)]
    assert found[0].at_least == pytest.approx(0.5655, abs=1e-4)
    assert found[0].instead == 1


def test_who_was_only_confirmed_or_is_nobody_is_not_blamed() -> None:
    sources, automatic, said = np.array([(7, 0, 0), (-1, 0, 1)]).T

    assert attributions(sources, automatic, said) == []


def test_a_label_taken_away_without_another_counts_as_a_correction() -> None:
    (one,) = attributions(np.array([4, 4, 4]), np.array([0, 0, 0]), np.array([-1, -1, 2]))

    assert (one.corrected, one.instead) == (3, -1)


# --- near-duplicates ------------------------------------------------------------------------------


def near_each_other(codes: Codes, vectors: Vectors, k: int = 10) -> Matches:
    ids = np.arange(len(codes))
    lists = nearest(vectors, vectors, ids, k, query_ids=ids)
    return with_codes(*lists, ids, codes.astype(np.int32))


def test_the_bound_lets_a_tenth_of_a_reference_through_by_chance() -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((3000, 8)))

    few, many = duplicate_bound(vectors, 50), duplicate_bound(vectors, 1000)
    pairs = (vectors.astype(float) @ vectors.T)[np.triu_indices(3000, 1)]

    assert (pairs >= few).mean() == pytest.approx(1e-3, rel=0.1)
    assert (pairs >= many).mean() == pytest.approx(1e-4, rel=0.3)


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_of_too_few_documents_only_identical_ones_are_duplicates(count: int) -> None:
    vectors = clusters(30, 1)[1][:count]

    assert duplicate_bound(vectors, count) == pytest.approx(0.999)


def test_identical_vectors_are_one_group() -> None:
    codes, vectors = np.zeros(300, np.int64), np.repeat(clusters(2, 1)[1][:1], 300, axis=0)

    (group,) = duplicates(
        np.arange(300), codes, near_each_other(codes, vectors), duplicate_bound(vectors, 300)
    )

    assert group.references == tuple(range(300))
    assert not group.conflict


def test_duplicates_with_one_label_are_redundant_and_with_two_a_conflict_that_comes_first() -> None:
    codes, vectors = clusters()
    vectors[3] = vectors[1]
    codes[3] = codes[1]
    vectors[40] = vectors[20]
    codes[40] = (codes[20] + 1) % LABELS

    found = duplicates(np.arange(len(codes)), codes, near_each_other(codes, vectors), 0.999)

    assert [one.references for one in found] == [(20, 40), (1, 3)]
    assert [one.conflict for one in found] == [True, False]
    assert found[0].labels == (codes[20], codes[40])


def test_a_document_whose_near_duplicates_disagree_is_in_conflict() -> None:
    matches = Matches(
        ids=np.array([[1, 2, 3], [1, 2, 3], [1, 3, 2], [1, NO_ID, NO_ID]]),
        similarities=np.array(
            [[0.99, 0.98, 0.2], [0.99, 0.7, 0.2], [0.99, 0.98, 0.2], [0.99, NO_SIMILARITY, -2]],
            np.float32,
        ),
        codes=np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, -1, -1]], np.int32),
    )

    assert conflicting(matches, 0.95).tolist() == [True, False, False, False]
    assert conflicting(matches, 0.1).tolist() == [True, True, True, False]
    assert with_copies(matches.similarities, 0.95).tolist() == [0, 2]
    assert with_copies(matches.similarities, 0.1).tolist() == [0, 1, 2]
    assert with_copies(matches.similarities[:, :1], 0.95).tolist() == [0, 1, 2, 3]


# --- the gate -------------------------------------------------------------------------------------


def candidates(
    confidence: list[float],
    codes: list[int],
    near: list[tuple[float, int]] | None = None,
    vectors: Vectors | None = None,
) -> Candidates:
    """Candidates far apart, each with one nearest reference: its similarity and label."""
    count = len(codes)
    similarity, labels = zip(*(near or [(0.5, code) for code in codes]), strict=True)
    return Candidates(
        ids=np.arange(count),
        codes=np.array(codes),
        confidence=np.array(confidence),
        margin=np.ones(count),
        vectors=np.eye(count, dtype=np.float16) if vectors is None else vectors,
        matches=Matches(
            np.zeros((count, 1), np.int64),
            np.array(similarity, np.float32)[:, None],
            np.array(labels, np.int32)[:, None],
        ),
    )


PEOPLES, NONE_YET = np.array([2, 2]), np.array([0, 0])


def test_what_is_surer_than_labelling_asks_for_is_let_through() -> None:
    given_ = candidates([0.995, 0.97], [0, 0])

    assert gate(given_, PEOPLES, NONE_YET, bound=0.9) == [None, Hold.UNSURE]
    assert gate(given_, PEOPLES, NONE_YET, bound=0.9, min_confidence=0.96) == [None, None]


def test_a_near_duplicate_of_a_reference_adds_nothing_or_contradicts_it() -> None:
    given_ = candidates([1.0, 1.0, 0.5], [0, 0, 0], [(0.95, 0), (0.95, 1), (0.95, 1)])

    holds = gate(given_, PEOPLES, NONE_YET, bound=0.9)

    assert holds == [Hold.DUPLICATE, Hold.CONFLICT, Hold.CONFLICT]


def test_of_two_candidates_that_are_near_duplicates_the_surer_is_let_through() -> None:
    twins = np.repeat(np.eye(1, 4, dtype=np.float16), 2, axis=0)

    same = gate(candidates([0.99, 1.0], [0, 0], vectors=twins), PEOPLES, NONE_YET, bound=0.9)
    other = gate(candidates([0.99, 1.0], [1, 0], vectors=twins), PEOPLES, NONE_YET, bound=0.9)

    assert same == [Hold.DUPLICATE, None]
    assert other == [Hold.CONFLICT, None]


def test_a_label_has_no_more_promoted_references_than_peoples_ones_times_the_cap() -> None:
    given_ = candidates([1.0, 0.999, 0.998, 0.997], [0, 0, 0, 1])

    full = gate(given_, PEOPLES, np.array([1, 2]), bound=0.9)
    wide = gate(given_, PEOPLES, np.array([1, 2]), bound=0.9, cap=2.0)

    assert full == [None, Hold.ENOUGH, Hold.ENOUGH, Hold.ENOUGH]
    assert wide == [None, None, None, None]


def test_the_gate_has_nothing_to_say_where_there_are_no_candidates() -> None:
    nothing, near = np.empty(0, np.int64), near_each_other(*clusters(1, 0))
    nobody = Candidates(
        nothing, nothing, np.empty(0), np.empty(0), np.empty((0, 16), np.float16), near
    )

    assert gate(nobody, PEOPLES, NONE_YET, bound=0.9) == []
