"""The policy `precision` through the public door: it labels what its references can support."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from lookalike.catalog.reader import fields_of, ids_of
from lookalike.classifier.calibration import decision_rule
from lookalike.classifier.calibration.decision_rule import DecisionRule, decision_rule_to
from lookalike.decisions.ledger.samples import unanswered_samples
from lookalike.errors import BadInput
from lookalike.library.collection.collection import Collection
from lookalike.model import Changed, Reason
from lookalike.stores import schema

TARGET = 0.95
KINDS = 30
KNOWN = 20
"""Kinds with references; a third of the kinds has none."""

Vectors = NDArray[np.float64]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def world(width: float, *, seed: int, count: int = 900) -> tuple[Vectors, NDArray[np.int64]]:
    """Vectors (count, 24) of KINDS kinds, and the kind of each; `width` makes kinds overlap."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((KINDS, 24))
    kinds = chance.integers(0, KINDS, count)
    return centres[kinds] + width * chance.standard_normal((count, 24)), kinds


def learned(library: lookalike.Library, vectors: Any, *, target: float = TARGET) -> Collection:
    collection = library.labeler("learned", extractor="passthrough", target_precision=target)
    collection.add(vectors=vectors, ids=[f"v{number}" for number in range(len(vectors))])
    return collection


def label_some(
    collection: Collection, kinds: NDArray[np.int64], *, each: int, among: int = KNOWN
) -> None:
    """Label the first `each` of every kind below `among` with its name."""
    said = {}
    for kind in range(among):
        for place in np.flatnonzero(kinds == kind)[:each].tolist():
            said[f"v{place}"] = f"Kind {kind}"
    collection.label(said)


def drawn_places(collection: Collection) -> list[int]:
    """The documents that chance chose, and nobody answered yet."""
    with collection._runtime.store.read() as snapshot:
        (field,) = fields_of(snapshot, collection._row.pk)
        pks = unanswered_samples(snapshot, field.pk)
        return [int(id[1:]) for id in ids_of(snapshot, pks.tolist()).values()]


def answer_drawn(
    collection: Collection, kinds: NDArray[np.int64], count: int, *, known: int
) -> None:
    """Answer truthfully what chance chose, at least `count`; kinds from `known` on are new."""
    answered = 0
    while answered < count:
        drawn = drawn_places(collection)
        answered += len(drawn)
        collection.label({f"v{one}": f"Kind {kinds[one]}" for one in drawn if kinds[one] < known})
        collection.new_kind(f"v{one}" for one in drawn if kinds[one] >= known)


def shown(collection: Collection) -> list[tuple[Any, ...]]:
    return [(one.id, one.label, one.confidence, one.reason) for one in collection.documents()]


def automatic(collection: Collection) -> dict[int, str]:
    return {int(one.id[1:]): str(one.label) for one in collection.documents(origin="auto")}


def precision_of(given: dict[int, str], kinds: NDArray[np.int64]) -> float:
    return float(np.mean([label == f"Kind {kinds[place]}" for place, label in given.items()]))


@pytest.mark.parametrize("count", [900, 1600])
def test_well_separated_kinds_are_labelled_and_unknown_ones_are_not(
    library: lookalike.Library, count: int
) -> None:
    vectors, kinds = world(0.3, seed=1, count=count)
    collection = learned(library, vectors)

    label_some(collection, kinds, each=12)

    given = automatic(collection)
    known = int((kinds < KNOWN).sum()) - 12 * KNOWN
    assert precision_of(given, kinds) >= 0.95
    assert len(given) > 0.8 * known
    assert collection.report().state == "labels by itself"


@pytest.mark.parametrize("count", [900, 1600])
@pytest.mark.parametrize("width", [0.7, 0.9])
def test_with_overlapping_kinds_the_precision_is_near_the_target(
    library: lookalike.Library, width: float, count: int
) -> None:
    realised, given = [], 0
    for seed in (2, 3):
        vectors, kinds = world(width, seed=seed, count=count)
        collection = library.labeler(
            f"learned{seed}", extractor="passthrough", target_precision=TARGET
        )
        collection.add(vectors=vectors, ids=[f"v{number}" for number in range(len(vectors))])
        label_some(collection, kinds, each=15)
        labels = automatic(collection)
        given += len(labels)
        realised += [precision_of(labels, kinds)] * len(labels)

    assert given > 100
    assert np.mean(realised) >= TARGET - 0.05


