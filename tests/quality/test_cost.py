"""What limits cost where a wrong label costs many reviews: estimated and counted."""

import re
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import lookalike
from lookalike.cli.output import show_cost
from lookalike.errors import BadInput, Conflict
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin, Reason
from lookalike.quality.stats.cost_curve import (
    ENOUGH_CHECKS,
    Check,
    cheapest,
    cost_points,
    error_risks,
)

SHARES = st.lists(st.integers(0, 100).map(lambda one: one / 100), max_size=40)


@given(SHARES, st.sampled_from([0.5, 1, 3, 20, 1000]))
def test_the_cheapest_limit_labels_what_is_cheaper_labelled_than_reviewed(
    shares: list[float], wrong_costs: float
) -> None:
    """The closed form: accept where N (1 − p) < 1. No other limit costs less."""
    p = np.array(shares, np.float64)
    these = error_risks(p, [], len(p), 0)

    best = cheapest(these, wrong_costs)

    assert best.limit is not None
    clearly = int((wrong_costs * (1 - p) < 1 - 1e-9).sum())
    nearly = int((wrong_costs * (1 - p) < 1 + 1e-9).sum())
    assert clearly <= best.labelled <= nearly
    assert int((p >= best.limit).sum()) == best.labelled
    assert best.cost <= min(one.cost for one in cost_points(these, wrong_costs)) + 1e-9
    assert best.cost == pytest.approx(wrong_costs * (1 - p[p >= best.limit]).sum() + best.reviews)


def test_enough_random_answers_count_how_often_labels_are_wrong() -> None:
    """Of labels that are said to be right with 0.97, a fifth was wrong: not worth it."""
    chance = np.random.default_rng(0)
    p = np.concatenate([np.full(200, 0.99), np.full(200, 0.97)])
    checks = [Check(0.99, True, 0.5) for _ in range(100)]
    checks += [Check(0.97, bool(chance.random() > 0.2), 0.5) for _ in range(100)]

    believed, counted = (cheapest(error_risks(p, some, 400, 0), 20) for some in ([], checks))

    assert len(checks) >= ENOUGH_CHECKS
    assert (believed.labelled, counted.labelled) == (400, 200)
    assert counted.wrong == 0


def test_an_answer_counts_by_the_inverse_of_its_probability_of_being_drawn() -> None:
    checks = [Check(0.9, False, 0.1)] * 10 + [Check(0.9, True, 0.9)] * 90

    these = error_risks(np.array([0.9]), checks, 1, 0)

    assert these.wrong.tolist() == pytest.approx([100 / (100 + 100)])


