"""The review queue and the groups that may be new kinds, on small made landscapes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.classifier.graph.graph import NeighbourGraph, attach, build_neighbour_graph
from lookalike.classifier.review.new_categories import (
    MAX_ITEMS,
    MIN_ITEMS,
    common_place,
    group_new_categories,
)
from lookalike.classifier.review.queue import (
    GROUP_REFERENCES,
    GROUP_SIZE,
    GraphReach,
    ItemStates,
    QuestionKind,
    ReviewQuestion,
    SameLabelGroup,
    questions,
    uncovered,
    unlabelled,
)
from lookalike.classifier.scores.scores import Scores

SIZES = (60, 40, 25, 15)
"""The clusters of the landscape, the largest and densest first."""

CLUSTER = np.repeat(np.arange(len(SIZES)), SIZES)
NO = np.zeros(len(CLUSTER), bool)
LABELS = ("Shoes > Hiking", "Shoes > Running")


def vectors(sizes: tuple[int, ...], *, seed: int = 0) -> NDArray[np.float16]:
    """Unit vectors around as many centres as there are sizes, each wider than the one before."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((len(sizes), 24))
    rows = [
        centre + (0.3 + 0.05 * turn) * chance.standard_normal((size, 24))
        for turn, (centre, size) in enumerate(zip(centres, sizes, strict=True))
    ]
    wide = np.concatenate(rows)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float16)


@pytest.fixture(scope="module")
def land() -> NeighbourGraph:
    return build_neighbour_graph(np.arange(1, len(CLUSTER) + 1), vectors(SIZES))


@pytest.fixture(scope="module")
def reach(land: NeighbourGraph) -> GraphReach:
    return GraphReach(land)


@pytest.fixture(scope="module")
def scores(land: NeighbourGraph) -> Scores:
    """Four references in each of the first two clusters."""
    found = Scores(land)
    found.set_references({LABELS[0]: np.arange(4), LABELS[1]: np.arange(60, 64)})
    return found


@pytest.fixture
def standing() -> ItemStates:
    """Eight references; what is suggested is right in two clusters and doubtful in the others."""
    settled = NO.copy()
    settled[[*range(4), *range(60, 64)]] = True
    return ItemStates(
        labels=LABELS,
        references=np.array([4, 4]),
        winners=np.where(CLUSTER == 0, 0, 1),
        probability=np.where(CLUSTER < 2, 0.8, 0.1),
        settled=settled,
        automatic=NO,
        skipped=NO,
        conflicts=NO,
    )


def asked(found: list[ReviewQuestion]) -> list[int]:
    return [place for question in found for place in question.places]


def seeds(found: list[ReviewQuestion]) -> list[int]:
    return [question.places[0] for question in found]


# --- without a label ------------------------------------------------------------------------------


def test_the_first_question_without_any_label_is_in_the_densest_region(
    reach: GraphReach, land: NeighbourGraph
) -> None:
    first = questions(reach, unlabelled(len(land)), None, 1)[0]

    assert CLUSTER[first.places[0]] == 0


def test_the_first_questions_without_any_label_cover_every_cluster(
    reach: GraphReach, land: NeighbourGraph
) -> None:
    found = questions(reach, unlabelled(len(land)), None, 10)

    assert set(CLUSTER[seeds(found)]) == {0, 1, 2, 3}


def test_without_a_label_every_question_is_about_one_item(
    reach: GraphReach, land: NeighbourGraph
) -> None:
    found = questions(reach, unlabelled(len(land)), None, 20)

    assert all(len(question.places) == 1 and question.suggestion is None for question in found)


def test_two_questions_in_a_row_are_not_about_near_duplicates(
    reach: GraphReach, land: NeighbourGraph
) -> None:
    order = seeds(questions(reach, unlabelled(len(land)), None, 12))

    near = [land.near[place, :3].tolist() for place in order]
    assert not any(after in beside for beside, after in zip(near, order[1:], strict=False))


def test_what_is_covered_is_asked_at_last_and_not_forgotten(
    reach: GraphReach, land: NeighbourGraph
) -> None:
    found = questions(reach, unlabelled(len(land)), None, 1000)

    assert sorted(asked(found)) == list(range(len(land)))


# --- with labels ----------------------------------------------------------------------------------