def test_a_higher_target_labels_no_more(library: lookalike.Library) -> None:
    vectors, kinds = world(0.8, seed=4)
    collection = learned(library, vectors, target=0.7)
    label_some(collection, kinds, each=12)
    loose = len(automatic(collection))

    collection.run(target_precision=0.99)

    assert len(automatic(collection)) <= loose
    assert loose > 0


def test_with_few_labels_it_suggests_until_random_answers_count_what_is_new(
    library: lookalike.Library,
) -> None:
    """Five labels do not tell how much is of none of them; thirty drawn answers do."""
    vectors, kinds = world(0.3, seed=5, count=3000)
    vectors, kinds = vectors[kinds < 6], kinds[kinds < 6]
    collection = learned(library, vectors)
    label_some(collection, kinds, each=20, among=5)
    before = collection.report()

    answer_drawn(collection, kinds, 120, known=5)

    assert before.state == "suggests only"
    assert before.missing[0].startswith("5 labels are too few to estimate the share of unknown ")
    assert "check 18 documents" in before.missing[0]
    assert collection.report().state.startswith("labels by itself")
    assert precision_of(automatic(collection), kinds) >= 0.95


def test_what_is_more_likely_wrong_than_right_is_not_labelled(library: lookalike.Library) -> None:
    """However right the rest is: an average alone would carry the worst along."""
    vectors, kinds = world(0.5, seed=13, count=1200)
    collection = learned(library, vectors)

    label_some(collection, kinds, each=10)

    assert automatic(collection)
    assert all((one.confidence or 0) >= 0.5 for one in collection.documents(origin="auto"))


def test_wrong_references_are_named_and_do_not_count(library: lookalike.Library) -> None:
    """One in twelve labels is wrong: they are left out, shown again, and count when confirmed."""
    vectors, kinds = world(0.3, seed=13, count=1200)
    collection = learned(library, vectors)
    places = [place for place in range(500) if kinds[place] < KNOWN]
    wrong = set(places[::12])
    other = np.random.default_rng(1).integers(1, KNOWN, 1200)
    said = {p: (kinds[p] + other[p]) % KNOWN if p in wrong else kinds[p] for p in places}
    collection.label({f"v{place}": f"Kind {kind}" for place, kind in said.items()})

    suspects = next(one for one in collection.queue(limit=50) if one.kind == "suspect")
    shown = [int(one.id[1:]) for one in suspects.documents]

    report, given = collection.report(), automatic(collection)
    assert given
    assert precision_of(given, kinds) >= 0.93
    assert "wrong and are not used until you confirm them" in report.missing[0]
    assert len(wrong.intersection(shown)) > 0.8 * len(shown)
    assert suspects.suggestions == tuple(f"Kind {said[place]}" for place in shown)


def test_a_label_that_looked_wrong_counts_when_it_is_given_again(
    library: lookalike.Library,
) -> None:
    vectors, kinds = world(0.3, seed=13, count=1200)
    collection = learned(library, vectors)
    said = {place: int(kinds[place]) for place in range(500) if kinds[place] < KNOWN}
    odd = next(place for place, kind in said.items() if kind == 3)
    said[odd] = 4
    collection.label({f"v{place}": f"Kind {kind}" for place, kind in said.items()})
    before = [one for one in collection.queue(limit=50) if one.kind == "suspect"]

    changed = collection.label({f"v{odd}": "Kind 4"}, asked=True)

    assert [one.id for question in before for one in question.documents] == [f"v{odd}"]
    assert changed.by_person == 1
    assert not any(one.kind == "suspect" for one in collection.queue(limit=50))
    assert "wrong" not in " ".join(collection.report().missing)
    collection.undo(changed.operation)
    assert any(one.kind == "suspect" for one in collection.queue(limit=50))


def test_why_names_the_references_that_said_most(library: lookalike.Library) -> None:
    vectors, kinds = world(0.5, seed=13, count=1200)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=10)
    one = next(iter(collection.documents(origin="auto", order_by="-confidence")))

    why = collection.why(one.id)

    shares = [cause.share for cause in why.causes]
    assert why.causes[0].label == one.label
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    assert why.counterfactual is not None
    assert why.counterfactual.without == why.causes[0].document_id


