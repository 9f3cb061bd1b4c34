"""Labels that are paths: a parent where the leaf is doubtful, as surely as is asked."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from lookalike import Library
from lookalike.classifier.calibration.confidence import levels_with_scores, predict
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    decision_rule_of,
    fit_confidence,
)
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.policies import DECISION_COLUMNS, Decisions
from lookalike.classifier.scores.hierarchy import ParentScores, levels_of, never_predicted_columns
from lookalike.classifier.scores.scores import Scores
from lookalike.decisions.field.classifier import GraphClassifier
from lookalike.decisions.field.rejections import Rejections
from lookalike.labels import NO_LABEL, Codes, ancestors, is_within
from lookalike.library.collection.collection import Collection
from lookalike.model import LABEL_SEPARATOR, Origin

PARENTS, EACH, MEMBERS, DIMENSION = 12, 3, 14, 32
SHOTS = 6


def named(leaf: int) -> str:
    return f"P{leaf // EACH:02} > L{leaf:02}"


def made(seed: int = 0) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Items of 36 leaves, three below each of twelve parents, which are clear; leaves overlap."""
    chance = np.random.default_rng(seed)
    truth = np.arange(PARENTS * EACH * MEMBERS) % (PARENTS * EACH)
    parents = 1.6 * chance.standard_normal((PARENTS, DIMENSION))
    leaves = parents.repeat(EACH, axis=0) + 0.7 * chance.standard_normal((36, DIMENSION))
    rows = leaves[truth] + 0.7 * chance.standard_normal((len(truth), DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16), truth


@pytest.fixture(scope="module")
def land() -> NeighbourGraph:
    vectors, truth = made()
    return build_neighbour_graph(np.arange(len(truth)), vectors)


def references(
    truth: NDArray[np.int64], leaves: range, name: Callable[[int], str]
) -> dict[str, Places]:
    return {name(leaf): np.flatnonzero(truth == leaf)[:SHOTS] for leaf in leaves}


def decided(
    land: NeighbourGraph, named_places: dict[str, Places], sampling: AnswerSampling | None = None
) -> tuple[NDArray[np.object_], NDArray[np.object_], Places]:
    """What waits is given by the leaves alone, and with their parents; "" is nothing."""
    scores = Scores(land)
    scores.set_references(named_places)
    voting = np.concatenate(list(named_places.values()))
    waiting = np.setdiff1d(np.arange(len(land)), voting)
    sure = fit_confidence(scores, waiting, 0.95, sampling=sampling, hierarchical=True)
    alone = given = np.full(len(waiting), "", object)
    for place, (one, said) in enumerate(levels_with_scores(sure, scores)):
        predictions = predict(one, said, waiting)
        names = np.array(one.labels, object)[predictions.winners]
        given = np.where((given == "") & predictions.accepted, names, given)
        alone = given if place == 0 else alone
    return alone, given, waiting


def test_levels_are_the_tree_cut_at_each_depth() -> None:
    labels = ["A > x > 1", "A > x > 2", "A > y", "B > z > 3"]

    two, one = levels_of(labels)

    assert two.labels == ("A > x", "A > y", "B > z")
    assert two.assignable.tolist() == [True, False, False]
    assert one.labels == ("A", "B")
    assert one.label_columns.tolist() == [0, 0, 0, 1]
    assert one.sublabel_columns.tolist() == [0, 0, 1]
    assert one.assignable.tolist() == [True, False]


@pytest.mark.parametrize("labels", [[], ["A"], ["", "A", "B"], ["A > x", "A > y"]])
def test_there_is_no_level_where_parents_tell_nothing(labels: list[str]) -> None:
    assert levels_of(labels) == []


def test_a_label_above_others_is_decided_on_its_own_level_only() -> None:
    labels = ["A", "A > x", "B"]

    assert never_predicted_columns(labels, hierarchical=True) == (0,)
    assert never_predicted_columns(labels, hierarchical=False) == ()
    assert levels_of(labels)[0].assignable.tolist() == [True, False]


def test_a_parent_says_what_the_best_of_its_labels_says(land: NeighbourGraph) -> None:
    _, truth = made()
    scores = Scores(land)
    scores.set_references(references(truth, range(36), named))
    parents = ParentScores(scores, levels_of(scores.labels)[0])
    items = np.arange(0, len(land), 7)

    below = scores.table(items).reshape(2, len(items), PARENTS, EACH)
    column = parents.column("P03")
    near, sources = parents.nearest(items, np.full(len(items), 3))

    assert np.array_equal(parents.table(items), below.max(axis=3))
    reached = [scores.column(named(n)).places for n in (9, 10, 11)]
    assert np.array_equal(column.places, np.unique(np.concatenate(reached)))
    assert np.array_equal(column.values, parents.table(column.places)[:, :, 3])
    assert set(truth[sources] // EACH) == {3}
    assert np.array_equal(near, land.cosines(items, sources).diagonal())


def test_parents_label_more_at_the_asked_precision(land: NeighbourGraph) -> None:
    """A third of the leaves was never labelled, and their parents are known all the same."""
    _, truth = made()
    known = [leaf for leaf in range(36) if leaf % EACH != 2]
    places = {named(leaf): np.flatnonzero(truth == leaf)[:SHOTS] for leaf in known}

    alone, given, waiting = decided(land, places)

    names = [named(leaf) for leaf in truth[waiting].tolist()]
    right = np.array(
        [bool(one) and is_within(name, one) for one, name in zip(given, names, strict=True)]
    )
    assert right.sum() > 1.5 * sum(one == name for one, name in zip(alone, names, strict=True))
    assert right[given != ""].mean() >= 0.95
    assert all(LABEL_SEPARATOR in one for one in alone if one)


def test_a_tree_that_tells_nothing_gives_no_parent(land: NeighbourGraph) -> None:
    _, truth = made()
    dealt = np.random.default_rng(1).permutation(36) // EACH
    places = references(truth, range(36), lambda leaf: f"P{dealt[leaf]:02} > L{leaf:02}")

    alone, given, _ = decided(land, places)

    assert (given != "").sum() - (alone != "").sum() <= 0.02 * len(given)


def test_three_parents_promise_nothing_before_random_answers_are_counted(
    land: NeighbourGraph,
) -> None:
    _, truth = made()
    known = [leaf for leaf in range(36) if leaf % EACH != 2]
    places = {
        f"G{leaf // 12} > L{leaf:02}": np.flatnonzero(truth == leaf)[:SHOTS] for leaf in known
    }

    _, given, _ = decided(land, places)

    assert not {"G0", "G1", "G2"} & set(given)


def test_flat_labels_learn_what_they_learned_and_nothing_besides(land: NeighbourGraph) -> None:
    _, truth = made()
    scores = Scores(land)
    scores.set_references(references(truth, range(36), lambda leaf: f"{leaf:02}"))
    waiting = np.arange(300, len(land))

    flat, same = (
        fit_confidence(scores, waiting, 0.95, hierarchical=hierarchical)
        for hierarchical in (False, True)
    )

    assert flat.above is None
    assert flat.limits == same.limits and flat.known == same.known
    assert same.above is None


def test_the_limit_of_each_parent_is_told(land: NeighbourGraph) -> None:
    _, truth = made()
    scores = Scores(land)
    scores.set_references(known_leaves(truth))
    sure = fit_confidence(scores, np.arange(300, len(land)), 0.95, hierarchical=True)

    told = decision_rule_of(sure, len(land)).limits

    assert sure.above is not None
    assert sure.above.limit < 1
    assert told == {f"P{one:02}": sure.above.limit for one in range(PARENTS)}


# --- kept up to date --------------------------------------------------------------------------


def a_judge(folder: Path, places: dict[str, Places]) -> GraphClassifier:
    vectors, truth = made()
    judge_, every = GraphClassifier(folder / "lists.npz"), np.arange(len(truth))
    judge_.set_items(every, every, lambda pks: vectors[pks], 0)
    judge_.fit(known_leaves(truth), every, 0.95, hierarchical=True)
    judge_.update_references(places)
    return judge_


def known_leaves(truth: NDArray[np.int64]) -> dict[str, Places]:
    """Two of three leaves of each parent, and of one the parent, too."""
    leaves = [leaf for leaf in range(36) if leaf % EACH != 2]
    places = {named(leaf): np.flatnonzero(truth == leaf)[:SHOTS] for leaf in leaves}
    return places | {"P00": np.flatnonzero(truth == 2)[:3]}


def walk(
    places: dict[str, Places], truth: NDArray[np.int64], chance: np.random.Generator
) -> dict[str, Places]:
    """Give one label a reference more, or take one away."""
    changed = dict(places)
    label = str(chance.choice(sorted(changed)))
    if len(changed[label]) > 2 and chance.random() < 0.5:
        changed[label] = np.delete(changed[label], chance.integers(0, len(changed[label])))
    else:
        free = np.setdiff1d(np.arange(len(truth)), np.concatenate(list(changed.values())))
        changed[label] = np.sort(np.append(changed[label], chance.choice(free)))
    return changed


def decisions_of(
    judge_: GraphClassifier, names: list[str], rejected: Rejections | None = None
) -> Decisions:
    _, truth = made()
    return judge_.decide(np.arange(len(truth)), names.index, rejected)


def assert_same(one: Decisions, other: Decisions) -> None:
    for name in DECISION_COLUMNS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_parents_that_followed_every_answer_are_those_made_from_scratch(tmp_path: Path) -> None:
    _, truth = made()
    places, chance = known_leaves(truth), np.random.default_rng(3)
    walked, names = a_judge(tmp_path, places), labels_of(places)
    decisions_of(walked, names)
    rejected = Rejections(0)
    rejected.set_taken(7, {"P01"})
    rejected.set_taken(9, {"P03 > L09"})
    for _ in range(25):
        places = walk(places, truth, chance)
        walked.update_references(places)

    fresh = a_judge(tmp_path, places)

    assert_same(decisions_of(walked, names, rejected), decisions_of(fresh, names, rejected))


def test_who_was_not_judged_again_has_the_same_decision(tmp_path: Path) -> None:
    _, truth = made()
    places, chance = known_leaves(truth), np.random.default_rng(4)
    walked, names = a_judge(tmp_path, places), labels_of(places)
    for _ in range(10):
        before = decisions_of(walked, names)
        places = walk(places, truth, chance)
        moved = walked.update_references(places)
        after = decisions_of(walked, names)
        still = np.setdiff1d(np.arange(len(truth)), moved)
        assert_same(before.at(still), after.at(still))


def test_a_decision_for_a_parent_tells_its_rival_and_its_nearest_reference(tmp_path: Path) -> None:
    """One of P04's is a reference of P05, so that this reaches it, too."""
    _, truth = made()
    places = known_leaves(truth)
    places[named(15)] = np.sort(np.append(places[named(15)], np.flatnonzero(truth == 14)[-1]))
    found, names = decisions_of(a_judge(tmp_path, places), labels_of(places)), labels_of(places)

    code = names.index("P04")
    given = np.flatnonzero(found.codes == code)

    below = np.concatenate([some for name, some in places.items() if is_within(name, "P04")])
    assert len(given) > 0
    assert np.isin(found.sources[given], below).all()
    assert (found.runner_up[given] != code).all()
    rivals = {names[one] for one in found.runner_up[given].tolist() if one != NO_LABEL}
    assert rivals == {"P05"}
    assert (found.margin[given] > 0).all() and (found.reasons[given] == -1).all()


def test_not_this_leaf_leaves_the_parent_and_not_this_parent_takes_all_below(
    tmp_path: Path,
) -> None:
    _, truth = made()
    places = known_leaves(truth)
    names = labels_of(places)
    judge_ = a_judge(tmp_path, places)
    found = decisions_of(judge_, names)
    leaf = int(np.flatnonzero(found.codes == names.index(named(13)))[0])
    no_leaf, no_parent = refusing({leaf: named(13)}), refusing({leaf: "P04"})

    without_leaf = decisions_of(judge_, names, no_leaf).codes[leaf]
    without_parent = decisions_of(judge_, names, no_parent).codes[leaf]

    assert without_leaf in (names.index("P04"), names.index(named(12)), NO_LABEL)
    assert without_leaf != names.index(named(13))
    assert without_parent == NO_LABEL or not is_within(names[without_parent], "P04")


def refusing(said: dict[int, str]) -> Rejections:
    """What people refused, as a decider reads it back."""
    refused = Rejections(0)
    names = sorted(set(said.values()))
    pairs = np.array([[pk, names.index(label)] for pk, label in said.items()])
    refused.from_pairs(pairs, Codes(names))
    return refused


def labels_of(places: dict[str, Places]) -> list[str]:
    """All labels that may be given: those with references, and their parents."""
    return sorted({*places, *(ancestor for name in places for ancestor in ancestors(name))})


def test_without_its_one_reference_a_leaf_leaves_the_parent(tmp_path: Path) -> None:
    _, truth = made()
    places = known_leaves(truth)
    judge_, names = a_judge(tmp_path, places), labels_of(places)
    found = decisions_of(judge_, names)
    given = int(np.flatnonzero(found.codes == names.index("P04"))[0])
    source = int(found.sources[given])

    kept = judge_.label_without(given, source)

    assert kept in ("P04", named(12), named(13), None)
    assert_same(decisions_of(judge_, names), found)


# --- through the library ------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with lookalike.open(tmp_path / "store") as opened:
        yield opened


def filled(library: Library, **rule: Any) -> Collection:
    """A collection with references of two of three leaves of each parent; d0002 is of no leaf."""
    vectors, truth = made()
    collection = library.labeler("goods", extractor="passthrough", dimension=DIMENSION, **rule)
    collection.add(vectors=vectors.astype(np.float32), ids=ids(range(len(truth))))
    known = known_leaves(truth)
    del known["P00"]
    said = {one: name for name, places in known.items() for one in ids(places.tolist())}
    collection.label(said)
    return collection


def ids(places: Iterable[int]) -> list[str]:
    return [f"d{place:04}" for place in places]


def test_a_leaf_that_was_never_named_takes_the_label_of_its_parent(library: Library) -> None:
    goods = filled(library)

    shown = goods.document("d0002")
    why = goods.why("d0002")

    assert (shown.label, shown.origin, shown.reason) == ("P00", Origin.AUTO, None)
    assert shown.standing.decision.threshold is not None and shown.confidence is not None
    assert shown.confidence >= shown.standing.decision.threshold
    assert {match.label for match in shown.standing.decision.matches} == {"P00 > L00", "P00 > L01"}
    assert {cause.label for cause in why.causes} <= {"P00 > L00", "P00 > L01"}
    assert why.counterfactual is not None and why.counterfactual.label == "P00"


def test_answers_one_by_one_decide_as_a_run_from_scratch(library: Library) -> None:
    goods = filled(library)
    _, truth = made()
    for place in range(200, 208):
        goods.label({f"d{place:04}": named(int(truth[place]))})
    goods.label({"d0002": "P00", "d0005": "P01"})
    goods.reject({"d0008": "P02", "d0044": "P02"})
    before = {one.id: (one.label, one.reason) for one in goods.documents(limit=1000)}

    # The rule itself is learned again only when a twentieth of the answers has changed.
    goods.label({"d0011": "P03"})
    after = {one.id: (one.label, one.reason) for one in goods.documents(limit=1000)}
    goods.run()
    again = goods.run()

    assert (again.labelled, again.relabelled, again.unlabelled) == ({}, {}, {})
    assert before["d0008"][0] != "P02" and not str(before["d0008"][0]).startswith("P02")
    assert len(before) == len(after)


def test_flat_fields_and_given_limits_know_no_parents(library: Library) -> None:
    goods = filled(library)
    parents = {name for name in goods.report().per_label if LABEL_SEPARATOR not in name}

    flat = goods.run(hierarchical=False)
    without = goods.report()
    goods.undo(flat.operation)
    back = goods.report()
    goods.run(confidence_threshold=0.1)

    assert parents == {f"P{one:02}" for one in range(PARENTS)}
    assert not parents & set(without.per_label)
    assert parents <= set(back.per_label)
    assert not parents & set(goods.report().per_label)


def test_a_field_is_made_flat(library: Library) -> None:
    goods = filled(library, hierarchical=False)

    assert all(LABEL_SEPARATOR in name for name in goods.report().per_label)


def test_a_parent_is_right_where_the_truth_is_below_it(library: Library) -> None:
    goods = filled(library)
    _, truth = made()
    audit = goods.audit(60)
    names = {id: named(int(truth[int(id[1:])])) for id in audit.waiting}

    checked = goods.answer_audit(audit.id, names)
    goods.close_audit(audit.id, keep=True)

    parents = [one for one in checked.answered if LABEL_SEPARATOR not in str(one.label)]
    assert {one.verdict for one in parents} == {"right"}
    assert len(parents) > 5
    assert {goods.document(one.document or "").label for one in parents} == {
        names[one.document or ""] for one in parents
    }


def test_the_report_tells_how_far_down_labels_go(library: Library) -> None:
    goods = filled(library)
    one, two = goods.report().depths

    assert (one.depth, two.depth) == (1, 2)
    assert one.labelled > two.labelled > 0
    assert one.coverage > 0.9


def test_who_has_a_parent_alone_is_still_asked_about(library: Library) -> None:
    goods = filled(library)

    asked = {document.id for one in goods.queue(limit=60) for document in one.documents}

    assert asked & {one.id for one in goods.documents(limit=1000) if one.label == "P00"}