def test_what_a_person_settled_or_skipped_is_never_asked(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    skipped = NO.copy()
    skipped[100:110] = True

    found = questions(reach, replace(standing, skipped=skipped), scores, 1000, drawn=[0, 1, 105])

    assert not (standing.settled | skipped)[asked(found)].any()


def test_no_item_is_in_two_questions(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    group = SameLabelGroup(np.array([130, 131, 132]), np.array([1.0, 1.0]))

    found = questions(reach, standing, scores, 1000, groups=[group], drawn=[7, 70, 133])

    assert len(asked(found)) == len(set(asked(found)))


def test_with_labels_what_no_reference_reaches_comes_first(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    found = questions(reach, standing, scores, 2)

    assert set(CLUSTER[seeds(found)]) == {2, 3}


def test_a_strip_holds_look_alikes_of_one_suggestion(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    strips = [one for one in questions(reach, standing, scores, 1000) if len(one.places) > 1]

    assert strips, "nothing was put into a strip"
    for strip in strips:
        suggested = {standing.labels[winner] for winner in standing.winners[list(strip.places)]}
        assert suggested == {strip.suggestion}
        assert len(strip.places) <= GROUP_SIZE


def test_a_label_with_few_references_is_not_proposed_for_a_strip(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    few = replace(standing, references=np.array([GROUP_REFERENCES - 1, GROUP_REFERENCES]))

    proposed = {one.suggestion for one in questions(reach, few, scores, 1000)}

    assert proposed == {None, LABELS[1]}


def test_what_is_rather_wrong_than_right_is_asked_alone(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    strips = [one for one in questions(reach, standing, scores, 1000) if len(one.places) > 1]

    assert (standing.probability[asked(strips)] >= 0.5).all()


def test_what_labelled_itself_is_asked_alone_and_the_less_certain_of_twins_first(
    land: NeighbourGraph, scores: Scores, standing: ItemStates
) -> None:
    sure = np.where(CLUSTER == 1, 0.96, 0.99)
    own = replace(standing, probability=sure, automatic=~standing.settled)
    everywhere = Scores(land)
    everywhere.set_references({LABELS[0]: np.arange(60), LABELS[1]: np.arange(60, len(land))})

    found = questions(GraphReach(land), own, everywhere, 1000)

    assert all(one.kind is QuestionKind.LIMIT and len(one.places) == 1 for one in found)
    assert CLUSTER[found[0].places[0]] == 1


def test_what_contradictory_references_claim_is_asked_alone_as_a_conflict(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    conflicts = NO.copy()
    conflicts[[10, 11]] = True

    found = questions(reach, replace(standing, conflicts=conflicts), scores, 1000)

    kinds = {question.places: question.kind for question in found}
    assert kinds[(10,)] is QuestionKind.CONFLICT
    assert kinds[(11,)] is QuestionKind.CONFLICT


def test_a_group_is_one_question_without_what_is_settled_since(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    settled = standing.settled.copy()
    settled[131] = True

    found = questions(
        reach,
        replace(standing, settled=settled),
        scores,
        1000,
        groups=[
            SameLabelGroup(np.array([130, 131, 132]), np.array([1.0, 1.0])),
            SameLabelGroup(np.array([0, 1]), np.array([1.0])),
        ],
    )

    assert [one.places for one in found if one.kind is QuestionKind.NEW_KIND] == [(130, 132)]


def test_random_items_are_all_asked_alone_and_evenly_spread(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    drawn = [20, 90, 120]

    found = questions(reach, standing, scores, 10, drawn=drawn)

    turns = [seeds(found).index(place) for place in drawn]
    assert turns == [1, 5, 8]
    assert len(found) == 10
    assert all(len(found[turn].places) == 1 for turn in turns)


def test_a_random_item_looks_like_any_other_single(
    reach: GraphReach, scores: Scores, standing: ItemStates
) -> None:
    drawn = questions(reach, standing, scores, 5, drawn=[120])
    usual = questions(reach, standing, scores, 5)

    def looks(found: list[ReviewQuestion]) -> set[tuple[str | None, QuestionKind]]:
        return {(one.suggestion, one.kind) for one in found if len(one.places) == 1}

    assert looks(drawn) == looks(usual)


@settings(max_examples=25, deadline=None)
@given(
    hidden=st.sets(st.integers(0, len(CLUSTER) - 1), max_size=40),
    count=st.integers(0, 60),
    drawn=st.lists(st.integers(0, len(CLUSTER) - 1), unique=True, max_size=8),
)
def test_the_same_input_gives_the_same_queue_of_open_items_no_longer_than_asked(
    land: NeighbourGraph, hidden: set[int], count: int, drawn: list[int]
) -> None:
    settled = NO.copy()
    settled[list(hidden)] = True
    standing = replace(unlabelled(len(land)), settled=settled)

    first = questions(GraphReach(land), standing, None, count, drawn=drawn)
    again = questions(GraphReach(land), standing, None, count, drawn=drawn)

    assert first == again
    assert len(first) <= count
    assert len(asked(first)) == len(set(asked(first)))
    assert not settled[asked(first)].any()


# --- reach ----------------------------------------------------------------------------------------


def test_what_is_said_from_everywhere_is_the_sum_of_what_each_says(reach: GraphReach) -> None:
    need = np.linspace(0, 1, len(reach), dtype=np.float32)

    total = reach.total(need)

    for place in (0, 70, 139):
        around = reach.of(place)
        assert float(around.amounts @ need[around.places]) == pytest.approx(total[place], rel=0.02)


def test_leaves_are_reached_and_reach_others(land: NeighbourGraph) -> None:
    few = build_neighbour_graph(land.pks[:100], vectors(SIZES)[:100])
    wider = GraphReach(attach(few, land.pks[100:], vectors(SIZES)[100:]))

    leaf = wider.of(120)
    nodes = leaf.places[(leaf.places < 100) & (leaf.amounts > 0)]
    there_and_back = wider.of(int(nodes[0])).at(np.array([120]))

    assert len(nodes)
    assert there_and_back[0] == pytest.approx(leaf.at(nodes[:1])[0], rel=0.05)


def test_an_empty_and_a_tiny_collection_have_a_queue() -> None:
    for count in (1, 2):
        tiny = build_neighbour_graph(np.arange(1, count + 1), vectors((count,)))

        found = questions(GraphReach(tiny), unlabelled(count), None, 5)

        assert sorted(asked(found)) == list(range(count))


def test_items_beside_a_reference_are_covered_and_others_are_not(scores: Scores) -> None:
    lonely = uncovered(scores)

    assert lonely[:4].max() < 0.2
    assert lonely[CLUSTER == 3].min() > 0.9


# --- new kinds ------------------------------------------------------------------------------------


def test_a_group_never_holds_what_is_settled_or_of_a_known_label(
    land: NeighbourGraph, scores: Scores, standing: ItemStates
) -> None:
    known = np.where(CLUSTER < 2, 0.9, 0.1)
    settled = standing.settled.copy()
    settled[125:128] = True

    groups = group_new_categories(land, scores, known, settled)

    members = np.concatenate([group.places for group in groups])
    assert len(groups) >= 2
    assert not settled[members].any()
    assert (CLUSTER[members] >= 2).all()
    assert len(members) == len(set(members.tolist()))


def test_a_group_is_of_one_cluster_and_bounded_with_its_representative_first(
    land: NeighbourGraph,
) -> None:
    groups = group_new_categories(land, None, np.zeros(len(land)), NO)

    for group in groups:
        assert len(set(CLUSTER[group.places])) == 1
        assert MIN_ITEMS <= len(group.places) <= MAX_ITEMS
        falling = land.cosines(group.places[1:], group.places[:1])[:, 0]
        assert (np.diff(falling) <= 1e-6).all()
        assert group.cohesion == pytest.approx(falling.mean(), abs=1e-3)
        assert (group.place, group.share) == ("", 0.0)


def test_no_lost_item_is_no_group(land: NeighbourGraph, scores: Scores) -> None:
    assert group_new_categories(land, scores, np.ones(len(land)), NO) == []


def test_a_group_that_leans_to_two_sorts_of_shoes_is_proposed_below_shoes() -> None:
    labels = ["Shoes > Running > Red", "Shoes > Hiking", "Bags"]

    assert common_place(labels, [2.0, 2.0, 1.0]) == ("Shoes", 0.8)
    assert common_place(labels, [9.0, 0.5, 0.5]) == ("Shoes > Running > Red", 0.9)
    assert common_place(labels, [1.0, 0.0, 1.0]) == ("", 1.0)
    assert common_place(labels, [0.0, 0.0, 0.0]) == ("", 0.0)


PATHS = st.lists(st.sampled_from(["A", "B"]), min_size=1, max_size=3).map(" > ".join)


@given(st.dictionaries(PATHS, st.floats(0.01, 10), min_size=1, max_size=6))
def test_the_proposed_place_is_an_ancestor_that_most_of_the_weight_is_below(
    weights: dict[str, float],
) -> None:
    place, share = common_place(list(weights), list(weights.values()))

    below = [w for label, w in weights.items() if f"{label} > ".startswith(f"{place} > ")]
    total = sum(weights.values())
    assert place == "" or sum(below) / total == pytest.approx(share)
    assert place == "" or share > 0.6
