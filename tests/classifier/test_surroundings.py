"""What lies farther around an item than its neighbours: means over a short walk."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.classifier.calibration.logistic import fit_logistic
from lookalike.classifier.graph.graph import NeighbourGraph, attach, build_neighbour_graph
from lookalike.classifier.graph.propagation import (
    SMOOTHING_STEPS,
    GraphSmoother,
    Places,
    remoteness,
)
from lookalike.classifier.scores.leave_one_out import (
    LeftOutScores,
    leave_one_out,
    scores_of_answered,
)
from lookalike.classifier.scores.scores import BACKGROUND, Scores

GRID, STEP_OF_W = 1 / 64, 1 / 4


def vectors(count: int, seed: int = 0, spread: float = 0.6) -> NDArray[np.float16]:
    """Return unit vectors in twelve heaps."""
    chance = np.random.default_rng(seed)
    heaps = np.random.default_rng(9).standard_normal((12, 16))
    rows = heaps[np.arange(count) % 12] + spread * chance.standard_normal((count, 16))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


@pytest.fixture(scope="module")
def land() -> NeighbourGraph:
    """180 nodes and ten leaves."""
    return attach(
        build_neighbour_graph(np.arange(180), vectors(180)), np.arange(180, 190), vectors(10, 5)
    )


def references(*, background: bool = False) -> dict[str, Places]:
    named = {f"{heap:02}": np.arange(heap, 60, 12) for heap in range(8)}
    return ({BACKGROUND: np.array([8, 20, 9])} if background else {}) | named


def scores_of(land: NeighbourGraph, known: dict[str, Places]) -> Scores:
    scores = Scores(land)
    scores.set_references(known)
    return scores


def test_means_are_those_of_where_walks_end(land: NeighbourGraph) -> None:
    values = np.random.default_rng(1).standard_normal(190).astype(np.float32)
    graph = land.graph
    step = np.zeros((180, 180))
    for row in range(180):
        part = slice(graph.starts[row], graph.starts[row + 1])
        step[row, graph.columns[part]] = graph.weights[part]
    step /= step.sum(axis=1, keepdims=True)

    around = GraphSmoother(land, values)

    walked = np.linalg.matrix_power(step, SMOOTHING_STEPS)
    assert around.means[:180] == pytest.approx(walked @ values[:180], abs=SMOOTHING_STEPS * GRID)
    for place in (0, 17, 179, 185):
        ends = around.smoothing_weights(place)
        assert ends.amounts.sum() == pytest.approx(1)
        assert around.means[place] == pytest.approx(
            ends.amounts @ values[ends.places], abs=SMOOTHING_STEPS * GRID
        )
        if place < 180:
            assert ends.at(np.arange(180)) == pytest.approx(walked[place], abs=1e-6)


@pytest.mark.parametrize("sparse", [0, 16])
def test_following_a_value_equals_making_all_again(
    land: NeighbourGraph, sparse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike.classifier.graph.propagation._SPARSE", sparse)
    chance = np.random.default_rng(2)
    values = chance.standard_normal(190).astype(np.float32)
    around = GraphSmoother(land, values)

    for _ in range(20):
        places = np.sort(chance.choice(190, 5, replace=False))
        values[places] += chance.standard_normal(5).astype(np.float32) * 3
        around.update(places, values[places])

        assert np.array_equal(around.means, GraphSmoother(land, values).means)


def test_leaves_that_come_later_have_the_same_surroundings(land: NeighbourGraph) -> None:
    grown = attach(land, np.arange(190, 200), vectors(10, 6))
    values = np.random.default_rng(3).standard_normal(200).astype(np.float32)

    wider = GraphSmoother(land, values[:190]).extended_to(grown)
    wider.update(np.arange(50), values[:50] + 1)

    values[:50] += 1
    assert np.array_equal(wider.means, GraphSmoother(grown, values).means)


def test_what_the_wider_surroundings_say_does_not_depend_on_the_history(
    land: NeighbourGraph,
) -> None:
    walked, everywhere = Scores(land), np.arange(190)
    for seed in range(6):
        chance = np.random.default_rng(seed)
        few = {name: chance.choice(places, 3) for name, places in references().items()}
        walked.set_references({name: np.unique(places) for name, places in few.items()})
        walked.neighbourhood(everywhere)

    walked.set_references(references(background=True))

    assert np.array_equal(
        walked.neighbourhood(everywhere),
        scores_of(land, references(background=True)).neighbourhood(everywhere),
    )
    grown = attach(land, np.arange(190, 200), vectors(10, 6))
    every = np.arange(200)
    assert np.array_equal(
        walked.extended_to(grown).neighbourhood(every),
        scores_of(grown, references(background=True)).neighbourhood(every),
    )


def test_nobody_is_known_around_what_people_called_new(land: NeighbourGraph) -> None:
    places = np.arange(190)

    plain = scores_of(land, references()).neighbourhood(places)
    answered = scores_of(land, references(background=True)).neighbourhood(places)

    assert np.array_equal(plain, answered)
    known = places % 12 < 8
    assert plain[known, 0].mean() > plain[~known, 0].mean() + 1


def left(land: NeighbourGraph, known: dict[str, Places]) -> LeftOutScores:
    every = np.concatenate(list(known.values()))
    levels = [np.array([place // 4 for place in range(8)])]
    return leave_one_out(scores_of(land, known), every, levels)


@pytest.mark.parametrize("row", [0, 7, 22, 39])
def test_a_reference_left_out_sees_what_is_there_without_it(land: NeighbourGraph, row: int) -> None:
    known = references()
    found = left(land, known)
    place, own = found.places[row], f"{found.own[row]:02}"
    parent = found.own[row] // 4

    fewer = known | {own: np.setdiff1d(known[own], [place])}
    without = {name: places for name, places in known.items() if name != own}
    elsewhere = {name: places for name, places in known.items() if int(name) // 4 != parent}

    for column, references_left in enumerate((fewer, without, elsewhere)):
        expected = scores_of(land, references_left).neighbourhood(np.array([place]))[0, 0]
        assert found.neighbourhood_evidence[row, column] == pytest.approx(expected, abs=STEP_OF_W)
    assert (
        found.without_own().neighbourhood_evidence[row].tolist()
        == found.neighbourhood_evidence[row, [1, 1, 2]].tolist()
    )


def test_a_leaf_left_out_sees_what_is_there_without_it(land: NeighbourGraph) -> None:
    known = references() | {"05": np.array([5, 17, 185])}

    found = left(land, known)

    row = int(np.flatnonzero(found.places == 185)[0])
    fewer = scores_of(land, known | {"05": np.array([5, 17])})
    expected = fewer.neighbourhood(np.array([185]))[0, 0]
    assert found.neighbourhood_evidence[row, 0] == pytest.approx(expected, abs=STEP_OF_W)


def test_what_does_not_vote_sees_what_is_there(land: NeighbourGraph) -> None:
    scores = scores_of(land, references())

    found = scores_of_answered(scores, {"03": np.array([63, 75])})

    seen = scores.neighbourhood(np.array([63, 75]))
    assert found.neighbourhood_evidence[:, 0] == pytest.approx(seen[:, 0], abs=STEP_OF_W)
    assert (found.neighbourhood_evidence[:, 1] < found.neighbourhood_evidence[:, 0]).all()
    assert np.array_equal(found.remoteness, seen[:, 1])


def test_what_lies_apart_from_its_neighbours_is_remote() -> None:
    rows = vectors(180, spread=0.3).astype(np.float32)
    rows[7] = rows[7] + 1.2 * rows[8]
    rows[7] /= np.linalg.norm(rows[7])

    found = remoteness(build_neighbour_graph(np.arange(180), rows.astype(np.float16)))

    assert found.argmax() == 7
    assert abs(np.median(found)) < 0.2


@pytest.mark.parametrize("count", [1, 2, 15])
def test_few_items_have_surroundings(count: int) -> None:
    few = build_neighbour_graph(np.arange(count), vectors(count))

    wider = scores_of(few, {"00": np.array([0])}).neighbourhood(np.arange(count))

    assert np.isfinite(wider).all()


def test_leaves_that_were_only_imagined_leave_nothing_behind(land: NeighbourGraph) -> None:
    around = GraphSmoother(land, np.zeros(190, np.float32))
    one, other = (attach(land, np.array([190]), vectors(1, seed), copy=True) for seed in (6, 7))
    around.extended_to(one).smoothing_weights(190)

    ends = around.extended_to(other).smoothing_weights(190)

    fresh = GraphSmoother(other, np.zeros(191, np.float32)).smoothing_weights(190)
    assert np.array_equal(ends.places, fresh.places)
    assert np.array_equal(ends.amounts, fresh.amounts)


def test_a_model_that_was_learned_from_fewer_numbers_reads_those() -> None:
    """Such as one in a store that an older version wrote."""
    chance = np.random.default_rng(3)
    rows = chance.standard_normal((200, 15))
    older = fit_logistic(rows[:, :13], (rows[:, 0] > 0).astype(float), ridge=0.1)

    assert np.array_equal(older.log_odds(rows), older.log_odds(rows[:, :13]))
