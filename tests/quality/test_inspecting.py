"""What is said of references that may be wrong, and what the gate of promotion holds back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin, Reason

KINDS = ("Bags", "Boots", "Hats", "Scarves")


def clusters(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vectors around one centre for each kind, and which kind each is."""
    chance = np.random.default_rng(seed)
    kinds = chance.integers(0, len(KINDS), count)
    centres = np.random.default_rng(1).normal(size=(len(KINDS), 32))
    return centres[kinds] + 0.5 * chance.normal(size=(count, 32)), kinds


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    """Two hundred things of four kinds, fifteen of each labelled."""
    vectors, kinds = clusters(200)
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(200)])
        chosen = np.concatenate([np.flatnonzero(kinds == kind)[:15] for kind in range(4)])
        collection.label({f"v{place}": KINDS[kinds[place]] for place in chosen.tolist()})
        yield collection


def labelled(collection: Collection) -> dict[str, str]:
    documents = collection.documents(origin=Origin.HUMAN)
    return {one.id: str(one.label) for one in documents}


def test_a_wrong_label_is_suspected_and_the_right_one_named(collection: Collection) -> None:
    id, right = next(iter(labelled(collection).items()))
    wrong = next(kind for kind in KINDS if kind != right)
    collection.label({id: wrong})

    worst = collection.inspect().suspects[0]

    assert (worst.id, worst.label, worst.looks_like) == (id, wrong, right)
    assert worst.odds >= 19


def test_wrong_labels_that_the_rule_does_not_use_are_suspected_too(tmp_path: Path) -> None:
    """Before, what looked so wrong that it did not vote was not among them."""
    vectors, kinds = clusters(200)
    given = {f"v{place}": KINDS[kind] for place, kind in enumerate(kinds[:120].tolist())}
    wrong = {f"v{place}": KINDS[(kinds[place] + 1) % 4] for place in (3, 40, 77)}
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(200)])
        collection.label(given | wrong)
        asked = {one.id for q in collection.queue() if q.kind == "suspect" for one in q.documents}

        found = {one.id: one for one in collection.inspect().suspects}
        health = collection.inspect().labels
        collection.label({"v77": given["v77"]})
        later = {one.id for one in collection.inspect().suspects}

    assert asked == {"v77"}
    assert set(found) == set(wrong)
    assert {id: one.label for id, one in found.items()} == wrong
    assert {id: one.looks_like for id, one in found.items()} == {id: given[id] for id in wrong}
    assert sum(one.references for one in health) == 119
    assert later == {"v3", "v40"}


def test_right_labels_are_not_suspected(collection: Collection) -> None:
    assert collection.inspect().suspects == ()


def test_contradictory_labels_on_duplicates_are_named(collection: Collection) -> None:
    vectors, _ = clusters(1, seed=9)
    collection.add(vectors=np.repeat(vectors, 3, axis=0), ids=["one", "same", "again"])
    collection.label({"one": "Bags", "same": "Hats"})

    (group,) = (one for one in collection.inspect().duplicates if one.conflict)

    assert (group.ids, group.labels) == (("one", "same"), ("Bags", "Hats"))


def test_what_equals_contradictory_references_has_no_label(collection: Collection) -> None:
    vectors, kinds = clusters(200)
    (place,) = np.flatnonzero(kinds == 0)[:1].tolist()
    collection.add(vectors=vectors[[place, place]], ids=["same", "third"])

    collection.label({"same": "Hats"})

    third = collection.document("third")
    assert (third.label, third.reason) == (None, Reason.CONFLICT)


def test_every_label_is_tried(collection: Collection) -> None:
    collection.label({"v199": "Gloves"})

    health = {one.label: one for one in collection.inspect().labels}

    assert set(health) == {*KINDS, "Gloves"}
    assert all(health[kind].recall == 1.0 for kind in KINDS if not health[kind].confused)
    assert (health["Gloves"].references, health["Gloves"].thin) == (1, True)
    assert health["Gloves"].recall is None


def test_a_reference_that_people_corrected_is_blamed(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        known = library.labeler("known", extractor="passthrough", confidence_threshold=0.9)
        ids = [f"{kind}{place}" for kind in "abc" for place in range(4)]
        known.add(vectors=np.repeat(np.eye(3), 4, axis=0), ids=ids)
        known.label({"a0": "A", "b0": "B", "c0": "C"})
        known.label({"a1": "B", "a2": "B", "b1": "B"})
        known.reject({"c1": None})

        blamed = known.inspect().blamed

        found = [(one.id, one.corrected, one.confirmed) for one in blamed]
        assert found == [("a0", 2, 0), ("c0", 1, 0)]
        assert (blamed[0].label, blamed[0].instead) == ("A", "B")


def test_nothing_can_be_said_without_references(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        empty = library.labeler("empty", extractor="passthrough")
        empty.add(vectors=np.eye(3), ids=list("abc"))

        found = empty.inspect()

        assert (found.suspects, found.duplicates, found.labels) == ((), (), ())


def many_kinds(library: lookalike.Library) -> Collection:
    """Six hundred things of thirty kinds, ten of each labelled: enough to label by itself."""
    chance = np.random.default_rng(2)
    kinds = np.arange(600) % 30
    centres = chance.normal(size=(30, 32))
    vectors = centres[kinds] + 0.3 * chance.normal(size=(600, 32))
    collection = library.labeler("things", extractor="passthrough", target_precision=0.9)
    collection.add(vectors=vectors, ids=[f"v{place}" for place in range(600)])
    collection.label({f"v{place}": f"Kind {kinds[place]}" for place in range(300)})
    collection.add(vectors=vectors[:1], ids=["twin"])
    return collection


def test_the_gate_says_why_it_holds_something_back(tmp_path: Path) -> None:
    """A near-duplicate of a reference adds nothing, one that is not sure enough could be wrong."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = many_kinds(library)
        auto = {one.id: one for one in collection.documents(origin=Origin.AUTO)}

        promoted = collection.promote(min_confidence=0)

        now = {one.id for one in collection.documents(origin=Origin.PROMOTED)}
        assert now | set(promoted.refused) == set(auto)
        assert all((auto[id].confidence or 0) >= 0.99 for id in now)
        assert "twin" in promoted.refused


def test_a_person_may_promote_past_the_gate(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = many_kinds(library)
        auto = [one.id for one in collection.documents(origin=Origin.AUTO)]

        promoted = collection.promote(auto, gated=False)

        assert promoted.by_person == len(auto) > 0
        assert promoted.refused == {}