def test_below_what_random_answers_met_the_estimate_stays() -> None:
    checks = [Check(0.9, False, 1.0)] * ENOUGH_CHECKS

    these = error_risks(np.array([0.95, 0.6]), checks, 2, 0)

    assert these.wrong.tolist() == pytest.approx([1.0, 0.4])


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Six hundred things of thirty kinds, half of them labelled: enough to label by itself."""
    chance = np.random.default_rng(2)
    kinds = np.arange(600) % 30
    vectors = chance.normal(size=(30, 32))[kinds] + 0.5 * chance.normal(size=(600, 32))
    with lookalike.open(tmp_path_factory.mktemp("cost") / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough", target_precision=0.9)
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(600)])
        collection.label({f"v{place}": f"Kind {kinds[place]}" for place in range(300)})
        yield collection


def test_the_cost_is_that_of_the_recorded_decisions(things: Collection) -> None:
    auto = [one.confidence or 0 for one in things.documents(origin=Origin.AUTO)]

    found = things.cost(wrong_costs=20)

    assert (found.basis, found.by_rule, found.wrong_costs) == ("estimated", 0.95, 20)
    assert found.decisions + found.anyway == 300
    assert found.now.labelled == len(auto) > 0
    assert found.now.wrong == pytest.approx(sum(1 - one for one in auto), abs=1e-3)
    assert found.best.cost <= found.now.cost
    assert found.best.cost == pytest.approx(20 * found.best.wrong + found.best.reviews)
    assert found.best.coverage == (found.best.labelled + 300) / 600


def test_a_limit_labels_what_would_flip_at_it(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    kinds = np.arange(600) % 30
    vectors = chance.normal(size=(30, 32))[kinds] + 0.9 * chance.normal(size=(600, 32))
    known = {f"v{place}": f"Kind {kinds[place]}" for place in range(300) if kinds[place] < 22}
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough", target_precision=0.95)
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(600)])
        collection.label(known)
        reasons = {one.reason for one in collection.documents(label=None)}
        found = collection.cost(wrong_costs=20)
        flips = [collection.flips(at=point.limit) for point in found.points]

    assert reasons == {Reason.BELOW_THRESHOLD, Reason.TOO_CLOSE}
    changes = [one.appear - one.vanish for one in flips]
    assert [one.labelled - found.now.labelled for one in found.points] == changes


def test_a_dearer_mistake_is_made_less_often(things: Collection) -> None:
    cheap, dear = things.cost(wrong_costs=2).best, things.cost(wrong_costs=1000).best

    assert cheap.labelled >= dear.labelled
    assert cheap.wrong >= dear.wrong


def test_the_next_step_brings_the_cheapest_limit_about(things: Collection) -> None:
    found = things.cost(wrong_costs=20)

    command, target = found.next_step.rsplit(" ", 1)
    changed = things.run(target_precision=float(target))
    now = things.cost(wrong_costs=20).now
    things.undo(changed.operation)

    assert command == "lookalike run things --field label --target-precision"
    assert now.cost <= 1.05 * found.now.cost, "what is learned for another target differs a little"
    assert now.labelled >= 0.9 * found.best.labelled


def test_the_costs_are_shown_as_text(things: Collection) -> None:
    found = things.cost(wrong_costs=20)

    text = show_cost(found)

    assert re.search(r"cheapest +0\.\d{3} +\d+\.\d +\d+\.\d +\d+ +\d+\.\d%\n", text)
    assert text.endswith(f"next: {found.next_step}")


@pytest.mark.parametrize("wrong_costs", [0, -1, float("nan"), float("inf"), 1e12])
def test_an_impossible_cost_is_named(things: Collection, wrong_costs: float) -> None:
    with pytest.raises(BadInput, match=f"wrong_costs is {wrong_costs}".replace("+", r"\+")):
        things.cost(wrong_costs)


def test_similarities_have_no_cost(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        known = library.labeler("known", extractor="passthrough", confidence_threshold=0.9)
        known.add(vectors=np.eye(3), ids=list("abc"))
        known.label({"a": "A"})

        with pytest.raises(Conflict, match="lookalike run known --field label --target-precision"):
            known.cost()


def test_without_a_probability_there_is_no_cost(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        new = library.labeler("new", extractor="passthrough")
        new.add(vectors=np.eye(3), ids=list("abc"))

        with pytest.raises(Conflict, match="label more items of each category"):
            new.cost()


def test_random_answers_are_told(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        chance = np.random.default_rng(2)
        kinds = np.arange(400) % 20
        vectors = chance.normal(size=(20, 32))[kinds] + 0.3 * chance.normal(size=(400, 32))
        some = library.labeler("some", extractor="passthrough", target_precision=0.9)
        some.add(vectors=vectors, ids=[f"v{place}" for place in range(400)])
        some.label({f"v{place}": f"Kind {kinds[place]}" for place in range(200)})
        for _ in range(3):
            asked = [one.id for question in some.queue(limit=20) for one in question.documents]
            some.label({id: f"Kind {kinds[int(id[1:])]}" for id in asked}, asked=True)

        before = some.cost()
        some.run(target_precision=0.8)

        assert before.answers == some.report().checked > 0
        assert before.basis == "estimated", "too few to count"
        assert some.cost().answers == 0, "they met another policy"
