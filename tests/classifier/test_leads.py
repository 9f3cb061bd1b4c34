"""Who leads, and what is largest, kept up as one label changes: as if all were looked at anew."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import Evidence
from lookalike.classifier.scores.evidence import UNREACHED, MaxEvidence, TopTwo, scored
from lookalike.classifier.scores.scores import NearestReference

MIX = (1.0, 2.0)
ITEMS, TURNS = 300, 40

Table = NDArray[np.float32]


def tables(chance: np.random.Generator, labels: int) -> tuple[Table, Table]:
    """L and C of few different values, so that many are equally large; a third is unreached."""
    low, high = chance.integers(-3, 3, (2, ITEMS, labels)).astype(np.float32)
    unreached = chance.random((ITEMS, labels)) < 1 / 3
    low[unreached], high[unreached] = UNREACHED
    return low, high


@pytest.mark.parametrize(
    ("labels", "never_predicted"), [(1, ()), (2, ()), (5, ()), (5, (0,)), (6, (0, 2))]
)
def test_who_leads_after_one_label_changed_is_who_leads_among_all(
    labels: int, never_predicted: tuple[int, ...]
) -> None:
    chance = np.random.default_rng(labels)
    graph_evidence, class_similarity = tables(chance, labels)
    kept, answered = TopTwo.from_scores(MIX, graph_evidence, class_similarity, never_predicted), 0

    for _ in range(TURNS):
        column = int(chance.integers(labels))
        before = scored(MIX, graph_evidence[:, column], class_similarity[:, column])
        some = chance.random(ITEMS) < 0.5
        for table, new in zip((graph_evidence, class_similarity), tables(chance, 1), strict=True):
            table[some, column] = new[some, 0]
        now = scored(MIX, graph_evidence[:, column], class_similarity[:, column])

        may_win, known = column not in never_predicted, kept.at(np.arange(ITEMS))
        changed, is_open = kept.update(column, before, now, may_win=may_win)
        among = TopTwo.from_scores(MIX, graph_evidence, class_similarity, never_predicted)
        kept.assign(np.flatnonzero(is_open), among.at(np.flatnonzero(is_open)))

        answered += ITEMS - int(is_open.sum())
        for part in ("winners", "runners_up", "own", "rivals"):
            assert np.array_equal(getattr(kept, part), getattr(among, part)), part
            same = getattr(kept, part)[..., ~changed] == getattr(known, part)[..., ~changed]
            assert same.all(), part
        assert (kept.rest >= among.rest).all()
    assert answered > TURNS * ITEMS / 3


def test_an_item_of_which_no_label_is_reached_has_no_winner() -> None:
    unreached = np.full((2, 1, 3), UNREACHED[:, None, None], np.float32)
    never_predicted_only = unreached.copy()
    never_predicted_only[:, 0, 0] = -2, 0.5

    silent, below = (
        TopTwo.from_scores(MIX, one[0], one[1], (0,)) for one in (unreached, never_predicted_only)
    )

    assert [*silent.winners, *silent.runners_up] == [-1, -1]
    assert not silent.features(MIX, np.zeros(1, np.float32))[0, :5].any()
    assert [*below.winners, *below.runners_up] == [-1, 0]
    assert below.features(MIX, np.zeros(1, np.float32))[0, 0] < 0


def test_the_best_that_is_reached_wins_even_where_an_unreached_label_has_more() -> None:
    graph_evidence = np.array([[UNREACHED[0], -11.4, -11.3]], np.float32)
    class_similarity = np.array([[UNREACHED[1], -0.9, -0.99]], np.float32)

    leads = TopTwo.from_scores(MIX, graph_evidence, class_similarity, ())

    assert [*leads.winners, *leads.runners_up] == [1, 2]
    assert leads.features(MIX, np.zeros(1, np.float32))[0, 0] < 0


def test_an_item_of_a_single_label_is_compared_with_an_unreached_one() -> None:
    graph_evidence, class_similarity = tables(np.random.default_rng(0), 1)

    rows = TopTwo.from_scores(MIX, graph_evidence, class_similarity, ()).features(
        MIX, np.zeros(ITEMS, np.float32)
    )

    assert np.array_equal(rows[:, 1], np.maximum(graph_evidence[:, 0] - UNREACHED[0], 0))
    assert np.array_equal(rows[:, 2], class_similarity[:, 0] - UNREACHED[1])
    assert np.array_equal(rows[:, 5:], np.concatenate([graph_evidence, class_similarity], axis=1))


@pytest.mark.parametrize("columns", [1, 2, 7])
def test_the_largest_after_one_column_changed_is_the_largest_of_all(columns: int) -> None:
    chance = np.random.default_rng(columns)

    def evidence() -> Evidence:
        places = np.flatnonzero(chance.random(ITEMS) < 0.4)
        return Evidence(places, chance.integers(1, 5, len(places)).astype(np.float32))

    every = [evidence() for _ in range(columns)]
    kept = MaxEvidence(every, ITEMS)

    for _ in range(TURNS):
        column = int(chance.integers(columns))
        before, every[column] = every[column], evidence()
        kept.update(before, every[column], lambda lost: np.stack([e.at(lost) for e in every], 1))
        largest = np.max([said.at(np.arange(ITEMS)) for said in every], axis=0)
        assert np.array_equal(kept.largest, largest)


@pytest.mark.parametrize("many", [1, 30])
def test_the_nearest_reference_after_some_came_and_went_is_that_of_all(many: int) -> None:
    """Whether they come one by one, or so many that all are looked at again."""
    chance, columns = np.random.default_rng(many), 3
    cosines = chance.integers(0, 20, (ITEMS, ITEMS)).astype(np.float32)
    closest = NearestReference(ITEMS, lambda rows, places: cosines[np.ix_(rows, places)])
    places = np.arange(ITEMS)
    asked = chance.integers(0, columns, ITEMS)
    known = [np.sort(chance.choice(ITEMS, 40, replace=False)) for _ in range(columns)]

    for _ in range(TURNS):
        column = int(chance.integers(columns))
        went = chance.choice(known[column], min(many, len(known[column]) - 5), replace=False)
        came = chance.choice(np.setdiff1d(places, known[column]), many, replace=False)
        known[column] = np.union1d(np.setdiff1d(known[column], went), came)
        closest.update(column, np.sort(came), np.sort(went))
        nearest, sources = closest.of(places, asked, known.__getitem__)
        for item, own in enumerate(asked.tolist()):
            among = cosines[item, known[own]]
            assert nearest[item] == among.max()
            assert sources[item] == known[own][among.argmax()]
