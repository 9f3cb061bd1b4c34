"""Evidence over the neighbour graph, against dense formulas written out."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.classifier.graph.graph import NeighbourGraph, attach, build_neighbour_graph
from lookalike.classifier.graph.propagation import DECAY, FINE, SCALES, STEPS, Graph, push
from lookalike.classifier.scores.leave_one_out import leave_one_out
from lookalike.classifier.scores.scores import FEW_REFERENCES, Scores

Table = NDArray[np.float64]


def vectors(count: int, *, seed: int = 0, dimension: int = 16) -> NDArray[np.float16]:
    """Unit vectors around six centres."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((6, dimension))
    rows = centres[chance.integers(0, 6, count)] + 0.5 * chance.standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


@pytest.fixture(scope="module")
def land() -> NeighbourGraph:
    return build_neighbour_graph(np.arange(100, 280), vectors(180))


def dense_graph(land: NeighbourGraph) -> Table:
    """S by its definition, n × n."""
    every = np.arange(len(land))
    cosine = land.cosines(every, every).astype(np.float64)
    np.fill_diagonal(cosine, -2)
    total = np.zeros_like(cosine)
    for k in SCALES:
        near = np.argsort(-cosine, axis=1)[:, :k]
        width = 1 - np.take_along_axis(cosine, near, axis=1)[:, -1]
        weight = np.zeros_like(cosine)
        for i, row in enumerate(near):
            weight[i, row] = np.exp(-((1 - cosine[i, row]) ** 2) / (width[i] * width[row]))
        weight = np.maximum(weight, weight.T)
        root = weight.sum(axis=1) ** -0.5
        total += weight * root[:, None] * root[None, :]
    return total / len(SCALES)


def as_dense(land: NeighbourGraph) -> Table:
    graph = land.graph
    dense = np.zeros((len(graph), len(graph)))
    for row in range(len(graph)):
        part = slice(graph.starts[row], graph.starts[row + 1])
        dense[row, graph.columns[part]] = graph.weights[part]
    return dense


def test_the_graph_is_its_definition(land: NeighbourGraph) -> None:
    assert as_dense(land) == pytest.approx(dense_graph(land), abs=2e-5)


def test_pushed_evidence_is_the_sum_of_damped_powers(land: NeighbourGraph) -> None:
    graph = as_dense(land)
    expected, step = np.eye(len(graph)), np.eye(len(graph))
    for _ in range(STEPS):
        step = float(DECAY) * graph @ step
        expected += step

    for place in (0, 17, 179):
        evidence = land.evidence(place)
        column = evidence.at(np.arange(len(land)))
        assert column == pytest.approx(expected[:, place], abs=5e-3)
        assert (np.diff(evidence.places) > 0).all()


def test_what_arrives_faint_stays_and_goes_no_farther() -> None:
    """A chain of nodes 0 – 1 – 2 – 3, of which the middle edges are weak."""
    columns, weights = np.array([1, 0, 2, 1, 3, 2]), np.array([0.02, 0.02, 0.02, 0.02, 1, 1])
    chain = Graph.of(np.array([0, 1, 3, 5, 6]), columns, weights.astype(np.float32))

    faint = push(chain, np.array([0]), np.ones(1, np.float32), 3)
    stronger = push(chain, np.array([0]), np.full(1, 2, np.float32), 3)

    assert faint.places.tolist() == [0, 1, 2]
    assert faint.amounts[2] == pytest.approx((0.9 * 0.02) ** 2)
    assert stronger.places.tolist() == [0, 1, 2, 3]
    assert stronger.amounts[3] == pytest.approx(2 * 0.9 * (0.9 * 0.02) ** 2)
    fine = push(chain, np.array([0]), np.ones(1, np.float32), 3, FINE)
    assert fine.places.tolist() == [0, 1, 2, 3]


def test_few_references_guide_items_that_they_would_not_reach_in_a_coarse_push() -> None:
    vectors = np.random.default_rng(4).standard_normal((3000, 12)).astype(np.float16)
    wide = build_neighbour_graph(np.arange(3000), vectors)
    few = {"one": np.array([0]), "other": np.array([1500])}
    coarse, every = Scores(wide), np.arange(3000)
    coarse.set_references(few)

    selected = Scores(wide).for_references(few)

    reached = [(one.evidence(every)[:, 0] > 0).mean() for one in (coarse, selected)]
    assert reached[1] > 2 * reached[0]
    many = few | {"many": np.arange(1, 1 + FEW_REFERENCES)}
    assert selected.fine_propagation
    assert not selected.for_references(many).fine_propagation


def references(seed: int = 0) -> dict[str, Any]:
    places = np.random.default_rng(seed).permutation(180)[:24]
    return {str(code): np.sort(places[code::4]) for code in range(4)}


def test_columns_do_not_depend_on_the_history(land: NeighbourGraph) -> None:
    fresh, walked = Scores(land), Scores(land)
    for seed in (3, 2, 1):
        walked.set_references(references(seed))

    walked.set_references(references())
    fresh.set_references(references())

    every = np.arange(len(land))
    assert np.array_equal(walked.table(every), fresh.table(every))
    assert np.array_equal(walked.evidence(every), fresh.evidence(every))