def test_not_this_is_kept_by_the_landscape_rule(library: lookalike.Library) -> None:
    vectors, kinds = world(0.3, seed=9, count=1600)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=12)
    guessed = next(iter(collection.documents(origin="auto")))

    collection.reject({guessed.id: None})
    collection.run()

    assert collection.document(guessed.id).label != guessed.label


def test_the_landscape_rule_decides_the_same_step_by_step_and_from_scratch(
    library: lookalike.Library,
) -> None:
    vectors, kinds = world(0.8, seed=10, count=1600)
    collection = learned(library, vectors[:1550])
    label_some(collection, kinds[:1550], each=10)
    changed = collection.label({"v1400": "Kind 3", "v1401": "Kind 4"})
    collection.add(vectors=vectors[1550:], ids=[f"v{number}" for number in range(1550, 1600)])
    collection.undo(changed.operation)
    collection.forget(["v1500"])
    now = shown(collection)

    again = collection.run()

    assert again.by_itself == 0
    assert shown(collection) == now


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_answers_decides_as_everything_from_scratch(
    library: lookalike.Library, tmp_path: Path, seed: int
) -> None:
    """What is learned lasts for some answers; one process keeps up, another begins each time."""
    chance = np.random.default_rng(seed)
    vectors, kinds = world(0.6, seed=20 + seed, count=1200)
    collection = learned(library, vectors[:1100])
    label_some(collection, kinds[:1100], each=10)
    operations: list[str] = []
    for step in range(12):
        one, other = (f"v{place}" for place in chance.integers(0, 1100, 2).tolist())
        kind, wrong = f"Kind {kinds[int(one[1:])]}", f"Kind {chance.integers(0, KNOWN)}"
        changed = one_of_many(collection, step, one, other, kind, wrong, operations)
        operations.append(changed.operation)
        if step % 4 == 3:
            with lookalike.open(library.path, actor="bob") as process:
                process.collection("learned").label({other: kind})
    collection.add(vectors=vectors[1100:], ids=[f"v{place}" for place in range(1100, 1200)])
    now = shown(collection)

    again = collection.run()

    assert again.by_itself == 0
    assert shown(collection) == now


def one_of_many(
    collection: Collection,
    step: int,
    one: str,
    other: str,
    kind: str,
    wrong: str,
    operations: list[str],
) -> Changed:
    """Say something; what, goes round."""
    match step % 6:
        case 0:
            return collection.label({one: kind})
        case 1:
            return collection.label({one: wrong, other: None})
        case 2:
            return collection.reject({other: wrong})
        case 3:
            return collection.new_kind([one])
        case 4:
            return collection.undo(operations.pop())
        case _:
            return collection.promote(label=kind, gated=False)


def ten_of_each(library: lookalike.Library) -> tuple[Collection, NDArray[np.int64]]:
    vectors, kinds = world(0.6, seed=30, count=1200)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=10)
    return collection, kinds


def standard_of(collection: Collection) -> DecisionRule:
    with collection._runtime.store.read() as snapshot:
        (field,) = fields_of(snapshot, collection._row.pk)
    assert field.decision_rule is not None
    return field.decision_rule


def test_what_was_learned_lasts_until_a_twentieth_of_the_answers_changed(
    library: lookalike.Library,
) -> None:
    collection, kinds = ten_of_each(library)
    first = standard_of(collection)
    places = [place for place in range(600, 1200) if kinds[place] < KNOWN]

    collection.label({f"v{place}": f"Kind {kinds[place]}" for place in places[:5]})
    kept = standard_of(collection)
    collection.label({f"v{place}": f"Kind {kinds[place]}" for place in places[5:15]})
    anew = standard_of(collection)

    assert first.learned_from == 10 * KNOWN
    assert (kept.learned, kept.moved) == (first.learned, 5)
    assert (anew.learned_from, anew.moved) == (10 * KNOWN + 15, 0)
    assert anew.learned != first.learned


def test_what_another_edition_of_the_rule_learned_is_learned_anew(
    library: lookalike.Library,
) -> None:
    collection, kinds = ten_of_each(library)
    first, expected = standard_of(collection), shown(collection)
    with collection._runtime.store.write() as txn:
        stored = decision_rule_to(first)
        del stored["edition"]
        stored["learned"] = {**stored["learned"], "known": {"mean": [], "deviation": []}}
        txn.execute(schema.field.update().values(standard=stored))

    with lookalike.open(library.path, actor="bob") as process:
        other = process.collection("learned")
        assert other.queue(limit=1)
        assert other.why("v0").document.id == "v0"
        other.label({"v1199": f"Kind {kinds[1199]}"})
        anew, now = standard_of(other), shown(other)
        assert other.run().by_itself == 0

    assert anew.learned is not None
    assert (anew.edition, anew.moved) == (first.edition, 0)
    assert anew.learned_from in (10 * KNOWN, 10 * KNOWN + 1)
    assert shown(collection) == now != expected


