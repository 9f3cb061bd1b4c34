"""Policies: from lists of matches to decisions, with nothing but arrays."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.classifier.graph.search import (
    NO_SIMILARITY,
    Matches,
    rival_similarity,
    shares,
    votes,
)
from lookalike.classifier.policies import REASONS, Decisions, suggest_only, threshold
from lookalike.labels import NO_LABEL
from lookalike.model import Reason

A, B, C = 0, 1, 2
LIMIT = 0.3


def matches(*lists: list[tuple[float, int]], k: int = 4) -> Matches:
    """Lists of (similarity, label), nearest first; their ids are 10, 11, … in each."""
    ids = np.full((len(lists), k), -1, np.int64)
    similarities = np.full((len(lists), k), NO_SIMILARITY, np.float32)
    codes = np.full((len(lists), k), NO_LABEL, np.int32)
    for row, listed in enumerate(lists):
        for place, (similarity, code) in enumerate(listed):
            ids[row, place] = 10 + place
            similarities[row, place] = similarity
            codes[row, place] = code
    return Matches(ids, similarities, codes)


def reasons(decisions: Decisions) -> list[Reason | None]:
    return [None if code < 0 else REASONS[code] for code in decisions.reasons.tolist()]


# --- threshold ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.3, 0.5, 0.1, 0.999, 0.0, 1.0])
def test_at_the_limit_is_labelled_and_one_step_below_is_not(limit: float) -> None:
    at = np.float32(limit)
    below, above = (float(np.nextafter(at, np.float32(side))) for side in (-2, 2))

    decisions = threshold(limit)(matches([(float(at), A)], [(below, A)], [(above, A)]))

    assert decisions.codes.tolist() == [A, NO_LABEL, A]
    assert reasons(decisions) == [None, Reason.BELOW_THRESHOLD, None]


def test_the_nearest_wins_however_many_others_there_are() -> None:
    decisions = threshold(LIMIT)(matches([(0.9, A), (0.89, B), (0.88, B), (0.87, B)]))

    assert decisions.codes.tolist() == [A]
    assert decisions.sources.tolist() == [10]
    assert decisions.runner_up.tolist() == [B]


def test_confidence_is_the_similarity_unchanged() -> None:
    decisions = threshold(LIMIT)(matches([(0.123456789, A)], [(0.987654321, B)]))

    assert decisions.confidence.dtype == np.float32
    assert decisions.confidence.tolist() == [np.float32(0.123456789), np.float32(0.987654321)]


def test_without_a_match_there_is_nothing_and_the_reason_is_no_references() -> None:
    decisions = threshold(-1.0)(matches([]))

    assert decisions.codes.tolist() == [NO_LABEL]
    assert reasons(decisions) == [Reason.NO_REFERENCES]
    assert np.isnan(decisions.confidence).all() and np.isnan(decisions.margin).all()
    assert decisions.runner_up.tolist() == [NO_LABEL]
    assert decisions.sources.tolist() == [-1]


def test_margin_is_the_lead_over_the_best_other_label() -> None:
    decisions = threshold(LIMIT)(matches([(0.9, A), (0.8, A), (0.65, B), (0.6, C)]))

    assert decisions.margin.tolist() == pytest.approx([0.25])
    assert decisions.runner_up.tolist() == [B]


def test_in_a_full_list_of_one_label_the_last_bounds_the_rival() -> None:
    decisions = threshold(LIMIT)(matches([(0.9, A), (0.8, A), (0.7, A), (0.6, A)]))

    assert decisions.margin.tolist() == pytest.approx([0.3])
    assert decisions.runner_up.tolist() == [NO_LABEL]


def test_where_no_other_label_exists_there_is_no_margin() -> None:
    decisions = threshold(LIMIT)(matches([(0.9, A), (0.8, A)]))

    assert np.isnan(decisions.margin).all()
    assert decisions.runner_up.tolist() == [NO_LABEL]


def test_what_is_null_names_its_best_candidate_as_runner_up() -> None:
    decisions = threshold(0.95)(matches([(0.9, A), (0.8, B)]))

    assert decisions.codes.tolist() == [NO_LABEL]
    assert decisions.runner_up.tolist() == [A]
    assert decisions.sources.tolist() == [10]


def test_a_decision_does_not_depend_on_what_is_decided_with_it() -> None:
    chance = np.random.default_rng(0)
    many = random_matches(chance, 50)

    together = threshold(LIMIT)(many)

    for row in range(50):
        alone = threshold(LIMIT)(rows(many, [row]))
        assert alone.codes[0] == together.codes[row]
        assert alone.sources[0] == together.sources[row]
        np.testing.assert_array_equal(alone.confidence[0], together.confidence[row])
        np.testing.assert_array_equal(alone.margin[0], together.margin[row])


def test_no_documents_give_no_decisions() -> None:
    decisions = threshold(LIMIT)(matches())

    assert decisions.codes.shape == (0,)
    assert decisions.reasons.shape == (0,)


# --- suggest only -------------------------------------------------------------------------------


def test_suggest_only_labels_nothing_and_shows_the_best_candidate() -> None:
    decisions = suggest_only(matches([(1.0, B), (0.2, A)], []))

    assert decisions.codes.tolist() == [NO_LABEL, NO_LABEL]
    assert decisions.runner_up.tolist() == [B, NO_LABEL]
    assert reasons(decisions)[1] is Reason.NO_REFERENCES
    assert reasons(decisions)[0] is not None


# --- votes, shares, rivals ----------------------------------------------------------------------


def test_shares_sum_to_one_and_fall_with_similarity() -> None:
    lists = matches([(0.9, A), (0.8, B), (0.8, A), (0.1, C)], [(0.5, A)])

    parts = shares(lists.similarities, 0.1)

    assert parts.sum(axis=1) == pytest.approx([1, 1])
    assert (np.diff(parts[0]) <= 0).all()
    assert parts[0, 1] == parts[0, 2]
    assert parts[1].tolist() == [1, 0, 0, 0]


def test_of_an_empty_list_nothing_has_a_share() -> None:
    assert shares(matches([]).similarities, 0.1).tolist() == [[0, 0, 0, 0]]


def test_a_share_is_the_exponential_of_the_lead_over_the_temperature() -> None:
    parts = shares(matches([(0.9, A), (0.7, B)]).similarities, 0.2)

    weight = np.exp(-1.0)
    assert parts[0, :2].tolist() == pytest.approx([1 / (1 + weight), weight / (1 + weight)])


def test_two_fair_witnesses_outvote_one_that_is_little_nearer() -> None:
    lists = matches([(0.90, A), (0.89, B), (0.88, B)])

    winner, share = votes(lists, 0.1)

    assert winner.tolist() == [B]
    assert 0.5 < share[0] < 1


def test_when_it_is_cold_only_the_nearest_counts() -> None:
    winner, share = votes(matches([(0.90, A), (0.89, B), (0.88, B)]), 1e-4)

    assert winner.tolist() == [A]
    assert share.tolist() == pytest.approx([1])


def test_equal_evidence_goes_to_the_nearer() -> None:
    winner, share = votes(matches([(0.8, B), (0.8, A)], [(0.8, A), (0.8, B)]), 0.1)

    assert winner.tolist() == [B, A]
    assert share.tolist() == [0.5, 0.5]


def test_an_empty_list_elects_nobody() -> None:
    winner, share = votes(matches([]), 0.1)

    assert (winner.tolist(), share.tolist()) == ([NO_LABEL], [0])


def test_votes_are_the_sums_of_shares_by_label() -> None:
    many = random_matches(np.random.default_rng(1), 100)
    parts = shares(many.similarities, 0.2)

    winner, share = votes(many, 0.2)

    for row, codes in enumerate(many.codes.tolist()):
        sums: dict[int, float] = {}
        for code, part in zip(codes, parts[row].tolist(), strict=True):
            if code != NO_LABEL:
                sums[code] = sums.get(code, 0) + part
        assert share[row] == pytest.approx(max(sums.values(), default=0), abs=1e-6)
        assert sums.get(int(winner[row]), 0) == pytest.approx(share[row], abs=1e-6)


def test_the_rival_is_the_best_of_another_label() -> None:
    lists = matches(
        [(0.9, A), (0.8, B), (0.7, C)],
        [(0.9, A), (0.8, A), (0.7, A), (0.6, A)],
        [(0.9, A), (0.8, A)],
        [],
    )

    rival, label = rival_similarity(lists, np.array([A, A, A, NO_LABEL], np.int32))

    assert rival.tolist() == [np.float32(0.8), np.float32(0.6), NO_SIMILARITY, NO_SIMILARITY]
    assert label.tolist() == [B, NO_LABEL, NO_LABEL, NO_LABEL]


def test_the_rival_of_a_winner_that_is_not_nearest_is_the_nearest() -> None:
    rival, label = rival_similarity(
        matches([(0.9, A), (0.8, B), (0.7, B)]), np.array([B], np.int32)
    )

    assert (rival.tolist(), label.tolist()) == ([np.float32(0.9)], [A])


def random_matches(chance: np.random.Generator, count: int) -> Matches:
    lists = []
    for _ in range(count):
        length = int(chance.integers(0, 5))
        near: NDArray[np.float64] = np.sort(chance.uniform(-1, 1, length))[::-1]
        codes = chance.integers(0, 3, length)
        lists.append(list(zip(near.tolist(), codes.tolist(), strict=True)))
    return matches(*lists)


def rows(of: Matches, chosen: list[int]) -> Matches:
    return Matches(of.ids[chosen], of.similarities[chosen], of.codes[chosen])
