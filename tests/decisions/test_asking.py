"""The review queue of a collection: what is asked, in which strips, and what chance adds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from lookalike.library.collection.collection import Collection
from lookalike.model import Question

KINDS = ("Bags", "Shoes > Boots", "Shoes > Running", "Hats")


def clusters(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vectors around one centre for each kind, and which kind each is."""
    chance = np.random.default_rng(seed)
    kinds = chance.integers(0, len(KINDS), count)
    centres = np.random.default_rng(1).normal(size=(len(KINDS), 32))
    return centres[kinds] + 0.6 * chance.normal(size=(count, 32)), kinds


VECTORS, KIND_OF = clusters(240)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    """Things of four kinds, none of them labelled."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=VECTORS, ids=[f"v{place}" for place in range(len(VECTORS))])
        yield collection


def kind_of(id: str) -> str:
    return KINDS[KIND_OF[int(id[1:])]]


def ids_in(questions: list[Question]) -> list[str]:
    return [one.id for question in questions for one in question.documents]


def labelled(collection: Collection, each: int, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """Label some of each of the kinds; return which."""
    chosen = []
    for kind in kinds:
        chosen += [f"v{p}" for p in range(len(VECTORS)) if kind_of(f"v{p}") == kind][:each]
    collection.label({id: kind_of(id) for id in chosen})
    return chosen


def test_the_queue_begins_without_a_label(collection: Collection) -> None:
    questions = collection.queue(limit=10)

    assert len(questions) == 10
    assert all(question.suggestion is None for question in questions)
    assert len(ids_in(questions)) == len(set(ids_in(questions)))


def test_the_first_questions_meet_every_kind(collection: Collection) -> None:
    seeds = [question.documents[0].id for question in collection.queue(limit=12)]

    assert {kind_of(id) for id in seeds} == set(KINDS)


def test_what_a_person_answered_is_not_asked(collection: Collection) -> None:
    answered = labelled(collection, 5)
    new, unclear = ids_in(collection.queue(limit=2))[:1], ids_in(collection.queue(limit=4))[-1:]
    collection.new_kind(new, asked=True)
    collection.cannot_tell(unclear, asked=True)

    asked = set(ids_in(collection.queue(limit=200)))

    assert asked
    assert not asked & {*answered, *new, *unclear}


def test_a_strip_holds_look_alikes_with_one_suggestion(collection: Collection) -> None:
    labelled(collection, 6)

    strips = [one for one in collection.queue(limit=60) if len(one.documents) > 1]

    named = [strip for strip in strips if strip.suggestion is not None]
    assert named
    for strip in named:
        right = sum(kind_of(one.id) == strip.suggestion for one in strip.documents)
        assert right > len(strip.documents) / 2


def test_some_of_what_is_asked_was_drawn(collection: Collection) -> None:
    """One in fifty answers at least, also for who asks for one question at a time."""
    asked: list[str] = []
    while len(asked) < 150:
        some = ids_in(collection.queue(limit=1))
        collection.label({id: kind_of(id) for id in some}, asked=True)
        asked += some

    said = [[one for one in collection.history(id) if one.actor == "ann"] for id in asked]
    events = [one for lines in said for one in lines if one.kind == "labelled"]

    assert len(events) >= len(asked)
    assert sum("drawn" in event.detail for event in events) >= 1
    assert all(event.detail.get("asked") for event in events)


def test_the_same_store_asks_the_same(collection: Collection) -> None:
    labelled(collection, 4)

    assert collection.queue(limit=15) == collection.queue(limit=15)


def test_what_looks_like_nothing_named_may_be_a_new_kind(tmp_path: Path) -> None:
    """Running shoes that nobody named lie near boots: their place in the tree is with the shoes."""
    chance = np.random.default_rng(0)
    centres = 3 * chance.normal(size=(3, 32))
    running = centres[0] + 0.8 * chance.normal(size=32)
    rows = [centres[0], running, centres[1], centres[2]]
    vectors = np.concatenate([row + 0.4 * chance.normal(size=(60, 32)) for row in rows])
    names = ("boots", "running", "bags", "hats")
    ids = [f"{names[place // 60]}{place % 60}" for place in range(240)]
    labels = {"boots": "Shoes > Boots", "bags": "Bags", "hats": "Hats"}
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=vectors, ids=ids)
        collection.label({f"{kind}{one}": labels[kind] for kind in labels for one in range(12)})

        groups = [one for one in collection.queue(limit=80) if one.kind == "new_kind"]

        assert all(one.origin is None for group in groups for one in group.documents)


def test_an_empty_collection_asks_nothing(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        assert library.labeler("none", extractor="passthrough").queue() == []


def test_a_field_with_a_threshold_is_asked_about_too(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        known = library.labeler("known", extractor="passthrough", confidence_threshold=0.5)
        known.add(vectors=VECTORS[:40], ids=[f"v{place}" for place in range(40)])
        known.label({"v0": kind_of("v0"), "v1": kind_of("v1")})

        asked = ids_in(known.queue(limit=10))

        assert len(asked) >= 10
        assert not {"v0", "v1"} & set(asked)


def test_the_queue_outlives_a_change_of_policy_and_of_labels(tmp_path: Path) -> None:
    """What was learned for other labels, under another policy, is not judged by any more."""
    chance = np.random.default_rng(2)
    kinds = np.arange(600) % 30
    vectors = chance.normal(size=(30, 32))[kinds] + 0.3 * chance.normal(size=(600, 32))
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(600)])
        known = [place for place in range(300) if kinds[place] < 29]
        collection.label({f"v{place}": f"Kind {kinds[place]:02}" for place in known})
        collection.run(confidence_threshold=0.9)
        collection.label({f"v{place}": "Zebra" for place in range(29, 120, 30)})

        warm = collection.queue(limit=20)

    with lookalike.open(tmp_path / "store", actor="ann") as library:
        assert library.collection("things").queue(limit=20) == warm