def test_leave_one_out_equals_taking_the_reference_away(land: NeighbourGraph) -> None:
    scores = Scores(land)
    scores.set_references(references())
    left = leave_one_out(scores, np.concatenate(list(references().values())))

    for row in range(0, 24, 5):
        place, own = left.places[row], left.own[row]
        fewer = references() | {str(own): np.setdiff1d(references()[str(own)], [place])}
        without = Scores(land)
        without.set_references(fewer)
        places = np.array([place])
        graph_evidence, class_similarity = without.table(places)
        assert left.graph_evidence[row] == pytest.approx(graph_evidence[0], abs=2e-3)
        assert left.class_similarity[row] == pytest.approx(class_similarity[0], abs=1e-4)
        turned = land.whitened.astype(np.float64)
        rest, itself = turned[fewer[str(own)]].sum(axis=0), turned[place]
        cosine = itself @ rest / np.linalg.norm(itself) / np.linalg.norm(rest)
        assert left.own_similarity[row] == pytest.approx(cosine, abs=1e-5)
        expected = [without.nearest(places, np.array([label]))[0][0] for label in range(4)]
        assert left.nearest_similarity[row] == pytest.approx(expected, abs=1e-5)


def test_leaving_out_a_reference_leaves_out_all_of_its_weight(land: NeighbourGraph) -> None:
    weights = np.random.default_rng(0).integers(1, 9, len(land))
    every = np.concatenate(list(references().values()))
    scores = Scores(land, weights)
    scores.set_references(references())

    left = leave_one_out(scores, every)

    for row in range(0, 24, 5):
        place, own = left.places[row], left.own[row]
        fewer = references() | {str(own): np.setdiff1d(references()[str(own)], [place])}
        without = Scores(land, weights)
        without.set_references(fewer)
        graph_evidence, class_similarity = without.table(np.array([place]))
        assert left.graph_evidence[row] == pytest.approx(graph_evidence[0], abs=2e-3)
        assert left.class_similarity[row] == pytest.approx(class_similarity[0], abs=1e-4)
        around = without.neighbourhood(np.array([place]))[0, 0]
        assert left.neighbourhood_evidence[row, 0] == pytest.approx(around, abs=0.5)


def test_a_reference_of_weight_two_gives_evidence_like_two_references(
    land: NeighbourGraph,
) -> None:
    weights = np.ones(len(land), np.int64)
    weights[5] = 2
    weighted, single = Scores(land, weights), Scores(land)
    weighted.set_references({"0": np.array([5, 9])})
    single.set_references({"0": np.array([5]), "1": np.array([9])})

    every = np.arange(len(land))
    parts = single.evidence(every)
    assert weighted.evidence(every)[:, 0] == pytest.approx(parts @ [2 / 3, 1 / 3], abs=1e-6)
    assert weighted.sums(every, 0)[0] == pytest.approx(
        2 * single.sums(every, 0)[0] + single.sums(every, 1)[0]
    )


def test_a_leaf_hears_evidence_by_one_hop_and_leaves_the_nodes_alone(land: NeighbourGraph) -> None:
    grown = attach(land, np.arange(300, 310), vectors(10, seed=5))
    before, after = Scores(land), Scores(grown)
    before.set_references(references())

    after.set_references(references())

    column = after.evidence(np.arange(190))[:, 0]
    assert np.array_equal(column[:180], before.evidence(np.arange(180))[:, 0])
    heard = (grown.near_weights[180:] * column[grown.near[180:]]).sum(axis=1)
    assert column[180:] == pytest.approx(float(DECAY) * heard)
    assert (column[180:] > 0).any()


def test_a_leaf_can_be_a_reference(land: NeighbourGraph) -> None:
    grown = attach(land, np.arange(300, 310), vectors(10, seed=5))
    scores = Scores(grown)

    scores.set_references({"0": np.array([185]), "1": np.array([3, 4])})

    column = scores.evidence(np.arange(190))[:, 0]
    assert column[185] > 1
    assert column[grown.near[185][0]] > column.mean()
    left = leave_one_out(scores, np.array([185]))
    assert left.graph_evidence[0, 0] == pytest.approx(np.log(1e-5))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 15])
def test_a_landscape_of_few_items_works(count: int) -> None:
    small = build_neighbour_graph(np.arange(count), vectors(count))

    scores = Scores(small)
    if count:
        scores.set_references({"0": np.array([0])})

    assert len(small) == count
    assert len(small.graph) == count


def test_identical_vectors_are_no_division_by_zero() -> None:
    same = np.repeat(vectors(1), 40, axis=0)

    small = build_neighbour_graph(np.arange(40), same)
    scores = Scores(small)
    scores.set_references({"0": np.array([0, 1]), "1": np.array([2, 3])})

    assert np.isfinite(scores.table(np.arange(40))).all()
