"""Versions and the past of a collection: what it was is shown, and decided again, to the digit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookalike
from lookalike.model import Document
from test_labelling import blobs

COUNT = 130


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def filled(library: Any, name: str = "things", count: int = COUNT, **rule: Any) -> Any:
    """Vectors `v0` … of a dozen kinds, two thirds of the first ninety labelled."""
    collection = library.labeler(name, extractor="passthrough", **rule)
    add(collection, 0, count)
    collection.label({f"v{number}": truth(number) for number in range(60)})
    return collection


def add(collection: Any, start: int, stop: int) -> None:
    vectors, _ = blobs(300, kinds=12, width=0.8)
    ids = [f"v{number}" for number in range(start, stop)]
    collection.add(vectors=vectors[start:stop], ids=ids)


def truth(number: int) -> str:
    _, kind = blobs(300, kinds=12, width=0.8)
    return f"Kind > {kind[number]}"


def state(collection: Any) -> dict[str, Document]:
    """All that is shown of each document."""
    return {one.id: one for one in collection.documents()}


# --- the past is what was -----------------------------------------------------------------------


def act(collection: Any, chance: np.random.Generator, done: list[str]) -> None:
    """Do something at random that people do."""
    ids = collection.ids()
    id, other = (str(one) for one in chance.choice(ids, 2, replace=False))
    kind = f"Kind > {chance.integers(12)}"
    what = int(chance.integers(10))
    if what < 3:
        done.append(collection.label({id: kind, other: kind}).operation)
    elif what == 3:
        done.append(collection.reject({id: kind}).operation)
    elif what == 4:
        done.append(collection.new_kind([id]).operation)
    elif what == 5:
        done.append(collection.cannot_tell([id]).operation)
    elif what == 6 and done:
        done.append(collection.undo(done.pop(int(chance.integers(len(done))))).operation)
    elif what == 7:
        automatic = collection.ids(origin="auto")
        done.append(collection.promote(automatic[:2]).operation)
    elif what == 8:
        row = {"id": id, "label": kind}
        done.append(collection.import_labels([row], trusted=bool(chance.integers(2))).operation)
    else:
        add(collection, len(ids), len(ids) + 3)


@pytest.mark.parametrize(
    ("seed", "rule"),
    [(0, {"confidence_threshold": 0.5}), (1, {"target_precision": 0.7}), (2, {})],
)
def test_each_version_is_shown_as_it_was_whatever_was_done_since(
    library: lookalike.Library, seed: int, rule: dict[str, Any]
) -> None:
    chance = np.random.default_rng(seed)
    things, done, kept = filled(library, **rule), list[str](), dict[str, Any]()

    for number in range(8):
        for _ in range(3):
            act(things, chance, done)
        name = f"version {number}"
        things.keep_version(name)
        kept[name] = (state(things), things.report(), list(things.rows()))

    for name, (documents, report, rows) in kept.items():
        past = things.as_of(name)
        assert differing(state(past), documents) == {}
        assert replace(past.report(), waiting=0) == replace(report, waiting=0)
        assert list(past.rows()) == rows
        assert past.ids(order_by="-confidence") == [
            one.id for one in sorted(documents.values(), key=surest)
        ]


def surest(one: Document) -> tuple[float, int]:
    return (2 if one.confidence is None else -one.confidence, int(one.id[1:]))


def differing(past: dict[str, Document], then: dict[str, Document]) -> dict[str, Any]:
    assert past.keys() == then.keys()
    return {id: (past[id], then[id]) for id in then if past[id] != then[id]}


# --- deciding again -----------------------------------------------------------------------------


def decided(collection: Any) -> dict[str, Any]:
    """The machine's decision on each document that is its to decide."""
    return {
        one.id: (one.label, one.confidence, one.margin, one.standing.decision.runner_up, one.reason)
        for one in collection.documents()
        if one.origin in (None, "auto") and one.standing.answer != "new_kind"
    }


def redecided(past: Any) -> dict[str, Any]:
    return {
        id: (one.label, one.confidence, one.margin, one.runner_up, one.reason)
        for id, one in past.decide().decisions.items()
    }


@pytest.mark.parametrize("rule", [{"confidence_threshold": 0.5}, {"target_precision": 0.7}])
def test_a_retired_version_reproduces_its_decisions_to_the_digit(
    library: lookalike.Library, rule: dict[str, Any]
) -> None:
    things = filled(library, count=200, **rule)
    things.reject({"v150": truth(150)})
    things.keep_version("first")
    then = decided(things)
    things.label({f"v{number}": truth(number) for number in range(60, 100)})
    things.run(target_precision=0.9)
    things.retire_version("first")

    past = things.as_of("first")

    assert [one.name for one in things.versions()] == []
    assert len({label for label, *_ in then.values()}) >= 3
    assert decided(things) != then
    assert decided(past) == then
    assert redecided(past) == then


def test_an_old_rule_is_tried_on_what_came_since_and_nothing_is_recorded(
    library: lookalike.Library,
) -> None:
    things = filled(library, confidence_threshold=0.3)
    things.keep_version("first")
    things.label({f"v{number}": "Other" for number in range(60, 70)})
    add(things, COUNT, COUNT + 30)
    before = state(things)

    told = things.as_of("first").decide()

    assert {f"v{number}" for number in range(COUNT, COUNT + 30)} <= told.decisions.keys()
    assert "Other" not in {one.label for one in told.decisions.values()}
    moved = sum(map(sum, (told.labelled.values(), told.relabelled.values())))
    assert moved + sum(told.unlabelled.values()) + told.same == len(
        things.ids(origin="auto")
    ) + len(things.ids(origin=None))
    assert state(things) == before