def test_where_there_is_too_much_for_a_graph_the_nearest_count(
    library: lookalike.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many documents as that take minutes: here the bound is lowered instead."""
    monkeypatch.setattr(decision_rule, "MAX_ITEMS", 500)
    vectors, kinds = world(0.3, seed=31, count=1200)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=12)
    first = standard_of(collection)
    places = [place for place in range(700, 1200) if kinds[place] < KNOWN]

    collection.label({f"v{place}": f"Kind {kinds[place]}" for place in places[:5]})

    kept, now = standard_of(collection), shown(collection)
    assert first.rule is decision_rule.Method.NEAREST
    assert (kept.nearest, kept.moved) == (first.nearest, 5)
    assert precision_of(automatic(collection), kinds) >= 0.95
    assert collection.run().by_itself == 0
    assert shown(collection) == now


def test_random_answers_count_where_a_curated_collection_votes(library: lookalike.Library) -> None:
    """They do not vote there, and tell all the same how sure to be."""
    vectors, kinds = world(0.3, seed=5, count=3600)
    vectors, kinds = vectors[kinds < 6], kinds[kinds < 6]
    curated = library.labeler("curated", extractor="passthrough")
    curated.add(vectors=vectors[:150], ids=[f"v{place}" for place in range(150)])
    label_some(curated, kinds[:150], each=20, among=5)
    stock = library.labeler(
        "stock", extractor="passthrough", reference="curated", target_precision=TARGET
    )
    kinds = kinds[150:]
    stock.add(vectors=vectors[150:], ids=[f"v{number}" for number in range(len(kinds))])
    before = stock.report()

    answer_drawn(stock, kinds, 150, known=5)

    now, state = shown(stock), stock.report().state
    assert before.state == "suggests only"
    assert state.startswith("labels by itself")
    assert precision_of(automatic(stock), kinds) >= 0.95
    assert stock.run().by_itself == 0
    assert shown(stock) == now


def test_a_label_may_have_a_target_of_its_own(library: lookalike.Library) -> None:
    """Its limit is another one, and undoing the run takes it back."""
    vectors, kinds = world(0.6, seed=12, count=1600)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=12)
    before = shown(collection)

    changed = collection.run(targets={"Kind 0": 1.0, "Kind 1": 0.5})

    limits = {
        one.label: one.standing.decision.threshold for one in collection.documents(origin="auto")
    }
    usual = collection.report().limit
    assert "Kind 0" not in limits
    assert usual is not None and limits["Kind 1"] is not None
    assert limits["Kind 1"] <= usual == limits["Kind 2"]
    collection.undo(changed.operation)
    assert shown(collection) == before


def test_a_target_that_nothing_reaches_labels_nothing_and_says_so(
    library: lookalike.Library,
) -> None:
    vectors, kinds = world(0.5, seed=12, count=900)
    collection = learned(library, vectors, target=1.0)

    label_some(collection, kinds, each=12)

    assert automatic(collection) == {}
    assert "cannot prove a precision of 100% yet" in collection.report().missing[-1]


def test_a_target_of_a_label_is_a_share(library: lookalike.Library) -> None:
    collection = learned(library, np.eye(4))

    with pytest.raises(BadInput, match="95 is not a target"):
        collection.run(targets={"Kind 0": 95})
    with pytest.raises(BadInput, match="not both"):
        collection.run(targets={"Kind 0": 0.9}, confidence_threshold=0.5)


def test_with_too_few_references_it_suggests_only(library: lookalike.Library) -> None:
    vectors, kinds = world(0.3, seed=5, count=200)
    collection = learned(library, vectors)

    label_some(collection, kinds, each=1, among=3)

    report = collection.report()
    assert (report.limit, report.state) == (None, "suggests only")
    assert automatic(collection) == {}
    suggestions = {one.standing.decision.runner_up for one in collection.documents(label=None)}
    assert suggestions == {"Kind 0", "Kind 1", "Kind 2"}


def test_without_references_every_null_says_so(library: lookalike.Library) -> None:
    vectors, _ = world(0.3, seed=5, count=50)

    collection = learned(library, vectors)

    assert {one.reason for one in collection.documents()} == {Reason.NO_REFERENCES}


def test_when_references_go_it_goes_back_to_suggesting(library: lookalike.Library) -> None:
    vectors, kinds = world(0.3, seed=6)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=12)
    assert collection.report().limit is not None

    collection.label(dict.fromkeys([one.id for one in collection.documents(origin="human")][2:]))

    assert collection.report().limit is None
    assert automatic(collection) == {}


def test_a_limit_learned_before_another_policy_is_not_shown_after_it(
    library: lookalike.Library,
) -> None:
    vectors, kinds = world(0.3, seed=6)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=12)
    collection.run(confidence_threshold=0.9)
    collection.label(dict.fromkeys([one.id for one in collection.documents(origin="human")][2:]))

    collection.run(target_precision=TARGET)

    assert (collection.report().limit, automatic(collection)) == (None, {})


DEGENERATE = {
    "all vectors are the same": np.ones((80, 8)),
    "two directions only": np.repeat(np.eye(8)[:2], 40, axis=0),
    "every reference many times over": np.tile(np.eye(8), (10, 1)),
    "every similarity the same": np.eye(80),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_labels_that_contradict_the_vectors_support_nothing(
    library: lookalike.Library, name: str
) -> None:
    vectors = DEGENERATE[name]
    collection = learned(library, vectors)
    said = np.random.default_rng(0).integers(0, 4, 40).tolist()

    collection.label({f"v{2 * place}": f"Kind {kind}" for place, kind in enumerate(said)})

    assert automatic(collection) == {}
    assert len(list(collection.documents(origin="human"))) == 40


@pytest.mark.parametrize("each", [1, 40])
def test_one_label_alone_cannot_be_told_from_anything_else(
    library: lookalike.Library, each: int
) -> None:
    vectors, kinds = world(0.5, seed=7, count=300)
    collection = learned(library, vectors)

    label_some(collection, kinds, each=each, among=1)

    wrong = [place for place in automatic(collection) if kinds[place] != 0]
    assert wrong == []


def test_one_reference_a_label_supports_nothing(library: lookalike.Library) -> None:
    vectors, kinds = world(0.9, seed=8, count=300)
    collection = learned(library, vectors)

    label_some(collection, kinds, each=1, among=KINDS)

    assert automatic(collection) == {}


def test_confidence_is_a_probability_and_the_limit_divides(library: lookalike.Library) -> None:
    vectors, kinds = world(0.8, seed=9)
    collection = learned(library, vectors)

    label_some(collection, kinds, each=12)

    limit = collection.report().limit
    assert limit is not None
    for one in collection.documents():
        if one.origin == "auto" or one.label is None:
            assert one.confidence is not None and 0 <= one.confidence <= 1
            assert one.standing.decision.threshold == limit
        if one.origin == "auto":
            assert one.confidence is not None and one.confidence >= limit - 0.001
            assert one.standing.decision.policy.startswith("precision.")


def test_decisions_do_not_depend_on_the_batches_in_which_things_came(
    library: lookalike.Library, tmp_path: Path
) -> None:
    vectors, kinds = world(0.3, seed=10, count=700)
    at_once = learned(library, vectors)
    label_some(at_once, kinds, each=12)

    with lookalike.open(tmp_path / "other", actor="ann") as other:
        piecemeal = learned(other, vectors[:150])
        label_some(piecemeal, kinds[:150], each=5)
        for start in range(150, 700, 183):
            stop = min(start + 183, 700)
            ids = [f"v{number}" for number in range(start, stop)]
            piecemeal.add(vectors=vectors[start:stop], ids=ids)
        label_some(piecemeal, kinds, each=12)

        assert shown(piecemeal) == shown(at_once)
    assert automatic(at_once)


def test_running_again_gives_the_same_limit_and_the_same_decisions(
    library: lookalike.Library,
) -> None:
    vectors, kinds = world(0.8, seed=11)
    collection = learned(library, vectors)
    label_some(collection, kinds, each=6)
    label_some(collection, kinds, each=12)
    before, limit = shown(collection), collection.report().limit

    changed = collection.run()

    assert changed.by_itself == 0
    assert (shown(collection), collection.report().limit) == (before, limit)
